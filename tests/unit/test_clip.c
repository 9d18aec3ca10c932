/* Clipping by norm: what the sequencer makes of the squares that shards say. */
#include <math.h>

#include "tests/unit/sequencer_desk.h"

/* Of a large block, and some of 1. */
static void sums_on(struct desk *desk, uint32_t shard, double large, int ones) {
    struct tw_sequencer_event event = {.kind = TW_SEQ_SUMS};
    event.sums = (struct tw_sums){.shard = shard, .version = desk->version + 1, .finite = true};
    tw_exact_sum_add(&event.sums.squares, large);
    for (int i = 0; i < ones; i++)
        tw_exact_sum_add(&event.sums.squares, 1);
    desk_step(desk, &event);
}

static double divisor(const struct desk *desk) {
    return desk_record(desk, TW_RECORD_COMMIT, 0)->divisor;
}

static void start(struct desk *desk, uint32_t shards) {
    struct tw_sequencer_config config = desk_config("sync", 1, shards);
    config.shaping.clip_norm = 0.5;
    desk_init(desk, &config);
    desk_start(desk);
}

/* 10 examples: above 25 the mean has a norm above 0.5. */
static void shards_are_summed_and_each_counts_once(void **state) {
    struct desk desk;
    start(&desk, 3);
    desk_ready(&desk, 0);
    sums_on(&desk, 2, 16, 0);
    sums_on(&desk, 2, 1e9, 0);
    sums_on(&desk, 0, 8, 4);
    sums_on(&desk, 1, 4, 4);
    assert_int_equal(desk.version, 1);
    assert_true(divisor(&desk) == 12); /* sqrt(36) / 0.5 */
    desk_ready(&desk, 0);
    for (uint32_t shard = 0; shard < 3; shard++) /* begins at 0 again */
        sums_on(&desk, shard, 5, 3);
    assert_int_equal(desk.version, 2);
    assert_true(divisor(&desk) == 0);
    desk_fini(&desk);
}

/* Added one by one in doubles, 2^53 + 1 + 1 + 1 + 1 is 2^53. */
static void the_split_changes_no_bit(void **state) {
    static const int ones_of_first[] = {4, 0, 3, 1};
    const double exact = sqrt(0x1p53 + 4) / 0.5;
    assert_true(exact != sqrt(0x1p53) / 0.5);
    for (int way = 0; way < 4; way++) {
        struct desk desk;
        start(&desk, way ? 2 : 1);
        desk_ready(&desk, 0);
        sums_on(&desk, 0, 0x1p53, ones_of_first[way]);
        if (way)
            sums_on(&desk, 1, 0, 4 - ones_of_first[way]);
        assert_int_equal(desk.version, 1);
        assert_true(divisor(&desk) == exact);
        desk_fini(&desk);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_are_summed_and_each_counts_once),
        cmocka_unit_test(the_split_changes_no_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
