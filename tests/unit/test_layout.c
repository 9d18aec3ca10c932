/* Chunks and shards: every element once, in order, and evenly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/rng.h"
#include "common/tensor/layout.h"

enum { TENSORS = 60 };

static struct tw_tensor tensors[TENSORS];
static struct tw_tensor_list list = {0, tensors};

static void use(int count, const int64_t *elements) {
    list.count = count;
    for (int t = 0; t < count; t++) {
        tensors[t] = (struct tw_tensor){.dims = 1, .shape = {elements[t]}, .elements = elements[t]};
    }
}

static struct tw_layout make(uint32_t chunk_bytes, uint32_t servers) {
    struct tw_layout layout;
    struct tw_chunk *memory = calloc(tw_layout_count(&list, chunk_bytes), sizeof *memory);
    assert_int_equal(tw_layout_init(&layout, &list, chunk_bytes, servers, memory, NULL), TW_OK);
    return layout;
}

static int64_t shard_elements(const struct tw_layout *layout, uint32_t shard) {
    int64_t sum = 0;
    for (uint32_t c = layout->shard_first[shard]; c < layout->shard_first[shard + 1]; c++) {
        assert_int_equal(layout->chunk[c].shard, shard);
        sum += layout->chunk[c].count;
    }
    return sum;
}

/* All that holds of every layout. Returns elements of the largest shard. */
static int64_t check(const struct tw_layout *layout) {
    uint32_t c = 0;
    int64_t total = 0;
    for (int t = 0; t < list.count; t++) {
        for (int64_t first = 0; first < tensors[t].elements; c++) {
            const struct tw_chunk *chunk = &layout->chunk[c];
            assert_int_equal(chunk->tensor, t);
            assert_int_equal(chunk->first, first);
            assert_in_range(chunk->count, 1, layout->chunk_bytes / sizeof(float));
            assert_int_equal(chunk->first % TW_BLOCK_FLOATS, 0);
            first += chunk->count;
            assert_true(first <= tensors[t].elements);
            assert_true(chunk->count == layout->chunk_bytes / sizeof(float) ||
                        first == tensors[t].elements);
        }
        total += tensors[t].elements;
    }
    assert_int_equal(c, layout->chunks);
    assert_int_equal(total, layout->elements);
    assert_int_equal(layout->shard_first[0], 0);
    assert_int_equal(layout->shard_first[layout->servers], layout->chunks);
    int64_t largest = 0;
    for (uint32_t s = 0; s < layout->servers; s++) {
        assert_true(layout->shard_first[s] < layout->shard_first[s + 1]);
        int64_t elements = shard_elements(layout, s);
        largest = elements > largest ? elements : largest;
    }
    return largest;
}

static void the_quickstarts_model_on_one_server(void **unused) {
    use(6, (int64_t[]){784 * 256, 256, 256 * 128, 128, 128 * 10, 10});
    struct tw_layout layout = make(TW_CHUNK_BYTES_DEFAULT, 1);
    assert_int_equal(layout.chunks, 4 + 1 + 1 + 1 + 1 + 1);
    assert_int_equal(layout.chunk[3].count, 784 * 256 - 3 * 65536);
    assert_int_equal(check(&layout), 784 * 256 + 256 + 256 * 128 + 128 + 1280 + 10);
    free(layout.chunk);
}

static void twenty_chunks_per_server_balance_within_five_percent(void **unused) {
    for (uint32_t servers = 1; servers <= TW_SERVERS_MAX; servers += servers < 9 ? 1 : 11) {
        for (int64_t extra = 0; extra < 16384; extra += 5461) {
            int64_t big = 16384 * 20 * (int64_t)servers + extra;
            use(3, (int64_t[]){300, big, 77});
            struct tw_layout layout = make(TW_CHUNK_BYTES_MIN, servers);
            int64_t largest = check(&layout);
            assert_true((double)largest * servers <= 1.05 * (double)layout.elements);
            free(layout.chunk);
        }
    }
}

