/* See order_log_pack.h. Includes the generated protobuf-c code of order_log.proto.
 *
 * Packing needs neither that nor memory (flat.h). */
#include "proto/order_log_pack.h"

#include <assert.h>
#include <string.h>

#include "proto/arena.h"
#include "proto/flat.h"
#include "proto/order_log.pb-c.h"

#define CONTRIBUTION_MAX 61 /* bytes, with key and length */
/* Of a record without contributions, ratios and steps. */
#define REST_MAX (256 + TW_RECORD_SCALARS * 8)

static_assert((int)TW_RECORD_JOIN == (int)TALWEG__LOG__RECORD__BODY_JOIN &&
                  (int)TW_RECORD_REGATHER == (int)TALWEG__LOG__RECORD__BODY_REGATHER &&
                  (int)TW_RECORD_PERMIT == (int)TALWEG__LOG__RECORD__BODY_PERMIT &&
                  (int)TW_RECORD_DIAL == (int)TALWEG__LOG__RECORD__BODY_DIAL &&
                  (int)TW_RECORD_EVICT == (int)TALWEG__LOG__RECORD__BODY_EVICT &&
                  (int)TW_RECORD_ROLLBACK == (int)TALWEG__LOG__RECORD__BODY_ROLLBACK &&
                  (int)TW_RECORD_CHECKPOINT == (int)TALWEG__LOG__RECORD__BODY_CHECKPOINT &&
                  (int)TW_RECORD_VERDICT == (int)TALWEG__LOG__RECORD__BODY_VERDICT,
              "kinds are numbered as the fields of Record");

/* ---- packing ---- */

static size_t put_contributions(const struct tw_record *record, unsigned char *out, size_t at) {
    for (uint32_t i = 0; i < record->count; i++) {
        const struct tw_contribution *from = &record->contributions[i];
        size_t length = tw_put_key(out, at, 1, TW_WIRE_BYTES); /* in Commit, Drop and Permit */
        at = tw_put_number(out, length + 1, 1, from->slot);
        at = tw_put_number(out, at, 2, from->step);
        at = tw_put_number(out, at, 3, from->read);
        at = tw_put_number(out, at, 4, from->staleness);
        at = tw_put_number(out, at, 5, from->examples);
        at = tw_put_length(out, length, tw_put_real(out, at, 6, from->loss));
    }
    return at;
}

static size_t put_scalars(const struct tw_record *record, unsigned char *out, size_t at) {
    return tw_put_reals(out, at, 4, record->scalars, tw_record_scalar_count(record));
}

static size_t put_commit(const struct tw_record *record, unsigned char *out, size_t at) {
    at = put_contributions(record, out, at);
    at = tw_put_number(out, at, 2, record->examples);
    at = tw_put_real(out, at, 3, record->loss);
    at = put_scalars(record, out, at);
    at = tw_put_real(out, at, 5, record->rate);
    at = tw_put_real(out, at, 6, record->divisor);
    at = tw_put_reals(out, at, 7, record->ratios, record->ratio_count);
    at = tw_put_number(out, at, 8, record->chunks.chunks);
    at = tw_put_number(out, at, 9, record->chunks.sum);
    return tw_put_number(out, at, 10, record->chunks.most);
}

/* All text that we write is. */
static bool is_printable(char c) {
    return c >= 0x20 && c < 0x7f;
}

static size_t put_join(const struct tw_record *record, unsigned char *out, size_t at) {
    char numerics[TW_NUMERICS_MAX + 1] = "";
    for (size_t i = 0; record->numerics && record->numerics[i] && i < TW_NUMERICS_MAX; i++) {
        char c = record->numerics[i];
        numerics[i] = is_printable(c) ? c : '?';
    }
    at = tw_put_number(out, at, 1, record->rank);
    at = tw_put_number(out, at, 2, record->incarnation);
    at = tw_put_number(out, at, 3, record->slot);
    return tw_put_text(out, at, 4, numerics, TW_NUMERICS_MAX);
}

static size_t put_mode(const struct tw_record *record, unsigned char *out, size_t at,
                       unsigned number) {
    return tw_put_text(out, at, number, record->mode, TW_MODE_MAX);
}

static size_t put_verdict(const struct tw_verdict *verdict, unsigned char *out, size_t at) {
    at = tw_put_real(out, at, 1, verdict->loss);
    at = tw_put_real(out, at, 2, verdict->best);
    at = tw_put_number(out, at, 3, verdict->bad);
    at = tw_put_number(out, at, 4, verdict->cooldown);
    at = tw_put_number(out, at, 5, verdict->reductions);
    at = tw_put_number(out, at, 6, verdict->on);
    return tw_put_number(out, at, 7, verdict->stop);
}

static size_t put_rollback(const struct tw_record *record, unsigned char *out, size_t at) {
    at = tw_put_number(out, at, 1, record->generation);
    at = tw_put_number(out, at, 2, record->to);
    at = tw_put_numbers(out, at, 3, record->steps, record->ranks);
    return put_mode(record, out, at, 4);
}

