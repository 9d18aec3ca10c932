/* A process of a benchmark: forked, pinned to a core, told what to do through a pipe.
 *
 *     tw_party_start -> [ tw_party_ask ] ... -> tw_party_end
 *
 * The process dies with the one that started it. Used by bench_*.c only; blocking; to be
 * started before there are threads.
 */
#ifndef TW_CLI_PARTY_H
#define TW_CLI_PARTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/status.h"

struct tw_party {
    char name[32]; /* for messages */
    pid_t pid;     /* 0: not started, or ended */
    int to, from;  /* pipes */
};

/* What the process does; its result is the exit code. `commands`, `answers`: its ends. */
typedef int tw_party_main(int commands, int answers, void *context);

/* TW_IO. After a failure there is nothing to end. `core` -1: any. */
enum tw_status tw_party_start(struct tw_party *party, const char *name, int core,
                              tw_party_main *main, void *context, struct tw_error *error);

/* Sends a command without waiting for its answer; waits for an answer. TW_IO: the
 * process is gone. */
enum tw_status tw_party_tell(struct tw_party *party, const void *command, size_t size,
                             struct tw_error *error);
enum tw_status tw_party_hear(struct tw_party *party, void *answer, size_t size,
                             struct tw_error *error);

/* Waits until there is an answer to hear; meanwhile throws away what `talker` says, whose pipe
 * would be full. TW_IO as above. */
enum tw_status tw_party_await(struct tw_party *party, struct tw_party *talker,
                              struct tw_error *error);

/* CPU time that it has used so far, all of its threads, in nanoseconds. */
uint64_t tw_party_cpu_ns(const struct tw_party *party);

/* The most memory that it has had at a time (VmHWM), in KiB; 0: it is gone. */
uint64_t tw_party_peak_kib(const struct tw_party *party);

/* Kills it, which is all that a process without work of its own needs, and waits. Harmless
 * when it is not there. */
void tw_party_end(struct tw_party *party);

/* For the processes: all bytes, or false (the other side is gone). */
bool tw_party_read(int fd, void *bytes, size_t size);
bool tw_party_write(int fd, const void *bytes, size_t size);

uint64_t tw_party_now_ns(void);

#endif
