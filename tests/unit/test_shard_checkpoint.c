/* A shard at a CHECKPOINT, whose chunks no update touches before they are saved; and one that is
 * filled with what was saved, and goes on to the same bits. */
#include "tests/lib/corrections_text.h"
#include "tests/unit/shard_desk.h"

enum { STATES = 2, ARRAYS_MAX = 1 + STATES + 4 };

/* How a shard may be made: with planes or a pool, with an average or without; with corrections that
 * have states. */
enum variant { PLAIN, AVERAGE, POOL, POOL_AVERAGE, CORRECTED, VARIANTS };

/* All arrays of all chunks. */
struct copy {
    float at[ARRAYS_MAX][DESK_CHUNKS][TW_BLOCK_FLOATS];
};

static void copy_chunk(const struct desk *desk, uint32_t chunk, struct copy *copy) {
    for (uint32_t a = 0; a < tw_shard_arrays(desk->shard); a++)
        memcpy(copy->at[a][chunk], tw_shard_array(desk->shard, a, chunk),
               desk->chunk[chunk].count * sizeof(float));
}

static void copy_all(const struct desk *desk, struct copy *copy) {
    memset(copy, 0, sizeof *copy);
    for (uint32_t c = 0; c < desk->layout.chunks; c++)
        copy_chunk(desk, c, copy);
}

/* Chunk by chunk, so that a small pool is enough. */
static void gather(struct desk *desk) {
    for (uint32_t slot = 0; slot < 2; slot++)
        desk_release(desk, slot);
    desk_work(desk);
    desk_sent(desk);
    for (uint32_t c = desk->layout.chunks; c-- > 0;)
        for (uint32_t slot = 0; slot < 2; slot++) {
            desk_push(desk, slot, c);
            desk_work(desk);
        }
    for (uint32_t slot = 0; slot < 2; slot++)
        desk_end(desk, slot);
    desk_work(desk);
    desk_prepare(desk, 0, 2);
    desk_work(desk);
    desk_forget(desk);
}

static void checkpoint(struct desk *desk) {
    struct tw_record record = desk_record(desk, TW_RECORD_CHECKPOINT);
    tw_shard_record(desk->shard, &record);
}

static void make(struct desk *desk, enum variant variant) {
    desk_init_shard(desk, true, 2, TW_CHUNK_BYTES_MIN, 1, 0, "adam");
    if (variant == PLAIN)
        return;
    free(desk->memory);
    desk->config.shaping.average = variant == POOL || variant == CORRECTED ? 0 : 0.75;
    if (variant == CORRECTED)
        desk->config.shaping.corrections =
            tw_test_corrections("dc_asgd_adaptive", "dana", "gap_aware", NULL);
    if (variant == POOL || variant == POOL_AVERAGE) {
        desk->config.pool = 2;
        desk->config.ahead = desk->config.spares = 0;
    }
    struct tw_shard_config config = desk->config;
    desk_init_as(desk, &config);
}

static void start(struct desk *desk, enum variant variant) {
    make(desk, variant);
    for (uint32_t slot = 0; slot < 2; slot++)
        desk_join(desk, slot);
}

static void assert_name(const struct desk *desk, uint32_t array, const char *expected) {
    const struct tw_arrays arrays = tw_shard_arrays_of(desk->shard);
    char name[TW_ARRAY_NAME];
    tw_array_name(&arrays, array, name);
    assert_string_equal(name, expected);
}

/* Of dana each of the two workers has its own. */
static void test_arrays(void **state) {
    struct desk desk;
    for (enum variant variant = PLAIN; variant < VARIANTS; variant++) {
        bool averages = variant == AVERAGE || variant == POOL_AVERAGE;
        start(&desk, variant);
        bool corrected = variant == CORRECTED;
        assert_int_equal(tw_shard_arrays(desk.shard), 1 + STATES + averages + 4 * corrected);
        assert_name(&desk, 0, "");
        assert_name(&desk, 1, "m");
        assert_name(&desk, 2, "v");
        assert_ptr_equal(tw_shard_array(desk.shard, 0, 3), tw_shard_weights(desk.shard, 3));
        if (averages) {
            assert_name(&desk, 3, "average");
            assert_ptr_equal(tw_shard_array(desk.shard, 3, 3), tw_shard_average(desk.shard, 3));
        }
        if (corrected) {
            assert_name(&desk, 3, "dc_ms");
            assert_name(&desk, 4, "dana_v.0");
            assert_name(&desk, 5, "dana_v.1");
            assert_name(&desk, 6, "gap_step");
        }
        desk_fini(&desk);
    }
}

/* COMMIT, CHECKPOINT and the next COMMIT are swept together: each chunk is said once, and stays as
 * it was right after the first until it is saved. */
