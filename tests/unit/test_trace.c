/* What the lead writes of what passes: read back from the file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "server/io/trace.h"
#include "tests/lib/trace_samples.h"

#define ENTRIES 64

struct desk {
    char folder[32];
    struct tw_job job;
    struct tw_sequencer_config sequencer;
    struct tw_trace *trace;
    struct tw_trace_entry entry[ENTRIES]; /* [entries], without the header */
    int entries;
    struct tw_trace_header header;
};

static void begin(struct desk *desk, int workers, int slots) {
    struct tw_error error;
    *desk = (struct desk){.folder = "/tmp/talweg-trace-XXXXXX"};
    assert_non_null(mkdtemp(desk->folder));
    desk->job.workers = workers;
    desk->sequencer = (struct tw_sequencer_config){
        .workers = (uint32_t)workers, .shards = 3, .evaluator = true, .checkpoint_every = 50};
    desk->job.slots = slots;
    desk->job.trace.on = true;
    desk->job.trace.hash_every = 100;
    desk->job.trace.sums_every = 10;
    desk->trace = calloc(1, sizeof(*desk->trace));
    assert_int_equal(
        tw_trace_open(desk->trace, &desk->job, &desk->sequencer, desk->folder, uv_hrtime(), &error),
        TW_OK);
}

static void read_back(struct desk *desk) {
    char path[64];
    char *bytes;
    size_t size;
    struct tw_trace_reader *reader;
    struct tw_trace_entry entry;
    struct tw_error error;
    snprintf(path, sizeof path, "%s/trace.log", desk->folder);
    assert_int_equal(tw_file_read(path, 1 << 24, &bytes, &size, &error), TW_OK);
    struct log_memory memory = {.bytes = bytes, .size = size};
    assert_int_equal(tw_trace_reader_new(&reader, log_source, &memory, &error), TW_OK);
    assert_int_equal(tw_trace_next(reader, &entry, &error), TW_OK);
    desk->header = entry.header;
    while (tw_trace_next(reader, &entry, &error) == TW_OK)
        if (desk->entries < ENTRIES)
            desk->entry[desk->entries++] = entry;
    assert_int_equal(error.status, TW_CLOSED);
    tw_trace_reader_free(reader);
    free(bytes);
}

static void end(struct desk *desk) {
    char path[64];
    tw_trace_close(desk->trace);
    snprintf(path, sizeof path, "%s/trace.log", desk->folder);
    unlink(path);
    rmdir(desk->folder);
    free(desk->trace);
}

/* Closes the file and reads what it holds. */
static void close_and_read(struct desk *desk) {
    tw_trace_close(desk->trace);
    read_back(desk);
}

static void release(struct desk *desk, uint32_t rank, uint64_t step, uint64_t position) {
    struct tw_record record = {
        .kind = TW_RECORD_RELEASE, .slot = rank, .step = step, .position = position};
    tw_trace_record(desk->trace, &record, uv_hrtime());
}

static void happen(struct desk *desk, struct tw_node_event event) {
    tw_trace_event(desk->trace, &event, uv_hrtime());
}

static void measure(struct desk *desk, uint32_t rank, struct tw_measure measure) {
    happen(desk, (struct tw_node_event){
                     .kind = TW_EVENT_MEASURED, .rank = rank, .measures = 1, .measure = &measure});
}

static void the_header_says_what_the_run_is(void **state) {
    struct desk desk;
    begin(&desk, 2, 8);
    close_and_read(&desk);
    assert_int_equal(desk.header.format, 1);
    assert_int_equal(desk.header.workers, 2);
    assert_int_equal(desk.header.slots, 8);
    assert_int_equal(desk.header.servers, 3);
    assert_int_equal(desk.header.evaluator, 1);
    assert_int_equal(desk.header.admission, 0);
    assert_int_equal(desk.header.checkpoint_every, 50);
    assert_int_equal(desk.header.hash_every, 100);
    assert_int_equal(desk.header.sums_every, 10);
    assert_true(desk.header.unix_ns > 1600000000u * 1000000000ul);
    end(&desk);
}

