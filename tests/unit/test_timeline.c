#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "cli/timeline_draw.h"
#include "cli/timeline_state.h"
#include "common/base/rng.h"

/* ---- logs, told record by record; times are in microseconds ---- */

struct story {
    struct tw_timeline *timeline;
    uint64_t position, version;
    struct tw_error error;
};

static struct story begin_story(uint32_t workers, uint32_t width, uint64_t from, uint64_t to) {
    struct story story = {0};
    assert_int_equal(tw_timeline_new(&story.timeline, workers, width, from, to, &story.error),
                     TW_OK);
    return story;
}

static enum tw_status tell(struct story *story, struct tw_record record) {
    record.position = ++story->position;
    if (record.kind == TW_RECORD_COMMIT)
        story->version++;
    record.version = story->version;
    return tw_timeline_record(story->timeline, &record, &story->error);
}

static enum tw_status release(struct story *story, uint32_t slot, uint64_t step) {
    return tell(story, (struct tw_record){.kind = TW_RECORD_RELEASE, .slot = slot, .step = step});
}

static enum tw_status settle(struct story *story, enum tw_record_kind kind, uint32_t count,
                             const struct tw_contribution *contributions) {
    return tell(story,
                (struct tw_record){.kind = kind, .count = count, .contributions = contributions});
}

static enum tw_status commit_one(struct story *story, uint32_t slot, uint64_t step,
                                 uint64_t staleness) {
    return settle(story, TW_RECORD_COMMIT, 1,
                  &(struct tw_contribution){.slot = slot, .step = step, .staleness = staleness});
}

static void seal(struct story *story) {
    assert_int_equal(tw_timeline_seal(story->timeline, &story->error), TW_OK);
}

static void measured(struct story *story, uint32_t slot, uint64_t step, uint64_t received,
                     uint64_t computed, uint64_t sent) {
    tw_timeline_entry(story->timeline,
                      &(struct tw_trace_entry){
                          .kind = TW_TRACE_WORKER,
                          .worker = {slot, step, received * 1000, computed * 1000, sent * 1000}});
}

static void served(struct story *story, uint32_t slot, uint64_t step, uint64_t asked,
                   uint64_t served, uint64_t arrived) {
    tw_timeline_entry(story->timeline,
                      &(struct tw_trace_entry){
                          .kind = TW_TRACE_SLOT,
                          .slot = {slot, step, 0, asked * 1000, served * 1000, arrived * 1000}});
}

static void updated(struct story *story, uint64_t version, uint64_t prepared, uint64_t committed,
                    uint64_t applied) {
    tw_timeline_entry(story->timeline,
                      &(struct tw_trace_entry){
                          .kind = TW_TRACE_UPDATE,
                          .update = {version, prepared * 1000, committed * 1000, applied * 1000}});
}

static const struct tw_timeline *finish(struct story *story) {
    assert_int_equal(tw_timeline_finish(story->timeline, &story->error), TW_OK);
    return story->timeline;
}

static const struct tw_timeline_step *step_of(const struct tw_timeline *timeline, uint32_t worker,
                                              uint64_t step) {
    for (size_t i = 0; i < timeline->steps; i++)
        if (timeline->step[i].worker == worker && timeline->step[i].step == step)
            return &timeline->step[i];
    fail_msg("no step %u of worker %u", (unsigned)step, worker);
    return NULL;
}

static void assert_moments(const struct tw_timeline *timeline, uint32_t worker, uint64_t step,
                           uint64_t free, uint64_t released, uint64_t received, uint64_t computed,
                           uint64_t arrived) {
    const uint64_t expected[] = {free, released, received, computed, arrived};
    const struct tw_timeline_step *found = step_of(timeline, worker, step);
    assert_true(found->drawn);
    for (int m = 0; m < TW_MOMENTS; m++)
        assert_int_equal(found->at[m], expected[m] * 1000);
}

static int count_of(const char *text, const char *word) {
    int count = 0;
    for (; (text = strstr(text, word)); text += strlen(word))
        count++;
    return count;
}

