#include "common/tensor/layout.h"

#include "common/base/bytes.h"
#include "common/base/digest.h"

static int64_t chunk_elements(uint32_t chunk_bytes) {
    return chunk_bytes / (int64_t)sizeof(float);
}

uint32_t tw_layout_count(const struct tw_tensor_list *list, uint32_t chunk_bytes) {
    if (chunk_bytes < sizeof(float)) {
        return 0;
    }
    int64_t each = chunk_elements(chunk_bytes);
    int64_t chunks = 0;
    for (int t = 0; t < list->count; t++) {
        chunks += (list->tensors[t].elements + each - 1) / each;
        if (chunks > UINT32_MAX) {
            return 0;
        }
    }
    return (uint32_t)chunks;
}

static void cut(struct tw_layout *layout) {
    int64_t each = chunk_elements(layout->chunk_bytes);
    struct tw_chunk *chunk = layout->chunk;
    for (int t = 0; t < layout->list->count; t++) {
        int64_t elements = layout->list->tensors[t].elements;
        for (int64_t first = 0; first < elements; first += each) {
            int64_t left = elements - first;
            chunk->tensor = (uint32_t)t;
            chunk->shard = 0;
            chunk->first = first;
            chunk->count = (uint32_t)(left < each ? left : each);
            chunk++;
        }
        layout->elements += elements;
    }
}

/* Border s goes where the elements before it come nearest to s/S of all. So a
 * shard differs from the mean by at most half a chunk at either end: 5 % when it
 * has 20 chunks. Where tiny chunks would leave a shard empty, the border moves
 * by as much as it must. */
static void share_out(struct tw_layout *layout) {
    uint32_t servers = layout->servers;
    uint32_t at = 0;
    int64_t before = 0; /* elements of the chunks before `at` */
    layout->shard_first[0] = 0;
    for (uint32_t s = 1; s < servers; s++) {
        /* In two steps: elements * s need not fit in 64 bits. */
        int64_t goal = layout->elements / servers * s + layout->elements % servers * s / servers;
        uint32_t least = layout->shard_first[s - 1] + 1;
        uint32_t most = layout->chunks - (servers - s);
        while (at < least ||
               (at < most && goal - before > before + layout->chunk[at].count - goal)) {
            before += layout->chunk[at].count;
            at++;
        }
        layout->shard_first[s] = at;
    }
    for (uint32_t s = servers; s <= TW_SERVERS_MAX; s++) {
        layout->shard_first[s] = layout->chunks;
    }
    for (uint32_t s = 0; s < servers; s++) {
        for (uint32_t c = layout->shard_first[s]; c < layout->shard_first[s + 1]; c++) {
            layout->chunk[c].shard = s;
        }
    }
}

enum tw_status tw_layout_init(struct tw_layout *layout, const struct tw_tensor_list *list,
                              uint32_t chunk_bytes, uint32_t servers, struct tw_chunk *memory,
                              struct tw_error *error) {
    if (chunk_bytes < TW_CHUNK_BYTES_MIN || chunk_bytes > TW_CHUNK_BYTES_MAX ||
        chunk_bytes % TW_BLOCK_BYTES != 0) {
        return tw_error_set(error, TW_LIMIT,
                            "a chunk of %u bytes: it must be a multiple of %u, from %u to %u",
                            chunk_bytes, TW_BLOCK_BYTES, TW_CHUNK_BYTES_MIN, TW_CHUNK_BYTES_MAX);
    }
    if (servers < 1 || servers > TW_SERVERS_MAX) {
        return tw_error_set(error, TW_LIMIT, "%u servers: it must be 1 to %d", servers,
                            TW_SERVERS_MAX);
    }
    uint32_t chunks = tw_layout_count(list, chunk_bytes);
    if (chunks == 0) {
        return tw_error_set(error, TW_LIMIT,
                            "the model has no tensors, or more than %u chunks of %u bytes; "
                            "larger chunks would make fewer",
                            UINT32_MAX, chunk_bytes);
    }
    if (chunks < servers) {
        return tw_error_set(error, TW_LIMIT,
                            "%u servers, but the model has only %u chunks of at most %u bytes; "
                            "use at most %u servers, or smaller chunks",
                            servers, chunks, chunk_bytes, chunks);
    }
    *layout = (struct tw_layout){.list = list,
                                 .chunk_bytes = chunk_bytes,
                                 .servers = servers,
                                 .chunks = chunks,
                                 .chunk = memory};
    cut(layout);
    share_out(layout);
    return TW_OK;
}

static void add(struct tw_sha256 *sha, uint64_t number) {
    uint8_t bytes[8];
    tw_put_u64(bytes, number);
    tw_sha256_update(sha, bytes, sizeof bytes);
}

void tw_layout_digest(const struct tw_layout *layout, uint8_t digest[32]) {
    struct tw_sha256 sha;
    tw_sha256_init(&sha);
    add(&sha, layout->chunk_bytes);
    add(&sha, layout->chunks);
    for (int t = 0; t < layout->list->count; t++) {
        add(&sha, (uint64_t)layout->list->tensors[t].elements);
    }
    for (uint32_t s = 0; s <= layout->servers; s++) {
        add(&sha, layout->shard_first[s]);
    }
    tw_sha256_final(&sha, digest);
}
