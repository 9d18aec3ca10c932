/* Whether an order that came over a wire is one that this shard can carry out. The lead is
 * a peer like any other: what would trip an assertion here ends the link with a sentence. */
#include "server/core/order_check.h"

#include "server/core/shard_state.h"

static bool is_here(const struct tw_shard *s, const struct tw_contribution *c) {
    if (c->slot >= s->config.slots)
        return false;
    for (uint32_t i = 0; i < s->pushes; i++)
        if (s->push[i].used && s->push[i].slot == c->slot && s->push[i].step == c->step)
            return true;
    return false;
}

static enum tw_status check_contributions(const struct tw_shard *s, const char *what,
                                          const struct tw_contribution *c, uint32_t count,
                                          struct tw_error *error) {
    for (uint32_t i = 0; i < count; i++) {
        if (!is_here(s, &c[i]))
            return tw_error_set(error, TW_UNEXPECTED, "%s names slot %u, step %llu: there is none",
                                what, c[i].slot, (unsigned long long)c[i].step);
        if (i && (c[i].slot < c[i - 1].slot ||
                  (c[i].slot == c[i - 1].slot && c[i].step <= c[i - 1].step)))
            return tw_error_set(error, TW_UNEXPECTED, "%s is not in the order of slots", what);
    }
    return TW_OK;
}

static enum tw_status check_slot(const struct tw_shard *s, const struct tw_record *record,
                                 struct tw_error *error) {
    const char *name = tw_record_name(record->kind);
    if (record->slot >= s->config.slots)
        return tw_error_set(error, TW_UNEXPECTED, "%s of slot %u: there are %u", name, record->slot,
                            s->config.slots);
    const struct tw_shard_slot *slot = &s->slot[record->slot];
    bool accepted = record->step > slot->step && slot->settled < slot->step;
    if (record->kind != TW_RECORD_RELEASE || !accepted)
        return TW_OK;
    for (uint32_t i = 0; i < s->pushes; i++)
        if (!s->push[i].used)
            return TW_OK;
    return tw_error_set(error, TW_UNEXPECTED, "RELEASE of slot %u before its push is settled",
                        record->slot);
}

enum tw_status tw_record_check(const struct tw_shard *s, const struct tw_record *record,
                               uint64_t position, struct tw_error *error) {
    const char *name = tw_record_name(record->kind);
    if (record->position != position + 1)
        return tw_error_set(error, TW_UNEXPECTED, "%s has position %llu, behind position %llu",
                            name, (unsigned long long)record->position,
                            (unsigned long long)position);
    switch (record->kind) {
    case TW_RECORD_RELEASE:
        return record->slot == TW_SLOT_EVALUATOR ? TW_OK : check_slot(s, record, error);
    case TW_RECORD_JOIN:
    case TW_RECORD_EVICT:
        return check_slot(s, record, error);
    case TW_RECORD_COMMIT:
        if (s->preparing || record->count > s->contributors)
            return tw_error_set(error, TW_UNEXPECTED, "COMMIT of an update that was not prepared");
        return check_contributions(s, name, record->contributions, record->count, error);
    case TW_RECORD_DROP:
        return check_contributions(s, name, record->contributions, record->count, error);
    case TW_RECORD_REGATHER:
    case TW_RECORD_DIAL:
        return TW_OK;
    }
    return tw_error_set(error, TW_MALFORMED, "a record of an unknown kind");
}

enum tw_status tw_prepare_check(const struct tw_shard *s, const struct tw_prepare *prepare,
                                struct tw_error *error) {
    if (s->preparing)
        return tw_error_set(error, TW_UNEXPECTED, "two updates are to be prepared at a time");
    return check_contributions(s, "the update to prepare", prepare->contributions, prepare->count,
                               error);
}
