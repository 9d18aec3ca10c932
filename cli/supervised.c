#include "cli/supervised.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

bool tw_supervised_parse(const char *text, struct tw_supervised *out) {
    char *end;
    errno = 0;
    long fd = strtol(text, &end, 10);
    if (errno || end == text || *end != ':' || fd < -1 || fd > INT_MAX)
        return false;
    const char *rest = end + 1;
    long pid = strtol(rest, &end, 10);
    if (errno || end == rest || *end || pid < 1 || pid > INT_MAX)
        return false;
    *out = (struct tw_supervised){.report_fd = (int)fd, .launcher = (pid_t)pid};
    return true;
}

/* The order matters: a parent that dies before the prctl sends no signal, but is
 * noticed by getppid; one that dies after it sends the signal. */
static void tie(const struct tw_supervised *supervised) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != supervised->launcher)
        _exit(1);
}

void tw_supervised_tie(int argc, char **argv) {
    for (int i = 1; i + 1 < argc; i++) {
        struct tw_supervised supervised;
        if (strcmp(argv[i], "--supervised") == 0 && tw_supervised_parse(argv[i + 1], &supervised)) {
            tie(&supervised);
            return;
        }
    }
}