static void end_story(struct story *story) {
    tw_timeline_free(story->timeline);
}

/* Two workers in sync; worker 1 is slower. Three updates; the window is the second. */
static struct story tell_sync(void) {
    struct story story = begin_story(2, 1, 2, 2);
    for (uint64_t step = 1; step <= 4; step++) {
        if (step > 1) {
            const struct tw_contribution both[] = {{.slot = 0, .step = step - 1},
                                                   {.slot = 1, .step = step - 1}};
            assert_int_equal(settle(&story, TW_RECORD_COMMIT, 2, both), TW_OK);
        }
        assert_int_equal(release(&story, 0, step), TW_OK);
        assert_int_equal(release(&story, 1, step), TW_OK);
    }
    seal(&story);
    for (uint64_t step = 1; step <= 3; step++) {
        uint64_t at = step * 1000; /* from here on weights are served */
        measured(&story, 0, step, at + 100, at + 400, at + 410);
        measured(&story, 1, step, at + 110, at + 900, at + 910);
        served(&story, 0, step, at - 580, at + 80, at + 420);
        served(&story, 1, step, at - 70, at + 90, at + 930);
        updated(&story, step, at + 940, at + 950, at + 980);
    }
    return story;
}

static void a_synchronous_step_is_cut_into_its_activities(void **state) {
    struct story story = tell_sync();
    const struct tw_timeline *timeline = finish(&story);
    assert_int_equal(timeline->begin, 1950000);
    assert_int_equal(timeline->end, 2980000);
    assert_moments(timeline, 0, 2, 1420, 1950, 2100, 2400, 2420);
    assert_moments(timeline, 1, 2, 1930, 1950, 2110, 2900, 2930);
    /* Seen of worker 0: of the gap to the next step what is inside. */
    const struct tw_timeline_worker *worker = timeline->worker;
    assert_int_equal(worker[0].spent[TW_ACTIVITY_COMPUTING], 300000);
    assert_int_equal(worker[0].spent[TW_ACTIVITY_SENDING], 20000);
    assert_int_equal(worker[0].spent[TW_ACTIVITY_WAITING], 530000);
    assert_int_equal(worker[0].spent[TW_ACTIVITY_RECEIVING], 150000 + 30000);
    assert_int_equal(worker[1].spent[TW_ACTIVITY_WAITING], 20000);
    assert_int_equal(worker[0].applied, 1);
    end_story(&story);
}

static void the_window_has_its_arrows_and_no_others(void **state) {
    struct story story = tell_sync();
    const struct tw_timeline *timeline = finish(&story);
    size_t arrows = 0;
    for (size_t i = 0; i < timeline->steps; i++)
        arrows += tw_timeline_has_arrow(timeline, &timeline->step[i]);
    assert_int_equal(arrows, 2);
    assert_int_equal(tw_timeline_update_of(timeline, 2)->contributions, 2);
    assert_int_equal(tw_timeline_update_of(timeline, 2)->prepared, 2940000);
    assert_null(tw_timeline_update_of(timeline, 4));
    end_story(&story);
}

/* Worker 1 computes one long step on version 0 over the whole window. */
static void a_step_from_before_the_window_is_seen_in_it(void **state) {
    struct story story = begin_story(2, 1, 4, 5);
    release(&story, 0, 1);
    release(&story, 1, 1);
    for (uint64_t step = 1; step <= 4; step++) {
        commit_one(&story, 0, step, 0);
        release(&story, 0, step + 1);
    }
    assert_int_equal(commit_one(&story, 1, 1, 4), TW_OK);
    seal(&story);
    for (uint64_t v = 1; v <= 4; v++) {
        measured(&story, 0, v, v * 100 + 10, v * 100 + 50, v * 100 + 51);
        served(&story, 0, v, v * 100 - 40, v * 100 + 5, v * 100 + 52);
        updated(&story, v, v * 100 + 54, v * 100 + 55, v * 100 + 58);
    }
    measured(&story, 1, 1, 110, 500, 510);
    served(&story, 1, 1, 90, 105, 512);
    updated(&story, 5, 514, 515, 520);
    const struct tw_timeline *timeline = finish(&story);
    const struct tw_timeline_step *late = step_of(timeline, 1, 1);
    assert_int_equal(late->staleness, 4);
    assert_int_equal(late->read_version, 0);
    assert_int_equal(late->released, 90000); /* there is no COMMIT 0 */
    assert_true(tw_timeline_has_arrow(timeline, late));
    assert_int_equal(timeline->begin, 355000);
    assert_int_equal(timeline->worker[1].spent[TW_ACTIVITY_COMPUTING], 145000);
    assert_int_equal(timeline->worker[1].staleness, 4);
    end_story(&story);
}