static size_t put_release(const struct tw_record *record, unsigned char *out, size_t at) {
    at = tw_put_number(out, at, 1, record->slot);
    at = tw_put_number(out, at, 2, record->step);
    at = tw_put_real(out, at, 3, record->rate);
    return put_scalars(record, out, at);
}

/* The fields of the body. */
static size_t put_body(const struct tw_record *record, unsigned char *out, size_t at) {
    switch (record->kind) {
    case TW_RECORD_JOIN:
        return put_join(record, out, at);
    case TW_RECORD_RELEASE:
        return put_release(record, out, at);
    case TW_RECORD_COMMIT:
        return put_commit(record, out, at);
    case TW_RECORD_DROP:
        at = put_contributions(record, out, at);
        return tw_put_number(out, at, 2, record->not_finite);
    case TW_RECORD_PERMIT:
        return put_contributions(record, out, at);
    case TW_RECORD_REGATHER:
    case TW_RECORD_CHECKPOINT:
        break;
    case TW_RECORD_ROLLBACK:
        return put_rollback(record, out, at);
    case TW_RECORD_DIAL:
        return put_mode(record, out, at, 1);
    case TW_RECORD_EVICT:
        at = tw_put_number(out, at, 1, record->rank);
        return tw_put_number(out, at, 2, record->slot);
    case TW_RECORD_VERDICT:
        return put_verdict(&record->verdict, out, at);
    }
    return at;
}

size_t tw_record_message_room(const struct tw_record *record) {
    return REST_MAX + (size_t)record->count * CONTRIBUTION_MAX +
           (size_t)record->ratio_count * sizeof *record->ratios +
           (size_t)record->ranks * TW_VARINT_MAX;
}

size_t tw_record_message_pack(const struct tw_record *record, unsigned char *out) {
    size_t at = tw_put_number(out, 0, 1, record->position);
    at = tw_put_number(out, at, 2, record->version);
    at = tw_put_key(out, at, (unsigned)record->kind, TW_WIRE_BYTES);
    size_t size = tw_put_length(out, at, put_body(record, out, at + 1));
    assert(size <= tw_record_message_room(record));
    return size;
}

/* ---- unpacking ---- */

static void *arena_alloc(void *context, size_t size) {
    struct tw_record_arena *arena = context;
    return tw_arena_take(arena->bytes, sizeof arena->bytes, &arena->used, size);
}

static void arena_free(void *context, void *memory) {
    (void)context;
    (void)memory;
}

static enum tw_status get_contributions(struct tw_record_arena *arena, size_t count,
                                        Talweg__Log__Contribution *const *from,
                                        struct tw_record *record, struct tw_error *error) {
    struct tw_contribution *list =
        count <= TW_RECORD_CONTRIBUTIONS_MAX ? arena_alloc(arena, count * sizeof *list) : NULL;
    if (list == NULL)
        return tw_error_set(error, TW_DATA, "%zu contributions; there are at most %d", count,
                            TW_RECORD_CONTRIBUTIONS_MAX);
    if (count == 0)
        return tw_error_set(error, TW_DATA, "it has no contributions");
    for (size_t i = 0; i < count; i++)
        list[i] = (struct tw_contribution){.slot = from[i]->slot,
                                           .step = from[i]->step,
                                           .read = from[i]->read,
                                           .staleness = from[i]->staleness,
                                           .examples = from[i]->examples,
                                           .loss = from[i]->loss};
    record->count = (uint32_t)count;
    record->contributions = list;
    return TW_OK;
}

static enum tw_status get_scalars(size_t count, const double *scalars, struct tw_record *record,
                                  struct tw_error *error) {
    if (count > TW_RECORD_SCALARS)
        return tw_error_set(error, TW_DATA, "%zu scalars; there are at most %d", count,
                            TW_RECORD_SCALARS);
    record->scalar_count = (uint32_t)count;
    record->scalars = scalars;
    return TW_OK;
}

static enum tw_status get_commit(struct tw_record_arena *arena, const Talweg__Log__Commit *from,
                                 struct tw_record *record, struct tw_error *error) {
    enum tw_status status = get_scalars(from->n_scalars, from->scalars, record, error);
    if (status != TW_OK)
        return status;
    if (from->n_ratios > TW_TENSORS_MAX)
        return tw_error_set(error, TW_DATA, "ratios of %zu tensors; there are at most %d",
                            from->n_ratios, TW_TENSORS_MAX);
    record->ratio_count = (uint32_t)from->n_ratios;
    record->ratios = from->ratios;
    record->chunks =
        (struct tw_chunk_staleness){from->chunks, from->chunk_staleness, from->chunk_staleness_max};
    record->examples = from->examples;
    record->loss = from->loss;
    record->rate = from->rate;
    record->divisor = from->divisor;
    return get_contributions(arena, from->n_contributions, from->contributions, record, error);
}

