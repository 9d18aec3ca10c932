#include "server/core/arrays.h"

#include <stdio.h>
#include <string.h>

/* All but the states of corrections. */
static uint32_t own_count(const struct tw_arrays *arrays) {
    return 1 + (uint32_t)arrays->optimizer->states + (arrays->shaping->average > 0);
}

uint32_t tw_arrays_count(const struct tw_arrays *arrays) {
    return own_count(arrays) + tw_correction_states(&arrays->shaping->corrections, arrays->workers);
}

void tw_array_name(const struct tw_arrays *arrays, uint32_t array, char out[TW_ARRAY_NAME]) {
    uint32_t own = own_count(arrays), states = (uint32_t)arrays->optimizer->states;
    if (array >= own)
        tw_correction_state_name(&arrays->shaping->corrections, arrays->workers, array - own, out);
    else
        snprintf(out, TW_ARRAY_NAME, "%s",
                 !array            ? ""
                 : array <= states ? arrays->optimizer->state[array - 1].name
                                   : "average");
}

bool tw_array_find(const struct tw_arrays *arrays, const char *name, size_t size, uint32_t *out) {
    uint32_t own = own_count(arrays), n;
    char known[TW_ARRAY_NAME], wanted[TW_ARRAY_NAME];
    if (size >= sizeof wanted)
        return false;
    memcpy(wanted, name, size);
    wanted[size] = 0;
    for (uint32_t array = 0; array < own; array++) {
        tw_array_name(arrays, array, known);
        if (strcmp(known, wanted) == 0) {
            *out = array;
            return true;
        }
    }
    if (!tw_correction_state_find(&arrays->shaping->corrections, arrays->workers, wanted, &n))
        return false;
    *out = own + n;
    return true;
}