static void check_waiting(enum variant variant) {
    static struct copy before, during;
    struct desk desk;
    memset(&during, 0, sizeof during);
    start(&desk, variant);
    gather(&desk);
    desk_commit(&desk, 0, 2);
    desk_work(&desk);
    copy_all(&desk, &before);
    gather(&desk);
    checkpoint(&desk);
    desk_commit(&desk, 0, 2);
    for (uint32_t c = 0; c < desk.layout.chunks; c++) {
        desk_forget(&desk);
        assert_int_equal(desk_work(&desk), TW_SHARD_BLOCKED);
        const struct tw_shard_effect *save = desk_said(&desk, TW_SHARD_SAVE, 0);
        assert_non_null(save);
        assert_int_equal(desk_count(&desk, TW_SHARD_SAVE), 1);
        assert_int_equal(save->save.chunk, c);
        assert_int_equal(save->save.position, desk.position - 1);
        copy_chunk(&desk, c, &during);
        tw_shard_saved(desk.shard);
    }
    assert_int_equal(desk_work(&desk), TW_SHARD_IDLE);
    assert_memory_equal(&before, &during, sizeof before);
    copy_all(&desk, &during);
    assert_memory_not_equal(&before, &during, sizeof before);
    desk_fini(&desk);
}

static void test_chunks_wait_until_they_are_saved(void **state) {
    for (enum variant variant = PLAIN; variant < VARIANTS; variant++)
        check_waiting(variant);
}

/* Where the shell is slow, what is not being saved goes on. */
static void test_without_an_update_nothing_waits(void **state) {
    struct desk desk;
    start(&desk, PLAIN);
    gather(&desk);
    desk_commit(&desk, 0, 2);
    checkpoint(&desk);
    assert_int_equal(desk_work(&desk), TW_SHARD_IDLE);
    assert_int_equal(desk_count(&desk, TW_SHARD_SAVE), desk.layout.chunks);
    gather(&desk);
    desk_commit(&desk, 0, 2);
    assert_int_equal(desk_work(&desk), TW_SHARD_BLOCKED);
    for (uint32_t c = 0; c < desk.layout.chunks; c++)
        tw_shard_saved(desk.shard);
    assert_int_equal(desk_work(&desk), TW_SHARD_IDLE);
    checkpoint(&desk); /* and another one may come */
    desk_forget(&desk);
    assert_int_equal(desk_work(&desk), TW_SHARD_IDLE);
    assert_int_equal(desk_count(&desk, TW_SHARD_SAVE), desk.layout.chunks);
    desk_fini(&desk);
}

static void fill(struct desk *desk, const struct copy *copy) {
    for (uint32_t a = 0; a < tw_shard_arrays(desk->shard); a++)
        for (uint32_t c = 0; c < desk->layout.chunks; c++)
            memcpy(tw_shard_array(desk->shard, a, c), copy->at[a][c],
                   desk->chunk[c].count * sizeof(float));
}

static void check_going_on(enum variant variant) {
    static struct copy saved, wanted, got;
    const uint64_t steps[2] = {2, 2};
    struct desk first, second;
    start(&first, variant);
    for (int i = 0; i < 2; i++) {
        gather(&first);
        desk_commit(&first, 0, 2);
        desk_work(&first);
    }
    copy_all(&first, &saved);
    gather(&first);
    desk_commit(&first, 0, 2);
    desk_work(&first);
    copy_all(&first, &wanted);

    make(&second, variant);
    second.version = 2;
    second.position = 100;
    struct tw_record rollback = desk_record(&second, TW_RECORD_ROLLBACK);
    rollback.generation = 1;
    rollback.to = 50;
    rollback.mode = "sync";
    rollback.ranks = 2;
    rollback.steps = steps;
    tw_shard_record(second.shard, &rollback);
    fill(&second, &saved);
    for (uint32_t slot = 0; slot < 2; slot++) {
        second.slot[slot].settled = second.slot[slot].step = 2;
        desk_join(&second, slot);
    }
    gather(&second);
    desk_commit(&second, 0, 2);
    desk_work(&second);
    copy_all(&second, &got);
    assert_memory_equal(&wanted, &got, sizeof got);
    desk_fini(&first);
    desk_fini(&second);
}

static void test_filled_it_goes_on_to_the_same_bits(void **state) {
    for (enum variant variant = PLAIN; variant < VARIANTS; variant++)
        check_going_on(variant);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arrays),
        cmocka_unit_test(test_chunks_wait_until_they_are_saved),
        cmocka_unit_test(test_without_an_update_nothing_waits),
        cmocka_unit_test(test_filled_it_goes_on_to_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