static void weights_are_released_when_asked_for_if_their_commit_was_before(void **state) {
    struct story story = begin_story(1, 1, 1, 2);
    release(&story, 0, 1);
    commit_one(&story, 0, 1, 0);
    release(&story, 0, 2);
    commit_one(&story, 0, 2, 0);
    seal(&story);
    updated(&story, 1, 90, 100, 120);
    updated(&story, 2, 300, 310, 320);
    measured(&story, 0, 1, 20, 80, 85);
    served(&story, 0, 1, 5, 10, 88);
    measured(&story, 0, 2, 170, 280, 281);
    served(&story, 0, 2, 150, 160, 290);
    assert_moments(finish(&story), 0, 2, 88, 150, 170, 280, 290);
    end_story(&story);
}

static void a_clock_that_is_early_moves_up(void **state) {
    struct story story = begin_story(1, 1, 1, 1);
    release(&story, 0, 1);
    commit_one(&story, 0, 1, 0);
    seal(&story);
    served(&story, 0, 1, 100, 110, 300);
    measured(&story, 0, 1, 95, 320, 330); /* begun before it asked, done after it came */
    updated(&story, 1, 330, 340, 350);
    assert_moments(finish(&story), 0, 1, 100, 100, 100, 320, 320);
    end_story(&story);
}

static void a_worker_that_tells_nothing_computes_from_served_to_arrived(void **state) {
    struct story story = begin_story(1, 1, 1, 1);
    release(&story, 0, 1);
    commit_one(&story, 0, 1, 0);
    seal(&story);
    served(&story, 0, 1, 100, 110, 300);
    updated(&story, 1, 310, 320, 330);
    const struct tw_timeline *timeline = finish(&story);
    assert_moments(timeline, 0, 1, 100, 100, 110, 300, 300);
    assert_false(step_of(timeline, 0, 1)->told);
    end_story(&story);
}

/* Step 1 of worker 1 is cancelled by update 1 while it is computed; step 2 never begins;
 * the worker goes on with 3. */
static void cancelled_steps_end_when_they_were_sent_or_are_not_seen(void **state) {
    struct story story = begin_story(2, 1, 1, 3);
    release(&story, 0, 1);
    release(&story, 1, 1);
    for (uint64_t step = 1; step <= 2; step++) {
        commit_one(&story, 0, step, 0);
        settle(&story, TW_RECORD_DROP, 1, &(struct tw_contribution){.slot = 1, .step = step});
        release(&story, 0, step + 1);
        release(&story, 1, step + 1);
    }
    commit_one(&story, 1, 3, 0);
    seal(&story);
    for (uint64_t v = 1; v <= 3; v++)
        updated(&story, v, v * 100 - 5, v * 100, v * 100 + 10);
    measured(&story, 1, 1, 20, 230, 240);
    served(&story, 1, 1, 5, 10, 0);
    served(&story, 1, 2, 0, 0, 0);
    measured(&story, 1, 3, 250, 280, 285);
    served(&story, 1, 3, 200, 245, 290);
    const struct tw_timeline *timeline = finish(&story);
    assert_int_equal(step_of(timeline, 1, 1)->fate, TW_FATE_DROPPED);
    assert_moments(timeline, 1, 1, 5, 5, 20, 230, 240);
    assert_false(step_of(timeline, 1, 2)->drawn);
    assert_moments(timeline, 1, 3, 240, 240, 250, 280, 290);
    assert_int_equal(step_of(timeline, 1, 3)->released, 200000);
    assert_int_equal(timeline->worker[1].dropped, 2);
    assert_int_equal(timeline->worker[1].applied, 1);
    end_story(&story);
}

