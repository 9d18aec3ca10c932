#include "tests/sim/mirror.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/text.h"
#include "sim/reenact.h"

struct mirror {
    struct tw_reenactment *reenactment;
    uint64_t inputs;
    struct tw_text said; /* by the mirror, in bytes; from `at` on not yet by the lead */
    size_t at;
    unsigned char bytes[TW_ORDER_LOG_RECORD_MAX];
};

static enum tw_status on_record(void *context, const struct tw_record *record,
                                struct tw_error *error) {
    struct mirror *m = context;
    tw_text_add_bytes(&m->said, (const char *)m->bytes, tw_order_log_pack(record, m->bytes));
    return TW_OK;
}

struct mirror *mirror_new(struct tw_node_config *config) {
    struct mirror *m = calloc(1, sizeof *m);
    config->tells_inputs = true;
    struct tw_reenact_config of = {
        .sequencer = config->sequencer, .context = m, .record = on_record};
    assert_int_equal(tw_reenact_new(&m->reenactment, &of, NULL), TW_OK);
    return m;
}

void mirror_free(struct mirror *m) {
    assert_int_equal(m->said.size - m->at, 0);
    tw_reenact_free(m->reenactment);
    tw_text_fini(&m->said);
    free(m);
}

void mirror_input(struct mirror *m, const struct tw_sequencer_event *event) {
    struct tw_trace_input input;
    struct tw_error error;
    tw_input_of_event(event, &input);
    input.sequence = ++m->inputs;
    if (tw_reenact_input(m->reenactment, &input, &error) != TW_OK)
        fail_msg("input %llu: %s", (unsigned long long)m->inputs, error.text);
}

void mirror_record(struct mirror *m, const struct tw_record *record) {
    size_t size = tw_order_log_pack(record, m->bytes);
    if (m->said.size - m->at < size || memcmp(m->said.at + m->at, m->bytes, size) != 0)
        fail_msg("record %llu is not what follows from the inputs so far",
                 (unsigned long long)record->position);
    m->at += size;
    if (m->at == m->said.size) {
        tw_text_clear(&m->said);
        m->at = 0;
    }
}
