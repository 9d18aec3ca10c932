/* Whether an order that came over a wire is one that this shard can carry out. The lead is
 * a peer like any other: what would trip an assertion here ends the link with a sentence. */
#include "server/core/order_check.h"

#include <math.h>

#include "server/core/dial.h"
#include "server/core/shard_state.h"

/* ---- pushes that an order names ---- */

static bool is_here(const struct tw_shard *s, const struct tw_contribution *c) {
    return c->slot < s->config.slots && c->step > s->slot[c->slot].settled &&
           tw_shard_look_for_push(s, c->slot, c->step) != UINT32_MAX;
}

/* Each is here and not settled, none twice: so each has a plane of its own. */
static enum tw_status check_contributions(const struct tw_shard *s, const char *what,
                                          const struct tw_contribution *c, uint32_t count,
                                          struct tw_error *error) {
    for (uint32_t i = 0; i < count; i++) {
        if (!is_here(s, &c[i]))
            return tw_error_set(error, TW_UNEXPECTED,
                                "%s names slot %u, step %llu: there is none to be settled", what,
                                c[i].slot, (unsigned long long)c[i].step);
        if (i && (c[i].slot < c[i - 1].slot ||
                  (c[i].slot == c[i - 1].slot && c[i].step <= c[i - 1].step)))
            return tw_error_set(error, TW_UNEXPECTED, "%s is not in the order of slots and steps",
                                what);
    }
    return TW_OK;
}

/* All chunks of a push are in this state. */
static bool all_bytes(const struct tw_shard *s, uint32_t push, enum tw_bytes_state state) {
    for (uint32_t c = 0; c < s->chunks; c++)
        if (s->bytes[(size_t)push * s->chunks + c] != state)
            return false;
    return true;
}

/* Its bytes are being summed: they must stay until SUMS is said. */
static bool is_being_summed(const struct tw_shard *s, uint32_t push) {
    for (uint32_t i = 0; s->preparing && i < s->contributors; i++)
        if (s->contributor[i] == push)
            return true;
    return false;
}

static bool slot_is_being_summed(const struct tw_shard *s, uint32_t slot) {
    for (uint32_t i = 0; i < s->pushes; i++)
        if (s->push[i].used && s->push[i].slot == slot && is_being_summed(s, i))
            return true;
    return false;
}

/* ---- records ---- */

static enum tw_status check_version(const struct tw_shard *s, const char *what, uint64_t version,
                                    bool to_come, struct tw_error *error) {
    uint64_t expected = s->version + to_come;
    if (version == expected)
        return TW_OK;
    return tw_error_set(error, TW_UNEXPECTED, "%s has version %llu, not %llu", what,
                        (unsigned long long)version, (unsigned long long)expected);
}

static enum tw_status check_slot(const struct tw_shard *s, const struct tw_record *record,
                                 struct tw_error *error) {
    const char *name = tw_record_name(record->kind);
    if (record->slot >= s->config.slots)
        return tw_error_set(error, TW_UNEXPECTED, "%s of slot %u: there are %u", name, record->slot,
                            s->config.slots);
    if (record->kind == TW_RECORD_RELEASE)
        return TW_OK;
    if (record->rank != record->slot)
        return tw_error_set(error, TW_UNEXPECTED, "%s of rank %u names slot %u", name, record->rank,
                            record->slot);
    if (slot_is_being_summed(s, record->slot))
        return tw_error_set(error, TW_UNEXPECTED, "%s of slot %u, which is being summed", name,
                            record->slot);
    return TW_OK;
}

/* The push before is whole, and there is a plane for the next one. */
static enum tw_status check_accepted(const struct tw_shard *s, uint32_t slot,
                                     struct tw_error *error) {
    if (!tw_shard_knows(s) && s->push[s->slot[slot].open].voted)
        for (uint32_t i = 0; i < s->pushes; i++)
            if (!s->push[i].used)
                return TW_OK;
    return tw_error_set(error, TW_UNEXPECTED, "RELEASE of slot %u before its push is settled",
                        slot);
}