/* Update 1 cancels it before it was computed. */
static void a_step_that_was_given_up_ends_with_the_commit_that_cancelled_it(void **state) {
    struct story story = begin_story(2, 1, 1, 1);
    release(&story, 0, 1);
    release(&story, 1, 1);
    commit_one(&story, 0, 1, 0);
    settle(&story, TW_RECORD_DROP, 1, &(struct tw_contribution){.slot = 1, .step = 1});
    release(&story, 1, 2);
    seal(&story);
    updated(&story, 1, 195, 200, 210);
    measured(&story, 1, 1, 20, 0, 0);
    served(&story, 1, 1, 5, 10, 0);
    measured(&story, 1, 2, 250, 280, 290);
    const struct tw_timeline *timeline = finish(&story);
    assert_moments(timeline, 1, 1, 5, 5, 20, 200, 200);
    assert_moments(timeline, 1, 2, 200, 200, 250, 280, 290);
    end_story(&story);
}

static void a_turn_of_the_dial_cancels_what_is_out(void **state) {
    struct story story = begin_story(2, 1, 2, 3);
    release(&story, 0, 1);
    release(&story, 1, 1);
    tell(&story, (struct tw_record){.kind = TW_RECORD_DIAL, .mode = "ssp:1"});
    release(&story, 0, 2);
    commit_one(&story, 0, 2, 0);
    release(&story, 0, 3);
    release(&story, 1, 2);
    commit_one(&story, 0, 3, 0);
    tell(&story, (struct tw_record){.kind = TW_RECORD_DIAL, .mode = "async"});
    release(&story, 0, 4);
    release(&story, 1, 3);
    commit_one(&story, 1, 3, 0);
    tell(&story, (struct tw_record){.kind = TW_RECORD_EVICT, .slot = 0});
    seal(&story);
    assert_int_equal(step_of(story.timeline, 1, 2)->fate, TW_FATE_DROPPED);
    assert_int_equal(step_of(story.timeline, 1, 2)->version, 2);
    assert_int_equal(step_of(story.timeline, 0, 4)->fate, TW_FATE_DROPPED);
    assert_int_equal(step_of(story.timeline, 1, 3)->fate, TW_FATE_APPLIED);
    for (uint64_t v = 1; v <= 3; v++)
        updated(&story, v, v * 100 - 5, v * 100, v * 100 + 10);
    served(&story, 0, 4, 210, 260, 0); /* idle since 210 */
    served(&story, 1, 3, 250, 260, 0); /* taken away from its work by the turn */
    struct tw_text text = {0};
    struct tw_timeline_look look = {.mode = "sync", .note = "", .updates = 3};
    tw_timeline_to_svg(&text, finish(&story), &look);
    assert_non_null(strstr(text.at, "<title>ssp:1, then async: 2 workers, updates 2 to 3 of 3"));
    assert_int_equal(count_of(text.at, ">async</text>"), 1);
    assert_int_equal(story.timeline->turn[0].time, 250 * 1000);
    tw_text_fini(&text);
    assert_int_equal(tell(&story, (struct tw_record){.kind = TW_RECORD_EVICT, .slot = 2}), TW_DATA);
    end_story(&story);
}

static void updates_are_applied_one_after_the_other(void **state) {
    struct story story = begin_story(1, 1, 1, 2);
    release(&story, 0, 1);
    commit_one(&story, 0, 1, 0);
    release(&story, 0, 2);
    commit_one(&story, 0, 2, 0);
    seal(&story);
    updated(&story, 1, 90, 100, 150);
    updated(&story, 2, 110, 120, 160);
    const struct tw_timeline *timeline = finish(&story);
    assert_int_equal(tw_timeline_update_of(timeline, 1)->applying, 100000);
    assert_int_equal(tw_timeline_update_of(timeline, 2)->applying, 150000);
    assert_int_equal(tw_timeline_update_of(timeline, 2)->applied, 160000);
    end_story(&story);
}

