#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/chart.h"

struct fixture {
    struct tw_text text;
    struct tw_svg svg;
};

static int begin(void **state) {
    static struct fixture fixture;
    fixture.text = (struct tw_text){0};
    fixture.svg = (struct tw_svg){.text = &fixture.text};
    *state = &fixture;
    return 0;
}

static int end(void **state) {
    struct fixture *fixture = *state;
    tw_text_fini(&fixture->text);
    return 0;
}

static void assert_written(struct fixture *fixture, const char *expected) {
    assert_false(fixture->text.failed);
    assert_string_equal(fixture->text.at, expected);
    tw_text_clear(&fixture->text);
}

static int count_of(const char *text, const char *word) {
    int count = 0;
    for (; (text = strstr(text, word)); text += strlen(word))
        count++;
    return count;
}

static void a_picture_stands_alone(void **state) {
    struct fixture *fixture = *state;
    tw_svg_begin(&fixture->svg, &fixture->text, 640, 480.5, "Loss & time", "What <is> seen");
    tw_svg_end(&fixture->svg);
    assert_written(fixture,
                   "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"640\" height=\"480.5\""
                   " viewBox=\"0 0 640 480.5\" font-family=\"DejaVu Sans, Verdana, sans-serif\""
                   " font-size=\"12\">\n"
                   "<title>Loss &amp; time</title>\n<desc>What &lt;is&gt; seen</desc>\n"
                   "<rect x=\"0\" y=\"0\" width=\"640\" height=\"480.5\" fill=\"#ffffff\"/>\n"
                   "</svg>\n");
}

static void shapes_say_only_what_differs(void **state) {
    struct fixture *fixture = *state;
    tw_svg_rect(&fixture->svg, 1, 2, 3, 4, NULL, NULL);
    assert_written(fixture, "<rect x=\"1\" y=\"2\" width=\"3\" height=\"4\"/>\n");
    tw_svg_circle(&fixture->svg, 1, 2, 3, &(struct tw_svg_style){.fill = "none", .opacity = 0.5},
                  "a > b");
    assert_written(fixture, "<circle cx=\"1\" cy=\"2\" r=\"3\" fill=\"none\" opacity=\"0.5\">"
                            "<title>a &gt; b</title></circle>\n");
    tw_svg_line(&fixture->svg, 1, 2, 3, 4,
                &(struct tw_svg_style){.stroke = "#000000", .stroke_width = 1.25, .dash = "3 2"});
    assert_written(fixture, "<line x1=\"1\" y1=\"2\" x2=\"3\" y2=\"4\" stroke=\"#000000\""
                            " stroke-width=\"1.25\" stroke-dasharray=\"3 2\"/>\n");
}

static void a_path_is_its_points(void **state) {
    struct fixture *fixture = *state;
    tw_svg_open(&fixture->svg, &(struct tw_svg_style){.fill = "#123456"});
    tw_svg_path_begin(&fixture->svg);
    tw_svg_move_to(&fixture->svg, 0, 10);
    tw_svg_line_to(&fixture->svg, 5, 10.5);
    tw_svg_curve_to(&fixture->svg, 1, 2, 3, 4, 5, 6);
    tw_svg_path_end(&fixture->svg, NULL, NULL);
    tw_svg_close(&fixture->svg);
    assert_written(fixture, "<g fill=\"#123456\">\n"
                            "<path d=\"M0 10L5 10.5C1 2 3 4 5 6\"/>\n</g>\n");
}

static void numbers_have_two_decimals_and_are_always_numbers(void **state) {
    struct fixture *fixture = *state;
    const struct {
        double value;
        const char *text;
    } numbers[] = {
        {0, "0"},       {-0.001, "0"}, {1.005e2, "100.5"}, {-3.14159, "-3.14"}, {0.07, "0.07"},
        {-0.5, "-0.5"}, {NAN, "0"},    {INFINITY, "0"},    {1e300, "10000000"}, {-1e9, "-10000000"},
        {2.999, "3"}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        char expected[64];
        snprintf(expected, sizeof expected, "<path d=\"M%s 1\"/>\n", numbers[i].text);
        tw_svg_path_begin(&fixture->svg);
        tw_svg_move_to(&fixture->svg, numbers[i].value, 1);
        tw_svg_path_end(&fixture->svg, NULL, NULL);
        assert_written(fixture, expected);
    }
    tw_svg_rect(&fixture->svg, 0, 0, -1, NAN, NULL, NULL);
    assert_written(fixture, "<rect x=\"0\" y=\"0\" width=\"0\" height=\"0\"/>\n");
}