static enum tw_status check_release(const struct tw_shard *s, const struct tw_record *record,
                                    struct tw_error *error) {
    if (record->slot == TW_SLOT_EVALUATOR)
        return TW_OK;
    enum tw_status status = check_slot(s, record, error);
    if (status != TW_OK)
        return status;
    const struct tw_shard_slot *slot = &s->slot[record->slot];
    if (record->step < slot->step || record->step <= slot->settled)
        return tw_error_set(error, TW_UNEXPECTED, "RELEASE of slot %u, step %llu, which is over",
                            record->slot, (unsigned long long)record->step);
    if (record->step > slot->step && slot->settled < slot->step)
        return check_accepted(s, record->slot, error);
    if (is_being_summed(s, slot->open))
        return tw_error_set(error, TW_UNEXPECTED, "RELEASE of slot %u, which is being summed",
                            record->slot);
    return TW_OK;
}

static enum tw_status check_ratios(const struct tw_shard *s, const struct tw_record *record,
                                   struct tw_error *error) {
    uint32_t wanted = tw_shard_is_layer_wise(s) ? (uint32_t)s->config.layout->list->count : 0;
    if (record->ratio_count != wanted)
        return tw_error_set(error, TW_UNEXPECTED, "COMMIT with ratios of %u tensors, not %u",
                            record->ratio_count, wanted);
    for (uint32_t t = 0; t < wanted; t++)
        if (!isfinite(record->ratios[t]) || record->ratios[t] < 0)
            return tw_error_set(error, TW_UNEXPECTED, "COMMIT with a ratio of %g",
                                record->ratios[t]);
    return TW_OK;
}

/* Chunks of it were applied as they came: all of them. */
static enum tw_status check_applied(const struct tw_shard *s, const struct tw_record *record,
                                    struct tw_error *error) {
    bool applied = record->count == 1 && !s->slot[record->contributions[0].slot].release;
    uint32_t push = applied ? tw_shard_find_push(s, &record->contributions[0]) : 0;
    if (applied && s->push[push].voted && all_bytes(s, push, TW_BYTES_MERGED))
        return TW_OK;
    return tw_error_set(error, TW_UNEXPECTED, "COMMIT of a push that was not applied");
}

static enum tw_status check_commit(const struct tw_shard *s, const struct tw_record *record,
                                   struct tw_error *error) {
    enum tw_status status =
        check_contributions(s, "COMMIT", record->contributions, record->count, error);
    if (status == TW_OK)
        status = check_ratios(s, record, error);
    if (status != TW_OK)
        return status;
    if (s->config.on_arrival)
        return check_applied(s, record, error);
    bool prepared = !s->preparing && s->prepare_version == record->version && record->count &&
                    record->count == s->contributors;
    for (uint32_t i = 0; prepared && i < record->count; i++) {
        uint32_t push = tw_shard_find_push(s, &record->contributions[i]);
        prepared = push == s->contributor[i] && all_bytes(s, push, TW_BYTES_MERGED);
    }
    return prepared
               ? TW_OK
               : tw_error_set(error, TW_UNEXPECTED, "COMMIT of an update that was not prepared");
}

static enum tw_status check_drop(const struct tw_shard *s, const struct tw_record *record,
                                 struct tw_error *error) {
    enum tw_status status =
        check_contributions(s, "DROP", record->contributions, record->count, error);
    for (uint32_t i = 0; status == TW_OK && i < record->count; i++)
        if (is_being_summed(s, tw_shard_find_push(s, &record->contributions[i])))
            return tw_error_set(error, TW_UNEXPECTED, "DROP of slot %u, which is being summed",
                                record->contributions[i].slot);
    return status;
}

static enum tw_status check_permit(const struct tw_shard *s, const struct tw_record *record,
                                   struct tw_error *error) {
    if (!s->config.pool || s->members_known)
        return tw_error_set(error, TW_UNEXPECTED, "PERMIT where nobody needs one");
    if (s->preparing || (record->count && s->contributors))
        return tw_error_set(error, TW_UNEXPECTED, "PERMIT while another one stands");
    return check_contributions(s, "PERMIT", record->contributions, record->count, error);
}

static enum tw_status check_mode(const struct tw_shard *s, const struct tw_record *record,
                                 struct tw_error *error) {
    struct tw_dial dial;
    struct tw_where where = {.file = "order log"};
    if (tw_dial_parse(record->mode, where, (int)s->config.slots, &dial, NULL) == TW_OK &&
        tw_dial_ahead(&dial) <= s->config.ahead && dial.on_arrival == s->config.on_arrival)
        return TW_OK;
    return tw_error_set(error, TW_UNEXPECTED, "%s to a mode that the job does not turn to",
                        tw_record_name(record->kind));
}