static enum tw_status get_text(const char *text, const char *name, size_t least, size_t most,
                               struct tw_error *error) {
    size_t size = strlen(text);
    if (size < least || size > most)
        return tw_error_set(error, TW_DATA, "its %s has %zu bytes; it must be %zu to %zu", name,
                            size, least, most);
    for (size_t i = 0; i < size; i++)
        if (!is_printable(text[i]))
            return tw_error_set(error, TW_DATA,
                                "byte %zu of its %s is 0x%02x; it must be printable ASCII", i, name,
                                (unsigned)(unsigned char)text[i]);
    return TW_OK;
}

/* What the mode means is for the dial to say. */
static enum tw_status get_mode(const char *mode, struct tw_record *record, struct tw_error *error) {
    record->mode = mode;
    return get_text(mode, "mode", 1, TW_MODE_MAX, error);
}

static enum tw_status get_rollback(const Talweg__Log__Rollback *from, struct tw_record *record,
                                   struct tw_error *error) {
    if (from->n_steps < 1 || from->n_steps > TW_WORKERS_MAX)
        return tw_error_set(error, TW_DATA, "it has steps of %zu workers; there are 1 to %d",
                            from->n_steps, TW_WORKERS_MAX);
    if (from->generation < 1 || from->to >= record->position)
        return tw_error_set(error, TW_DATA, "it makes generation %u and goes back to position %llu",
                            from->generation, (unsigned long long)from->to);
    record->generation = from->generation;
    record->to = from->to;
    record->ranks = (uint32_t)from->n_steps;
    record->steps = from->steps;
    return get_mode(from->mode, record, error);
}

static enum tw_status get_verdict(const Talweg__Log__Verdict *from, struct tw_record *record,
                                  struct tw_error *error) {
    if (from->on >= TW_VERDICTS || from->stop >= TW_STOPS ||
        (from->stop != TW_STOP_NOT && from->on != TW_VERDICT_END))
        return tw_error_set(error, TW_DATA,
                            "a verdict on %u that stops by %u, which this version of Talweg does "
                            "not know",
                            from->on, from->stop);
    record->verdict = (struct tw_verdict){.loss = from->loss,
                                          .best = from->best,
                                          .bad = from->bad,
                                          .cooldown = from->cooldown,
                                          .reductions = from->reductions,
                                          .on = from->on,
                                          .stop = from->stop};
    return TW_OK;
}

static enum tw_status get_body(struct tw_record_arena *arena, const Talweg__Log__Record *from,
                               struct tw_record *record, struct tw_error *error) {
    switch (from->body_case) {
    case TALWEG__LOG__RECORD__BODY_JOIN:
        record->rank = from->join->rank;
        record->incarnation = from->join->incarnation;
        record->slot = from->join->slot;
        record->numerics = from->join->numerics;
        return get_text(record->numerics, "numerics id", 0, TW_NUMERICS_MAX, error);
    case TALWEG__LOG__RECORD__BODY_RELEASE:
        record->slot = from->release->slot;
        record->step = from->release->step;
        record->rate = from->release->rate;
        return get_scalars(from->release->n_scalars, from->release->scalars, record, error);
    case TALWEG__LOG__RECORD__BODY_COMMIT:
        return get_commit(arena, from->commit, record, error);
    case TALWEG__LOG__RECORD__BODY_DROP:
        record->not_finite = from->drop->not_finite;
        return get_contributions(arena, from->drop->n_contributions, from->drop->contributions,
                                 record, error);
    case TALWEG__LOG__RECORD__BODY_REGATHER:
    case TALWEG__LOG__RECORD__BODY_CHECKPOINT:
        return TW_OK;
    case TALWEG__LOG__RECORD__BODY_PERMIT:
        if (!from->permit->n_pushes)
            return TW_OK; /* taken back */
        return get_contributions(arena, from->permit->n_pushes, from->permit->pushes, record,
                                 error);
    case TALWEG__LOG__RECORD__BODY_ROLLBACK:
        return get_rollback(from->rollback, record, error);
    case TALWEG__LOG__RECORD__BODY_DIAL:
        return get_mode(from->dial->mode, record, error);
    case TALWEG__LOG__RECORD__BODY_EVICT:
        record->rank = from->evict->rank;
        record->slot = from->evict->slot;
        return TW_OK;
    case TALWEG__LOG__RECORD__BODY_VERDICT:
        return get_verdict(from->verdict, record, error);
    default:
        return tw_error_set(error, TW_DATA,
                            "it is of a kind that this version of Talweg does not know");
    }
}

enum tw_status tw_record_message_unpack(struct tw_record_arena *arena, const unsigned char *bytes,
                                        size_t size, struct tw_record *record,
                                        struct tw_error *error) {
    ProtobufCAllocator allocator = {
        .alloc = arena_alloc, .free = arena_free, .allocator_data = arena};
    arena->used = 0;
    const Talweg__Log__Record *parsed = talweg__log__record__unpack(&allocator, size, bytes);
    if (parsed == NULL)
        return tw_error_set(error, TW_DATA, "its %zu bytes are not a valid message", size);
    *record = (struct tw_record){.position = parsed->position,
                                 .version = parsed->version,
                                 .kind = (enum tw_record_kind)parsed->body_case};
    return get_body(arena, parsed, record, error);
}