static void a_step_has_its_times_in_order_and_its_first_slot(void **state) {
    struct desk desk;
    begin(&desk, 2, 8);
    happen(&desk, (struct tw_node_event){.kind = TW_EVENT_JOINED, .rank = 1});
    release(&desk, 1, 1, 5);
    tw_trace_served(desk.trace, 1, 5, uv_hrtime());
    happen(&desk, (struct tw_node_event){.kind = TW_EVENT_ARRIVED, .rank = 1, .step = 1});
    release(&desk, 1, 2, 9);
    happen(&desk, (struct tw_node_event){.kind = TW_EVENT_ARRIVED, .rank = 1, .step = 2});
    close_and_read(&desk);
    assert_int_equal(desk.entries, 2);
    const struct tw_trace_slot *first = &desk.entry[0].slot, *second = &desk.entry[1].slot;
    assert_int_equal(first->slot, 4);
    assert_int_equal(first->read, 5);
    assert_true(0 < first->asked && first->asked <= first->served);
    assert_true(first->served <= first->arrived);
    assert_true(second->asked == first->arrived);
    assert_int_equal(second->served, 0); /* nobody said so */
    end(&desk);
}

static void a_step_that_was_given_up_is_written_without_an_end(void **state) {
    struct desk desk;
    begin(&desk, 1, 1);
    release(&desk, 0, 1, 3);
    tw_trace_served(desk.trace, 0, 2, uv_hrtime()); /* of older weights */
    release(&desk, 0, 1, 4);                        /* again, after a reconnect: the same step */
    release(&desk, 0, 2, 6);
    happen(&desk, (struct tw_node_event){.kind = TW_EVENT_ARRIVED, .rank = 0, .step = 1});
    happen(&desk, (struct tw_node_event){.kind = TW_EVENT_ARRIVED, .rank = 0, .step = 2});
    close_and_read(&desk);
    assert_int_equal(desk.entries, 2);
    assert_int_equal(desk.entry[0].slot.step, 1);
    assert_int_equal(desk.entry[0].slot.read, 4);
    assert_int_equal(desk.entry[0].slot.served, 0);
    assert_int_equal(desk.entry[0].slot.arrived, 0);
    assert_true(desk.entry[1].slot.arrived > 0);
    end(&desk);
}

static void an_update_has_its_times_in_order(void **state) {
    struct tw_record commit = {.kind = TW_RECORD_COMMIT, .version = 7};
    struct desk desk;
    begin(&desk, 1, 1);
    happen(&desk, (struct tw_node_event){.kind = TW_EVENT_PREPARED, .version = 7});
    tw_trace_record(desk.trace, &commit, uv_hrtime());
    happen(&desk, (struct tw_node_event){.kind = TW_EVENT_PREPARED, .version = 8});
    happen(&desk, (struct tw_node_event){.kind = TW_EVENT_APPLIED, .version = 7});
    happen(&desk, (struct tw_node_event){.kind = TW_EVENT_APPLIED, .version = 9});
    close_and_read(&desk);
    const struct tw_trace_update *update = &desk.entry[0].update;
    assert_int_equal(update->version, 7);
    assert_true(0 < update->prepared && update->prepared <= update->committed);
    assert_true(update->committed <= update->applied);
    assert_int_equal(desk.entry[1].update.version, 9);
    assert_int_equal(desk.entry[1].update.committed, 0);
    end(&desk);
}

static void what_a_worker_says_is_written_when_it_can_be(void **state) {
    struct desk desk;
    begin(&desk, 2, 4);
    for (uint64_t step = 1; step <= 3; step++)
        release(&desk, 1, step, step);
    measure(&desk, 1, (struct tw_measure){1, 10, 20, 30});
    measure(&desk, 1, (struct tw_measure){2, 40, 0, 0}); /* given up */
    measure(&desk, 1, (struct tw_measure){3, 50, 60, UINT64_MAX});
    close_and_read(&desk);
    assert_int_equal(desk.trace->senseless, 0);
    assert_int_equal(desk.entries, 5); /* and two steps that were given up */
    int at = 2;
    assert_int_equal(desk.entry[at].kind, TW_TRACE_WORKER);
    assert_int_equal(desk.entry[at].worker.slot, 2);
    assert_int_equal(desk.entry[at].worker.sent, 30);
    assert_int_equal(desk.entry[at + 1].worker.computed, 0);
    assert_true(desk.entry[at + 2].worker.sent < 3600ul * 1000000000ul); /* it is now */
    end(&desk);
}

static void lies_are_left_out_and_counted(void **state) {
    static const struct tw_measure lies[] = {
        {0, 10, 20, 30},                                  /* no step */
        {3, 10, 20, 30},                                  /* one that is to come */
        {2, 0, 20, 30},                                   /* never begun */
        {2, 20, 10, 30},                                  /* backwards */
        {2, 10, 30, 20}, {2, 10, 0, 20}, {1, 10, 20, 30}, /* told before */
    };
    struct desk desk;
    begin(&desk, 1, 1);
    release(&desk, 0, 1, 1);
    release(&desk, 0, 2, 2);
    measure(&desk, 0, (struct tw_measure){1, 1, 2, 3});
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++)
        measure(&desk, 0, lies[i]);
    close_and_read(&desk);
    assert_int_equal(desk.trace->senseless, sizeof lies / sizeof *lies);
    assert_int_equal(desk.entries, 2);
    end(&desk);
}