/* It is the first that we hear, and says where the run stands. */
static enum tw_status check_rollback(const struct tw_shard *s, const struct tw_record *record,
                                     uint64_t position, struct tw_error *error) {
    if (position || s->version)
        return tw_error_set(error, TW_UNEXPECTED, "ROLLBACK behind position %llu",
                            (unsigned long long)position);
    if (record->ranks != s->config.slots)
        return tw_error_set(error, TW_UNEXPECTED, "ROLLBACK of %u ranks: there are %u",
                            record->ranks, s->config.slots);
    return check_mode(s, record, error);
}

static enum tw_status check_checkpoint(const struct tw_shard *s, struct tw_error *error) {
    return s->saving ? tw_error_set(error, TW_UNEXPECTED, "CHECKPOINT before the last one is saved")
                     : TW_OK;
}

enum tw_status tw_record_check(const struct tw_shard *s, const struct tw_record *record,
                               uint64_t position, struct tw_error *error) {
    const char *name = tw_record_name(record->kind);
    if (record->kind == TW_RECORD_ROLLBACK)
        return check_rollback(s, record, position, error);
    if (record->position != position + 1)
        return tw_error_set(error, TW_UNEXPECTED, "%s has position %llu, behind position %llu",
                            name, (unsigned long long)record->position,
                            (unsigned long long)position);
    bool to_come = record->kind == TW_RECORD_COMMIT || record->kind == TW_RECORD_REGATHER;
    enum tw_status status = check_version(s, name, record->version, to_come, error);
    if (status != TW_OK)
        return status;
    switch (record->kind) {
    case TW_RECORD_RELEASE:
        return check_release(s, record, error);
    case TW_RECORD_JOIN:
    case TW_RECORD_EVICT:
        return check_slot(s, record, error);
    case TW_RECORD_COMMIT:
        return check_commit(s, record, error);
    case TW_RECORD_DROP:
        return check_drop(s, record, error);
    case TW_RECORD_PERMIT:
        return check_permit(s, record, error);
    case TW_RECORD_DIAL:
        return check_mode(s, record, error);
    case TW_RECORD_CHECKPOINT:
        return check_checkpoint(s, error);
    case TW_RECORD_REGATHER:
        return s->config.on_arrival
                   ? tw_error_set(error, TW_UNEXPECTED, "REGATHER where nothing is summed")
                   : TW_OK;
    case TW_RECORD_ROLLBACK: /* above */
    case TW_RECORD_VERDICT:
        return TW_OK;
    }
    return tw_error_set(error, TW_MALFORMED, "a record of an unknown kind");
}

/* ---- what is to be prepared ---- */

enum tw_status tw_prepare_check(const struct tw_shard *s, const struct tw_prepare *prepare,
                                struct tw_error *error) {
    const char *what = "the update to prepare";
    if (s->config.on_arrival)
        return tw_error_set(error, TW_UNEXPECTED, "nothing is prepared in this mode");
    if (s->preparing)
        return tw_error_set(error, TW_UNEXPECTED, "two updates are to be prepared at a time");
    enum tw_status status = check_version(s, what, prepare->version, true, error);
    if (status == TW_OK)
        status = check_contributions(s, what, prepare->contributions, prepare->count, error);
    if (status != TW_OK)
        return status;
    if (!prepare->count || (tw_shard_knows(s) && prepare->count != s->contributors))
        return tw_error_set(error, TW_UNEXPECTED, "%s has %u pushes", what, prepare->count);
    for (uint32_t i = 0; i < prepare->count; i++) {
        uint32_t push = tw_shard_find_push(s, &prepare->contributions[i]);
        bool ready = s->push[push].voted && (tw_shard_knows(s) ? push == s->contributor[i]
                                                               : all_bytes(s, push, TW_BYTES_HERE));
        if (!ready)
            return tw_error_set(
                error, TW_UNEXPECTED, "%s names slot %u, step %llu, which is not whole", what,
                prepare->contributions[i].slot, (unsigned long long)prepare->contributions[i].step);
    }
    return TW_OK;
}
