/* server.json in the run directory: where the lead of a run that is under way can be
 * asked (docs/waiting.md). It is there from the moment the lead listens until the run
 * is over; one that is left behind says that the lead was killed.
 *
 *     {"host":"127.0.0.1","port":4711,"pid":123,"job":"00112233445566778899aabbccddeeff"}
 *
 * host: as it listens, so perhaps a wildcard. job: the id of the run, so that another
 * server at that address is not taken for this one. No secret is in it.
 */
#ifndef TW_IO_SERVER_FILE_H
#define TW_IO_SERVER_FILE_H

#include <stdbool.h>
#include <sys/socket.h>

#include "common/base/file.h"
#include "proto/frame.h"

#define TW_SERVER_FILE "server.json"

struct tw_server_file {
    char path[TW_PATH_MAX];
    bool written;
};

/* TW_IO, TW_LIMIT, TW_NO_MEMORY: and there is none. */
enum tw_status tw_server_file_write(struct tw_server_file *file, const char *folder,
                                    const struct sockaddr *listens,
                                    const uint8_t job[TW_JOB_ID_BYTES], struct tw_error *error);

/* Harmless when nothing was written, and twice. */
void tw_server_file_remove(struct tw_server_file *file);

#endif