static void slots_are_counted_by_worker(void **state) {
    struct story story = begin_story(2, 4, 1, 1);
    assert_int_equal(release(&story, 0, 1), TW_OK);
    assert_int_equal(release(&story, 4, 1), TW_OK);
    assert_int_equal(release(&story, TW_SLOT_EVALUATOR, 1), TW_OK);
    assert_int_equal(commit_one(&story, 4, 1, 0), TW_OK);
    assert_int_equal(release(&story, 8, 1), TW_DATA);
    assert_non_null(strstr(story.error.text, "slot 8"));
    end_story(&story);
}

static void new_weights_for_a_step_take_the_place_of_old_ones(void **state) {
    struct story story = begin_story(1, 1, 1, 1);
    release(&story, 0, 1);
    release(&story, 0, 1);
    commit_one(&story, 0, 1, 0);
    seal(&story);
    assert_int_equal(story.timeline->steps, 1);
    assert_int_equal(story.timeline->step[0].read, 2);
    end_story(&story);
}

static void a_gradient_of_no_weights_contradicts_the_log(void **state) {
    struct story story = begin_story(2, 1, 1, 9);
    release(&story, 0, 1);
    assert_int_equal(commit_one(&story, 1, 1, 0), TW_DATA);
    assert_non_null(strstr(story.error.text, "record 2"));
    assert_int_equal(commit_one(&story, 7, 1, 0), TW_DATA);
    end_story(&story);
}

static void a_long_run_takes_no_more_memory_than_its_window(void **state) {
    struct story story = begin_story(3, 1, 50000, 50002);
    uint64_t step[3] = {1, 1, 1};
    for (uint32_t w = 0; w < 3; w++)
        release(&story, w, 1);
    for (int i = 0; i < 100000; i++) {
        uint32_t w = (uint32_t)i % 3;
        assert_int_equal(commit_one(&story, w, step[w], 2), TW_OK);
        assert_int_equal(release(&story, w, ++step[w]), TW_OK);
    }
    assert_true(((struct tw_timeline_making *)story.timeline)->room <= 256);
    seal(&story);
    /* Those of the three updates, and those that were open behind them. */
    assert_int_equal(story.timeline->steps, 6);
    end_story(&story);
}

static void too_many_gradients_are_a_limit(void **state) {
    struct story story = begin_story(1, 1, 1, TW_TIMELINE_STEPS_MAX);
    for (uint64_t step = 1; step <= TW_TIMELINE_STEPS_MAX; step++) {
        assert_int_equal(release(&story, 0, step), TW_OK);
        assert_int_equal(commit_one(&story, 0, step, 0), TW_OK);
    }
    assert_int_equal(release(&story, 0, TW_TIMELINE_STEPS_MAX + 1), TW_LIMIT);
    end_story(&story);
    story = begin_story(2, 1, 1, 9);
    for (uint64_t step = 1; step <= 3; step++)
        assert_int_equal(release(&story, 0, step), TW_OK);
    assert_int_equal(release(&story, 0, 4), TW_DATA);
    assert_non_null(strstr(story.error.text, "3 steps under way"));
    end_story(&story);
    struct tw_timeline *none;
    struct tw_error error;
    assert_int_equal(tw_timeline_new(&none, 1, 1, 1, UINT64_MAX, &error), TW_LIMIT);
    assert_null(none);
}

static void a_window_without_times_says_so(void **state) {
    struct story story = begin_story(1, 1, 1, 1);
    release(&story, 0, 1);
    commit_one(&story, 0, 1, 0);
    seal(&story);
    assert_int_equal(tw_timeline_finish(story.timeline, &story.error), TW_DATA);
    assert_non_null(strstr(story.error.text, "updates 1 to 1"));
    end_story(&story);
}

