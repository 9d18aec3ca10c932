#include "cli/party.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

uint64_t tw_party_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

bool tw_party_read(int fd, void *bytes, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t n = read(fd, (char *)bytes + done, size - done);
        if (n == 0 || (n < 0 && errno != EINTR))
            return false;
        done += n > 0 ? (size_t)n : 0;
    }
    return true;
}

bool tw_party_write(int fd, const void *bytes, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t n = write(fd, (const char *)bytes + done, size - done);
        if (n < 0 && errno != EINTR)
            return false;
        done += n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* A core that is not ours to use is no reason to fail: the numbers are just noisier. */
static void pin(int core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (core < 0)
        return;
    CPU_SET((unsigned)core, &set);
    (void)sched_setaffinity(0, sizeof set, &set);
}

static void be_child(const int commands[2], const int answers[2], int core, pid_t parent,
                     tw_party_main *main, void *context) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    /* A Ctrl-C is for the one that measures; it ends us. */
    signal(SIGINT, SIG_IGN);
    pin(core);
    close(commands[1]);
    close(answers[0]);
    _exit(main(commands[0], answers[1], context));
}

enum tw_status tw_party_start(struct tw_party *party, const char *name, int core,
                              tw_party_main *main, void *context, struct tw_error *error) {
    int commands[2], answers[2];
    *party = (struct tw_party){0};
    snprintf(party->name, sizeof party->name, "%s", name);
    if (pipe2(commands, O_CLOEXEC) != 0)
        return tw_error_set(error, TW_IO, "no pipe for the %s: %s", name, strerror(errno));
    if (pipe2(answers, O_CLOEXEC) != 0) {
        tw_error_set(error, TW_IO, "no pipe for the %s: %s", name, strerror(errno));
        close(commands[0]);
        close(commands[1]);
        return TW_IO;
    }
    fflush(NULL);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        be_child(commands, answers, core, parent, main, context);
    int why = errno;
    close(commands[0]);
    close(answers[1]);
    if (pid < 0) {
        close(commands[1]);
        close(answers[0]);
        return tw_error_set(error, TW_IO, "no process for the %s: %s", name, strerror(why));
    }
    party->pid = pid;
    party->to = commands[1];
    party->from = answers[0];
    return TW_OK;
}

static enum tw_status gone(const struct tw_party *party, struct tw_error *error) {
    return tw_error_set(error, TW_IO, "the %s (process %ld) ended in the middle of a measurement",
                        party->name, (long)party->pid);
}

enum tw_status tw_party_tell(struct tw_party *party, const void *command, size_t size,
                             struct tw_error *error) {
    return tw_party_write(party->to, command, size) ? TW_OK : gone(party, error);
}

enum tw_status tw_party_hear(struct tw_party *party, void *answer, size_t size,
                             struct tw_error *error) {
    return tw_party_read(party->from, answer, size) ? TW_OK : gone(party, error);
}

enum tw_status tw_party_await(struct tw_party *party, struct tw_party *talker,
                              struct tw_error *error) {
    struct pollfd ends[2] = {{.fd = party->from, .events = POLLIN},
                             {.fd = talker->from, .events = POLLIN}};
    char words[4096];
    while (!ends[0].revents) {
        if (poll(ends, 2, -1) < 0 && errno != EINTR)
            return gone(party, error);
        if (ends[1].revents && read(talker->from, words, sizeof words) <= 0)
            return gone(talker, error);
    }
    return TW_OK;
}

uint64_t tw_party_cpu_ns(const struct tw_party *party) {
    clockid_t clock;
    struct timespec used = {0};
    if (party->pid == 0 || clock_getcpuclockid(party->pid, &clock) != 0)
        return 0;
    clock_gettime(clock, &used);
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

uint64_t tw_party_peak_kib(const struct tw_party *party) {
    char path[64], line[256];
    unsigned long long peak = 0;
    snprintf(path, sizeof path, "/proc/%ld/status", (long)party->pid);
    FILE *file = fopen(path, "re");
    while (file && !peak && fgets(line, sizeof line, file))
        if (sscanf(line, "VmHWM: %llu kB", &peak) != 1)
            peak = 0;
    if (file)
        fclose(file);
    return peak;
}

void tw_party_end(struct tw_party *party) {
    if (party->pid == 0)
        return;
    kill(party->pid, SIGKILL);
    while (waitpid(party->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    close(party->to);
    close(party->from);
    party->pid = 0;
}
