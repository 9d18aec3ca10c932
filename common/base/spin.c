#include "common/base/spin.h"

#include <stdbool.h>

void tw_spin_init(struct tw_spin *spin, uint32_t cap_ns) {
    *spin = (struct tw_spin){.cap_ns = cap_ns};
}

uint32_t tw_spin_window(const struct tw_spin *spin, uint64_t now_ns) {
    return now_ns < spin->rested_ns ? 0 : spin->window_ns;
}

static void grow(struct tw_spin *spin) {
    uint32_t room = spin->cap_ns - spin->window_ns;
    uint32_t more = spin->window_ns ? spin->window_ns : TW_SPIN_FIRST_NS;
    spin->window_ns += more < room ? more : room;
}

static void shrink(struct tw_spin *spin) {
    spin->window_ns /= 2;
    if (spin->window_ns < TW_SPIN_FIRST_NS)
        spin->window_ns = 0;
}

void tw_spin_waited(struct tw_spin *spin, uint64_t waited_ns) {
    if (waited_ns > spin->cap_ns)
        shrink(spin);
    else if (waited_ns > spin->window_ns)
        grow(spin);
}

/* At most as long as a rest may be. */
static uint32_t times(uint64_t ns, uint32_t factor) {
    return ns < TW_SPIN_REST_NS_MAX / factor ? (uint32_t)ns * factor : TW_SPIN_REST_NS_MAX;
}

void tw_spin_crowded(struct tw_spin *spin, uint64_t now_ns, uint64_t lost_ns) {
    bool is_over = spin->rest_ns == 0 || now_ns - spin->rested_ns > spin->rest_ns;
    uint32_t rest_ns = times(lost_ns, TW_SPIN_REST_TIMES);
    uint32_t longer = is_over ? 0 : times(spin->rest_ns, 2);
    spin->rest_ns = longer > rest_ns ? longer : rest_ns;
    spin->rested_ns = now_ns + spin->rest_ns;
    spin->window_ns = 0;
}