/* The trace ends before the order does: drawn up to there. */
static void the_window_ends_with_the_last_update_that_was_measured(void **state) {
    struct story story = begin_story(1, 1, 1, 3);
    release(&story, 0, 1);
    for (uint64_t step = 1; step <= 3; step++) {
        commit_one(&story, 0, step, 0);
        release(&story, 0, step + 1);
    }
    seal(&story);
    updated(&story, 1, 90, 100, 150);
    updated(&story, 2, 110, 190, 200);
    const struct tw_timeline *timeline = finish(&story);
    assert_int_equal(timeline->to, 2);
    assert_int_equal(timeline->end, 200000);
    assert_false(tw_timeline_has_arrow(timeline, step_of(timeline, 0, 3)));
    end_story(&story);
}

/* ---- whatever the logs say ---- */

static uint64_t some_time(struct tw_rng *dice) {
    switch (tw_rng_below(dice, 8)) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX - tw_rng_below(dice, 3);
    default:
        return tw_rng_below(dice, 5000);
    }
}

static void tell_anything(struct story *story, struct tw_rng *dice) {
    for (int i = 0; i < 60; i++) {
        struct tw_contribution some[3];
        for (int k = 0; k < 3; k++)
            some[k] = (struct tw_contribution){.slot = tw_rng_below(dice, 4),
                                               .step = tw_rng_below(dice, 6),
                                               .staleness = some_time(dice)};
        uint32_t kind = tw_rng_below(dice, 4);
        if (kind < 2)
            release(story, tw_rng_below(dice, 4), tw_rng_below(dice, 6));
        else
            settle(story, kind == 2 ? TW_RECORD_COMMIT : TW_RECORD_DROP, tw_rng_below(dice, 4),
                   some);
    }
    seal(story);
    for (int i = 0; i < 120; i++) {
        uint32_t slot = tw_rng_below(dice, 4);
        uint64_t number = tw_rng_below(dice, 12);
        uint64_t a = some_time(dice), b = some_time(dice), c = some_time(dice);
        struct tw_trace_entry entries[] = {
            {.kind = TW_TRACE_WORKER, .worker = {slot, number, a, b, c}},
            {.kind = TW_TRACE_SLOT, .slot = {slot, number, 0, a, b, c}},
            {.kind = TW_TRACE_UPDATE, .update = {number, a, b, c}},
        };
        tw_timeline_entry(story->timeline, &entries[tw_rng_below(dice, 3)]);
    }
}

static void assert_steps_do_not_overlap(const struct tw_timeline *timeline) {
    uint32_t worker = UINT32_MAX;
    uint64_t end = 0;
    for (size_t i = 0; i < timeline->steps; i++) {
        const struct tw_timeline_step *step = &timeline->step[i];
        if (!step->drawn)
            continue;
        end = step->worker == worker ? end : 0;
        worker = step->worker;
        for (int m = 0; m < TW_MOMENTS; m++) {
            assert_true(step->at[m] >= end);
            end = step->at[m];
        }
    }
}

static void whatever_the_logs_say_steps_do_not_overlap(void **state) {
    struct tw_timeline_look look = {.mode = "", .note = "", .arrows = TW_ARROWS_ALL};
    struct tw_text text = {0};
    int drawn = 0;
    for (uint64_t seed = 0; seed < 2000; seed++) {
        struct tw_rng dice;
        tw_rng_init(&dice, seed, TW_STREAM_DELAY, 0, 0);
        struct story story = begin_story(3, 1, 1 + seed % 4, 1 + seed % 4 + seed % 3);
        tell_anything(&story, &dice);
        if (tw_timeline_finish(story.timeline, &story.error) == TW_OK) {
            assert_steps_do_not_overlap(story.timeline);
            tw_timeline_to_svg(&text, story.timeline, &look);
            tw_timeline_to_chrome(&text, story.timeline, &look);
            assert_false(text.failed);
            tw_text_clear(&text);
            drawn++;
        }
        end_story(&story);
    }
    assert_true(drawn > 200);
    tw_text_fini(&text);
}

