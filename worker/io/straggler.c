#include "worker/io/straggler.h"

#include <errno.h>
#include <poll.h>
#include <time.h>

#define NS_PER_SECOND UINT64_C(1000000000)

uint64_t tw_straggler_begin(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

void tw_straggler_wait(double factor, uint64_t begun, int stop_fd) {
    uint64_t now = tw_straggler_begin();
    uint64_t end = now + (uint64_t)((double)(now - begun) * (factor - 1));
    while (now < end) {
        struct pollfd stop = {.fd = stop_fd, .events = POLLIN}; /* poll ignores -1 */
        struct timespec left = {.tv_sec = (time_t)((end - now) / NS_PER_SECOND),
                                .tv_nsec = (long)((end - now) % NS_PER_SECOND)};
        int ready = ppoll(&stop, 1, &left, NULL);
        if (ready > 0 || (ready < 0 && errno != EINTR))
            return;
        now = tw_straggler_begin();
    }
}