static void without_a_trace_nothing_is_done(void **state) {
    struct tw_trace *trace = calloc(1, sizeof(*trace));
    struct tw_job job = {.workers = 1, .slots = 1};
    struct tw_record record = {.kind = TW_RECORD_RELEASE};
    struct tw_node_event event = {.kind = TW_EVENT_APPLIED, .version = 1};
    assert_int_equal(tw_trace_open(trace, &job, NULL, "/nowhere", 0, NULL), TW_OK);
    assert_int_equal(tw_trace_time(trace, 1), 0);
    tw_trace_record(trace, &record, 1);
    tw_trace_event(trace, &event, 1);
    tw_trace_served(trace, 0, 1, 1);
    tw_trace_flush(trace);
    tw_trace_close(trace);
    free(trace);
}

static void a_full_disk_ends_the_trace_behind_a_whole_entry_and_nothing_else(void **state) {
    struct rlimit before, small = {.rlim_cur = 5000};
    struct desk desk;
    signal(SIGXFSZ, SIG_IGN);
    begin(&desk, 1, 1);
    tw_trace_flush(desk.trace);
    getrlimit(RLIMIT_FSIZE, &before);
    small.rlim_max = before.rlim_max;
    setrlimit(RLIMIT_FSIZE, &small);
    for (uint64_t version = 1; version <= 1000; version++)
        happen(&desk, (struct tw_node_event){.kind = TW_EVENT_APPLIED, .version = version});
    tw_trace_flush(desk.trace);
    setrlimit(RLIMIT_FSIZE, &before);
    happen(&desk, (struct tw_node_event){.kind = TW_EVENT_APPLIED, .version = 1001});
    assert_int_equal(desk.trace->writer.failed.status, TW_IO);
    assert_non_null(strstr(desk.trace->writer.failed.text, "trace.log: File too large"));
    close_and_read(&desk);
    assert_int_equal(desk.entries, 0); /* the header alone was whole before */
    end(&desk);
}

/* The trace of `desk`, and that of generation 0. */
static void trace_path(const struct desk *desk, const char *name, char *out) {
    assert_int_equal(tw_path_join(out, TW_PATH_MAX, desk->folder, name), TW_OK);
}

/* A generation that died before its first record has the number of the one that begins now. */
static void an_earlier_trace_is_put_by_once(void **state) {
    struct desk desk;
    char now[TW_PATH_MAX], by[TW_PATH_MAX];
    char *bytes;
    size_t size, again;
    begin(&desk, 1, 1);
    trace_path(&desk, "trace.log", now);
    trace_path(&desk, "trace-g0.log", by);
    happen(&desk, (struct tw_node_event){.kind = TW_EVENT_APPLIED, .version = 7});
    tw_trace_close(desk.trace);
    assert_int_equal(tw_trace_put_by(desk.folder, 0, NULL), TW_OK);
    assert_int_not_equal(access(now, F_OK), 0);
    assert_int_equal(tw_file_read(by, 1 << 20, &bytes, &size, NULL), TW_OK);
    free(bytes);
    assert_int_equal(
        tw_trace_open(desk.trace, &desk.job, &desk.sequencer, desk.folder, uv_hrtime(), NULL),
        TW_OK);
    tw_trace_close(desk.trace);
    assert_int_equal(tw_trace_put_by(desk.folder, 0, NULL), TW_OK);
    assert_int_not_equal(access(now, F_OK), 0);
    assert_int_equal(tw_file_read(by, 1 << 20, &bytes, &again, NULL), TW_OK);
    assert_int_equal(again, size);
    free(bytes);
    assert_int_equal(tw_trace_put_by(desk.folder, 0, NULL), TW_OK);
    unlink(by);
    end(&desk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_header_says_what_the_run_is),
        cmocka_unit_test(a_step_has_its_times_in_order_and_its_first_slot),
        cmocka_unit_test(a_step_that_was_given_up_is_written_without_an_end),
        cmocka_unit_test(an_update_has_its_times_in_order),
        cmocka_unit_test(what_a_worker_says_is_written_when_it_can_be),
        cmocka_unit_test(lies_are_left_out_and_counted),
        cmocka_unit_test(without_a_trace_nothing_is_done),
        cmocka_unit_test(an_earlier_trace_is_put_by_once),
        cmocka_unit_test(a_full_disk_ends_the_trace_behind_a_whole_entry_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