/* ---- pictures ---- */

static void a_picture_has_what_the_timeline_has(void **state) {
    struct story story = tell_sync();
    const struct tw_timeline *timeline = finish(&story);
    struct tw_timeline_look look = {
        .mode = "sync", .note = "a log ends early", .updates = 3, .arrows = TW_ARROWS_ALL};
    struct tw_text text = {0};
    struct tw_timeline_drawn drawn = tw_timeline_to_svg(&text, timeline, &look);
    assert_int_equal(drawn.arrows, 2);
    assert_int_equal(count_of(text.at, "applied by update 2, staleness 0</title></path>"), 2);
    assert_non_null(strstr(text.at, "sync: 2 workers, updates 2 to 2 of 3"));
    assert_non_null(strstr(text.at, "a log ends early"));
    assert_non_null(strstr(text.at, "computing 0.30 ms"));
    tw_text_clear(&text);
    look.arrows = TW_ARROWS_LATE;
    assert_int_equal(tw_timeline_to_svg(&text, timeline, &look).arrows, 0);
    assert_int_equal(count_of(text.at, "applied by update 2, staleness 0</title></path>"), 0);
    tw_text_fini(&text);
    end_story(&story);
}

static void a_trace_has_a_flow_per_arrow(void **state) {
    struct story story = tell_sync();
    struct tw_timeline_look look = {.mode = "sync", .note = "", .arrows = TW_ARROWS_ALL};
    struct tw_text text = {0};
    assert_int_equal(tw_timeline_to_chrome(&text, finish(&story), &look).arrows, 2);
    assert_int_equal(count_of(text.at, "{\"ph\":\"s\""), 2);
    assert_int_equal(count_of(text.at, "{\"ph\":\"t\""), 2);
    assert_int_equal(count_of(text.at, "{\"ph\":\"f\""), 2);
    assert_non_null(strstr(text.at, "{\"ph\":\"X\",\"name\":\"computing\",\"pid\":1,\"tid\":0,"
                                    "\"ts\":2100,\"dur\":300,\"args\":{\"step\":2,"));
    assert_non_null(strstr(text.at, "{\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":1,\"tid\":1,"
                                    "\"args\":{\"name\":\"worker 1\"}}"));
    tw_text_fini(&text);
    end_story(&story);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_synchronous_step_is_cut_into_its_activities),
        cmocka_unit_test(the_window_has_its_arrows_and_no_others),
        cmocka_unit_test(a_step_from_before_the_window_is_seen_in_it),
        cmocka_unit_test(weights_are_released_when_asked_for_if_their_commit_was_before),
        cmocka_unit_test(a_clock_that_is_early_moves_up),
        cmocka_unit_test(a_worker_that_tells_nothing_computes_from_served_to_arrived),
        cmocka_unit_test(cancelled_steps_end_when_they_were_sent_or_are_not_seen),
        cmocka_unit_test(a_step_that_was_given_up_ends_with_the_commit_that_cancelled_it),
        cmocka_unit_test(a_turn_of_the_dial_cancels_what_is_out),
        cmocka_unit_test(updates_are_applied_one_after_the_other),
        cmocka_unit_test(slots_are_counted_by_worker),
        cmocka_unit_test(new_weights_for_a_step_take_the_place_of_old_ones),
        cmocka_unit_test(a_gradient_of_no_weights_contradicts_the_log),
        cmocka_unit_test(a_long_run_takes_no_more_memory_than_its_window),
        cmocka_unit_test(too_many_gradients_are_a_limit),
        cmocka_unit_test(a_window_without_times_says_so),
        cmocka_unit_test(the_window_ends_with_the_last_update_that_was_measured),
        cmocka_unit_test(whatever_the_logs_say_steps_do_not_overlap),
        cmocka_unit_test(a_picture_has_what_the_timeline_has),
        cmocka_unit_test(a_trace_has_a_flow_per_arrow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