static void any_list_balances_within_its_largest_chunk(void **unused) {
    struct tw_rng rng;
    int large = 0; /* lists with 20 full chunks per server, and more than one server */
    tw_rng_init(&rng, 1, TW_STREAM_NOISE, 0, 0);
    for (int round = 0; round < 300; round++) {
        int64_t elements[TENSORS];
        int count = 1 + (int)tw_rng_below(&rng, TENSORS);
        for (int t = 0; t < count; t++) {
            elements[t] = 1 + (int64_t)tw_rng_below(&rng, UINT64_C(1) << tw_rng_below(&rng, 21));
        }
        use(count, elements);
        uint32_t chunks = tw_layout_count(&list, TW_CHUNK_BYTES_MIN);
        int64_t elements_of_all = 0;
        for (int t = 0; t < count; t++)
            elements_of_all += elements[t];
        int64_t fitting = elements_of_all / (20 * TW_BLOCK_FLOATS); /* each with 20 full chunks */
        uint32_t most = round % 2 && fitting ? (uint32_t)fitting : chunks;
        most = most < TW_SERVERS_MAX ? most : TW_SERVERS_MAX;
        uint32_t servers = 1 + (uint32_t)tw_rng_below(&rng, most);
        struct tw_layout layout = make(TW_CHUNK_BYTES_MIN, servers);
        int64_t largest = check(&layout);
        assert_true(largest <= layout.elements / servers + 1 + TW_BLOCK_FLOATS);
        if (layout.elements / servers >= 20 * TW_BLOCK_FLOATS) {
            assert_true((double)largest * servers <= 1.05 * (double)layout.elements);
            large += servers > 1;
        }
        free(layout.chunk);
    }
    assert_true(large >= 50);
}

static void every_shard_gets_a_chunk_even_when_one_is_nearly_everything(void **unused) {
    for (int place = 0; place < 5; place++) {
        int64_t elements[] = {1, 1, 1, 1, 1};
        elements[place] = 16384;
        use(5, elements);
        for (uint32_t servers = 1; servers <= 5; servers++) {
            struct tw_layout layout = make(TW_CHUNK_BYTES_MIN, servers);
            check(&layout);
            free(layout.chunk);
        }
    }
}

static void the_same_list_gives_the_same_layout(void **unused) {
    use(3, (int64_t[]){100000, 3, 777777});
    struct tw_layout a = make(TW_CHUNK_BYTES_MIN, 3);
    struct tw_layout b = make(TW_CHUNK_BYTES_MIN, 3);
    assert_memory_equal(a.chunk, b.chunk, a.chunks * sizeof *a.chunk);
    assert_memory_equal(a.shard_first, b.shard_first, sizeof a.shard_first);
    free(a.chunk);
    free(b.chunk);
}

static void what_cannot_be_laid_out_is_refused_by_name(void **unused) {
    const struct {
        uint32_t chunk_bytes, servers;
        const char *words;
    } wrong[] = {
        {TW_BLOCK_BYTES / 2, 1, "a chunk of 32768 bytes"},
        {TW_CHUNK_BYTES_MAX + TW_BLOCK_BYTES, 1, "from 65536 to 4194304"},
        {TW_CHUNK_BYTES_MIN + 4, 1, "multiple of 65536"},
        {0, 1, "a chunk of 0 bytes"},
        {TW_CHUNK_BYTES_MIN, 0, "0 servers"},
        {TW_CHUNK_BYTES_MIN, TW_SERVERS_MAX + 1, "1 to 64"},
        {TW_CHUNK_BYTES_MIN, 4, "only 3 chunks"},
    };
    use(2, (int64_t[]){16385, 1});
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct tw_layout layout;
        struct tw_chunk memory[3];
        struct tw_error error;
        assert_int_equal(
            tw_layout_init(&layout, &list, wrong[i].chunk_bytes, wrong[i].servers, memory, &error),
            TW_LIMIT);
        if (strstr(error.text, wrong[i].words) == NULL) {
            fail_msg("\"%s\" does not say \"%s\"", error.text, wrong[i].words);
        }
    }
}

static void more_chunks_than_32_bits_can_count_are_refused(void **unused) {
    int64_t elements[TENSORS];
    for (int t = 0; t < TENSORS; t++) {
        elements[t] = TW_ELEMENTS_MAX; /* 2^26 chunks of 64 KiB each */
    }
    use(TENSORS, elements);
    assert_int_equal(tw_layout_count(&list, TW_CHUNK_BYTES_MIN), TENSORS * (UINT32_C(1) << 26));
    struct tw_tensor *many = calloc(64, sizeof *many);
    for (int t = 0; t < 64; t++) {
        many[t] = tensors[0];
    }
    struct tw_tensor_list large = {64, many};
    struct tw_layout layout;
    struct tw_error error;
    assert_int_equal(tw_layout_count(&large, TW_CHUNK_BYTES_MIN), 0);
    assert_int_equal(tw_layout_init(&layout, &large, TW_CHUNK_BYTES_MIN, 1, NULL, &error),
                     TW_LIMIT);
    assert_non_null(strstr(error.text, "larger chunks"));
    free(many);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_quickstarts_model_on_one_server),
        cmocka_unit_test(twenty_chunks_per_server_balance_within_five_percent),
        cmocka_unit_test(any_list_balances_within_its_largest_chunk),
        cmocka_unit_test(every_shard_gets_a_chunk_even_when_one_is_nearly_everything),
        cmocka_unit_test(the_same_list_gives_the_same_layout),
        cmocka_unit_test(what_cannot_be_laid_out_is_refused_by_name),
        cmocka_unit_test(more_chunks_than_32_bits_can_count_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
