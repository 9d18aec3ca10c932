/* What a running server tells its operator: the events from which the progress
 * bar, metrics.jsonl, the summary and --json are made. The server calls one
 * function with them; who renders is not its business (cli/ does, in the same
 * process or, through a pipe as JSON lines, in the launcher).
 */
#ifndef TW_IO_REPORT_H
#define TW_IO_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/status.h"

enum tw_report_kind {
    TW_REPORT_LISTENING, /* host, port */
    TW_REPORT_JOINED,    /* rank, incarnation, peer */
    TW_REPORT_LEFT,      /* rank, peer, text: why */
    TW_REPORT_EVICTED,   /* rank, text: a worker that was gone for too long takes part no more */
    TW_REPORT_WAITING,   /* text: for whom, since when; every 10 s while an update waits */
    TW_REPORT_STRAGGLER, /* text: a rank that is there but does not get through its step */
    TW_REPORT_RESUMED,   /* text: from which checkpoint the run goes on */
    TW_REPORT_NOTE,      /* text: what else people should know as it happens */
    TW_REPORT_STARTED,   /* all workers are there */
    TW_REPORT_PROGRESS,  /* updates, samples, epoch, train_loss, samples_per_second; <= 10 a s */
    TW_REPORT_EPOCH, /* the same, with train_accuracy, test_loss, test_accuracy, staleness_mean */
    TW_REPORT_TIMES, /* text: at the end, where the time of a worker (or of all) went */
    TW_REPORT_STEPS, /* text: at the end, how far updates moved the weights, and what to try */
    TW_REPORT_DONE,  /* result */
};

/* The summary of a run; what DESIGN.md §7 lists for --json. */
struct tw_result {
    enum tw_status status; /* TW_OK done, TW_INTERRUPTED, else failed */
    char error[TW_ERROR_TEXT];
    uint64_t updates, samples;
    double seconds, samples_per_second;
    double train_loss, train_accuracy, test_loss, test_accuracy; /* NaN: there is none */
    double staleness_mean;
    uint64_t staleness_max;
    uint64_t dropped;    /* gradients that were over without being applied; not in --json */
    uint64_t not_finite; /* times that gradients were left out since they were not finite */
    uint64_t evicted;    /* times that a worker was; not in --json */
    char stopped[16];    /* what of the job's `stop` ended the run; "": it did not */
    char model[4096];    /* path; "" when none was written */
    char model_sha256[65];
    char model_ema[4096]; /* likewise of the averaged weights */
    char model_ema_sha256[65];
};

struct tw_report {
    enum tw_report_kind kind;
    char host[64];
    int port;
    uint32_t rank, incarnation;
    char peer[64];
    char text[TW_ERROR_TEXT];
    uint64_t updates, samples;
    uint64_t samples_total; /* at which the run will end; 0 unknown */
    double epoch;           /* samples / n; with updates only: 0 */
    double seconds;         /* of training so far */
    double samples_per_second;
    double train_loss, train_accuracy, test_loss, test_accuracy, staleness_mean;
    struct tw_result result;
};

#endif
