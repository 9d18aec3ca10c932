/* Which kernels OpenBLAS takes is settled when the program is loaded: a job that pins
 * them (worker.blas_core) needs an environment variable before that. Used by the
 * commands that compute gradients.
 */
#ifndef TW_CLI_BLAS_CORE_H
#define TW_CLI_BLAS_CORE_H

#include "common/base/status.h"

/* The command line again, for tw_blas_core_pin(): to be copied before argp reorders it.
 * From malloc, the strings borrowed; NULL when there is no memory. */
char **tw_blas_core_arguments(int argc, char **argv);

/* Makes `core` the one in use: by executing this program again with the variable set,
 * unless it is already. Returns only when there is nothing to do (also for NULL), or it
 * failed: TW_IO, TW_NO_MEMORY. */
enum tw_status tw_blas_core_pin(const char *core, char **arguments, struct tw_error *error);

#endif
