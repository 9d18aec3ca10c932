#include "server/core/inputs.h"

#include <string.h>

#include "common/base/bytes.h"

_Static_assert((int)TW_INPUT_JOIN == (int)TW_SEQ_JOIN + 1 &&
                   (int)TW_INPUT_SQUARES == (int)TW_SEQ_SQUARES + 1 &&
                   (int)TW_INPUT_EVICT == (int)TW_SEQ_EVICT + 1 &&
                   (int)TW_INPUT_STOP == (int)TW_SEQ_STOP + 1,
               "kinds of inputs are those of events, from 1");

enum { CHUNK_WORDS = 3 };
_Static_assert(2 * TW_EXACT_SUM_BYTES <= TW_TRACE_DATA_MAX &&
                   TW_NUMERICS_MAX <= TW_TRACE_DATA_MAX && TW_MODE_MAX <= TW_TRACE_DATA_MAX,
               "there is room for the data of each");

/* ---- data ---- */

static void put_text(struct tw_trace_data *data, const char *text) {
    data->size = (uint32_t)strlen(text);
    memcpy(data->at, text, data->size);
}

/* With its terminating zero; false: too long, or a zero within. */
static bool get_text(const struct tw_trace_data *data, char *out, size_t max) {
    if (data->size > max || memchr(data->at, 0, data->size))
        return false;
    memcpy(out, data->at, data->size);
    out[data->size] = '\0';
    return true;
}

static bool is_zero(const struct tw_exact_sum *sum) {
    uint64_t bits = sum->not_finite;
    for (int i = 0; i < TW_EXACT_SUM_WORDS; i++)
        bits |= sum->word[i];
    return bits == 0;
}

static void put_words(struct tw_trace_data *data, const uint64_t *word, int count) {
    for (int i = 0; i < count; i++, data->size += 8)
        tw_put_u64(data->at + data->size, word[i]);
}

static void get_words(const unsigned char *at, uint64_t *word, int count) {
    for (int i = 0; i < count; i++)
        word[i] = tw_get_u64(at + 8 * i);
}

static void put_sum(struct tw_trace_data *data, const struct tw_exact_sum *sum) {
    tw_exact_sum_put(data->at + data->size, sum);
    data->size += TW_EXACT_SUM_BYTES;
}

/* ---- to the file ---- */

static void put_ready(const struct tw_ready *ready, struct tw_trace_input *input) {
    input->rank = ready->slot;
    input->shard = ready->shard;
    input->incarnation = ready->incarnation;
    input->step = ready->step;
    input->read = ready->read;
    input->examples = ready->examples;
    input->correct = ready->correct;
    input->regather = ready->regather;
    input->loss = ready->loss;
    input->flag = ready->finite;
    input->tensor = ready->bad_tensor;
    if (ready->chunks)
        put_words(&input->data, (uint64_t[]){ready->chunks, ready->ages, ready->oldest},
                  CHUNK_WORDS);
}

static void put_resume(const struct tw_sequencer_resume *resume, struct tw_trace_input *input) {
    input->incarnation = resume->generation;
    input->read = resume->from->position;
    input->number = resume->position;
}

static void put_join(const struct tw_sequencer_join *join, struct tw_trace_input *input) {
    input->rank = join->rank;
    input->flag = join->any_rank;
    input->incarnation = join->incarnation;
    input->read = join->read;
    put_text(&input->data, join->numerics);
}

void tw_input_of_event(const struct tw_sequencer_event *event, struct tw_trace_input *input) {
    memset(input, 0, offsetof(struct tw_trace_input, data.at)); /* nearly all have no data */
    input->kind = (uint32_t)event->kind + 1;
    switch (event->kind) {
    case TW_SEQ_JOIN:
        put_join(&event->join, input);
        break;
    case TW_SEQ_ATTACHED:
        input->shard = event->shard; /* and as the next */
        __attribute__((fallthrough));
    case TW_SEQ_LOST:
        input->rank = event->rank;
        input->incarnation = event->attempt;
        break;
    case TW_SEQ_READY:
        put_ready(&event->ready, input);
        break;
    case TW_SEQ_WANT:
        input->rank = event->want.slot;
        input->incarnation = event->want.incarnation;
        input->step = event->want.step;
        break;
    case TW_SEQ_SUMS:
        input->shard = event->sums.shard;
        input->number = event->sums.version;
        input->flag = event->sums.finite;
        if (!is_zero(&event->sums.squares))
            put_sum(&input->data, &event->sums.squares);
        break;
    case TW_SEQ_SQUARES:
        input->shard = event->squares.shard;
        input->tensor = event->squares.tensor;
        input->number = event->squares.version;
        put_sum(&input->data, &event->squares.of.weights);
        put_sum(&input->data, &event->squares.of.step);
        break;
    case TW_SEQ_EVALUATOR:
        input->flag = event->present;
        break;
    case TW_SEQ_ASK:
        input->number = event->samples;
        break;
    case TW_SEQ_EVALUATED:
        input->loss = event->loss;
        break;
    case TW_SEQ_TURN:
        put_text(&input->data, event->turn.dial.word);
        break;
    case TW_SEQ_EVICT:
        input->rank = event->evict;
        break;
    case TW_SEQ_CHECKPOINT:
    case TW_SEQ_SAVED:
        break;
    case TW_SEQ_RESUME:
        put_resume(&event->resume, input);
        break;
    case TW_SEQ_STOP:
        input->flag = event->saves;
        break;
    }
}

