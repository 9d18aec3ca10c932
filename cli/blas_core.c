#include "cli/blas_core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* argv[0] is the name of the command; in front of it comes the program. */
char **tw_blas_core_arguments(int argc, char **argv) {
    char **copy = calloc((size_t)argc + 2, sizeof *copy);
    if (copy) {
        copy[0] = (char *)"talweg";
        memcpy(copy + 1, argv, (size_t)argc * sizeof *copy);
    }
    return copy;
}

/* The new image finds the variable set and goes on. */
enum tw_status tw_blas_core_pin(const char *core, char **arguments, struct tw_error *error) {
    const char *now = getenv("OPENBLAS_CORETYPE");
    if (!core || (now && strcmp(now, core) == 0))
        return TW_OK;
    if (setenv("OPENBLAS_CORETYPE", core, 1) != 0)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    execv("/proc/self/exe", arguments);
    return tw_error_set(error, TW_IO, "worker.blas_core %s: cannot start again: %s", core,
                        strerror(errno));
}