static void text_of_any_bytes_is_xml(void **state) {
    struct fixture *fixture = *state;
    tw_svg_text(&fixture->svg, 1, 2, NULL, "a<b>&\"' \xc3\xa9\xff\x01\x1b\xef\xbf\xbf\t.");
    assert_written(fixture, "<text x=\"1\" y=\"2\">a&lt;b&gt;&amp;\"' \xc3\xa9"
                            "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\t.</text>\n");
    tw_svg_text(
        &fixture->svg, 1, 2,
        &(struct tw_svg_font){.size = 9.5, .bold = true, .anchor = TW_SVG_END, .fill = "#ffffff"},
        "x");
    assert_written(fixture, "<text x=\"1\" y=\"2\" font-size=\"9.5\" font-weight=\"bold\""
                            " text-anchor=\"end\" fill=\"#ffffff\">x</text>\n");
}

static void widths_count_letters_not_bytes(void **state) {
    assert_true(tw_svg_text_width(10, "\xc3\xa9\xc3\xa9") == tw_svg_text_width(10, "ee"));
    assert_true(tw_svg_text_width(20, "ee") == 2 * tw_svg_text_width(10, "ee"));
}

static void steps_are_round_and_few_enough(void **state) {
    const struct {
        double low, high;
        int most;
        double step;
    } cases[] = {{0, 10, 10, 1},  {0, 10, 5, 2},       {0, 10, 4, 5},       {0, 57.49, 12, 5},
                 {-1, 1, 4, 0.5}, {5, 5, 10, 0},       {0, NAN, 10, 0},     {1e6, 3e6, 3, 1e6},
                 {10, 0, 10, 1},  {0, 1e-9, 2, 5e-10}, {0, INFINITY, 5, 0}, {0, 10, 0, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tw_axis axis = {.low = cases[i].low, .high = cases[i].high};
        double step = tw_axis_step(&axis, cases[i].most);
        assert_true(fabs(step - cases[i].step) <= 1e-9 * cases[i].step);
    }
}

static void an_axis_maps_numbers_to_pixels(void **state) {
    struct tw_axis up = {.low = 0, .high = 4, .from = 300, .to = 100};
    assert_true(tw_axis_at(&up, 0) == 300);
    assert_true(tw_axis_at(&up, 1) == 250);
    assert_true(tw_axis_at(&up, 6) == 0);
    struct tw_axis flat = {.low = 2, .high = 2, .from = 7, .to = 9};
    assert_true(tw_axis_at(&flat, 2) == 7);
}

/* One line for the axis, one per tick; one text per tick, one title. */
static void axes_have_ticks_at_round_numbers(void **state) {
    struct fixture *fixture = *state;
    struct tw_axis x = {.low = 0, .high = 0.42, .from = 100, .to = 520};
    tw_chart_axis_x(&fixture->svg, &x, 50, "ms");
    assert_int_equal(count_of(fixture->text.at, "<line"), 1 + 5);
    assert_int_equal(count_of(fixture->text.at, "<text"), 5 + 1);
    assert_non_null(strstr(fixture->text.at, "<text x=\"400\" y=\"65\""));
    assert_non_null(strstr(fixture->text.at, ">0.3</text>"));
    assert_non_null(strstr(fixture->text.at, ">0.0</text>"));
    tw_text_clear(&fixture->text);
    struct tw_axis y = {.low = -20, .high = 40, .from = 200, .to = 20};
    tw_chart_axis_y(&fixture->svg, &y, 60, "loss");
    assert_int_equal(count_of(fixture->text.at, "<text"), 7 + 1);
    assert_non_null(strstr(fixture->text.at, ">-20</text>"));
    assert_non_null(strstr(fixture->text.at, ">0</text>"));
    assert_non_null(strstr(fixture->text.at, ">40</text>"));
}

static void an_axis_of_nothing_has_no_ticks(void **state) {
    struct fixture *fixture = *state;
    struct tw_axis axis = {.low = 3, .high = 3, .from = 0, .to = 100};
    tw_chart_axis_x(&fixture->svg, &axis, 50, "ms");
    assert_int_equal(count_of(fixture->text.at, "<line"), 1);
}

static void colours_differ_and_begin_again(void **state) {
    for (unsigned i = 0; i < 8; i++)
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(tw_chart_colour(i), tw_chart_colour(j));
    assert_string_equal(tw_chart_colour(8), tw_chart_colour(0));
}

static void a_legend_goes_to_the_right(void **state) {
    struct fixture *fixture = *state;
    double next = tw_chart_legend(&fixture->svg, 20, 40, 22, "computing");
    assert_true(next > 20 + 22 + tw_svg_text_width(11, "computing"));
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(a_picture_stands_alone),
        TEST(shapes_say_only_what_differs),
        TEST(a_path_is_its_points),
        TEST(numbers_have_two_decimals_and_are_always_numbers),
        TEST(text_of_any_bytes_is_xml),
        TEST(widths_count_letters_not_bytes),
        TEST(steps_are_round_and_few_enough),
        TEST(an_axis_maps_numbers_to_pixels),
        TEST(axes_have_ticks_at_round_numbers),
        TEST(an_axis_of_nothing_has_no_ticks),
        TEST(colours_differ_and_begin_again),
        TEST(a_legend_goes_to_the_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