/* ---- and back ---- */

static bool get_ready(const struct tw_trace_input *input, struct tw_ready *ready) {
    uint64_t chunks[CHUNK_WORDS] = {0};
    bool has_chunks = input->data.size == sizeof chunks;
    if (has_chunks)
        get_words(input->data.at, chunks, CHUNK_WORDS);
    *ready = (struct tw_ready){.shard = input->shard,
                               .slot = input->rank,
                               .incarnation = input->incarnation,
                               .step = input->step,
                               .read = input->read,
                               .examples = input->examples,
                               .correct = input->correct,
                               .regather = input->regather,
                               .loss = input->loss,
                               .finite = input->flag != 0,
                               .bad_tensor = input->tensor,
                               .chunks = chunks[0],
                               .ages = chunks[1],
                               .oldest = chunks[2]};
    return has_chunks || input->data.size == 0;
}

static bool get_join(const struct tw_trace_input *input, struct tw_sequencer_join *join) {
    join->ticket = input->sequence;
    join->any_rank = input->flag != 0;
    join->rank = input->rank;
    join->incarnation = input->incarnation;
    join->read = input->read;
    return get_text(&input->data, join->numerics, TW_NUMERICS_MAX);
}

static bool get_sums(const struct tw_trace_input *input, struct tw_sums *sums) {
    *sums = (struct tw_sums){
        .shard = input->shard, .version = input->number, .finite = input->flag != 0};
    if (input->data.size == TW_EXACT_SUM_BYTES)
        tw_exact_sum_get(input->data.at, &sums->squares);
    return input->data.size == TW_EXACT_SUM_BYTES || input->data.size == 0;
}

static bool get_squares(const struct tw_trace_input *input, struct tw_squares *squares) {
    *squares = (struct tw_squares){
        .shard = input->shard, .tensor = input->tensor, .version = input->number};
    if (input->data.size != 2 * TW_EXACT_SUM_BYTES)
        return false;
    tw_exact_sum_get(tw_exact_sum_get(input->data.at, &squares->of.weights), &squares->of.step);
    return true;
}

static bool get_turn(const struct tw_trace_input *input, uint32_t workers,
                     struct tw_sequencer_turn *turn) {
    char mode[TW_MODE_MAX + 1];
    turn->ticket = input->sequence;
    return get_text(&input->data, mode, TW_MODE_MAX) &&
           tw_dial_parse(mode, (struct tw_where){.file = "an input"}, (int)workers, &turn->dial,
                         NULL) == TW_OK;
}

/* False: its data is wrong. */
static bool get_event(const struct tw_trace_input *input, uint32_t workers,
                      struct tw_sequencer_event *event) {
    switch (event->kind) {
    case TW_SEQ_JOIN:
        return get_join(input, &event->join);
    case TW_SEQ_ATTACHED:
    case TW_SEQ_LOST:
        event->rank = input->rank;
        event->shard = input->shard;
        event->attempt = input->incarnation;
        return true;
    case TW_SEQ_READY:
        return get_ready(input, &event->ready);
    case TW_SEQ_WANT:
        event->want = (struct tw_want){input->rank, input->incarnation, input->step};
        return true;
    case TW_SEQ_SUMS:
        return get_sums(input, &event->sums);
    case TW_SEQ_SQUARES:
        return get_squares(input, &event->squares);
    case TW_SEQ_EVALUATOR:
        event->present = input->flag != 0;
        return true;
    case TW_SEQ_ASK:
        event->samples = input->number;
        return true;
    case TW_SEQ_EVALUATED:
        event->loss = input->loss;
        return true;
    case TW_SEQ_TURN:
        return get_turn(input, workers, &event->turn);
    case TW_SEQ_EVICT:
        event->evict = input->rank;
        return true;
    case TW_SEQ_CHECKPOINT:
    case TW_SEQ_SAVED:
        return true;
    case TW_SEQ_STOP:
        event->saves = input->flag != 0;
        return true;
    case TW_SEQ_RESUME:
        break;
    }
    return false;
}

enum tw_status tw_event_of_input(const struct tw_trace_input *input, uint32_t workers,
                                 struct tw_sequencer_event *event, struct tw_error *error) {
    if (input->kind < TW_INPUT_JOIN || input->kind > TW_INPUT_STOP)
        return tw_error_set(error, TW_DATA, "input %llu: there is no kind %u",
                            (unsigned long long)input->sequence, input->kind);
    *event = (struct tw_sequencer_event){.kind = (enum tw_sequencer_event_kind)(input->kind - 1)};
    if (get_event(input, workers, event))
        return TW_OK;
    return tw_error_set(error, TW_DATA, "input %llu, of kind %u: its data is wrong",
                        (unsigned long long)input->sequence, input->kind);
}
