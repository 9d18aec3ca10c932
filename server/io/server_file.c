#include "server/io/server_file.h"

#include <stdlib.h>
#include <unistd.h>

#include "common/base/digest.h"
#include "common/base/json.h"
#include "common/net/address.h"

enum tw_status tw_server_file_write(struct tw_server_file *file, const char *folder,
                                    const struct sockaddr *listens,
                                    const uint8_t job[TW_JOB_ID_BYTES], struct tw_error *error) {
    char name[TW_ADDRESS_TEXT], id[2 * TW_JOB_ID_BYTES + 1];
    struct tw_host_port at;
    struct tw_text text = {0};
    struct tw_json json;
    if (tw_path_join(file->path, TW_PATH_MAX, folder, TW_SERVER_FILE) != TW_OK)
        return tw_error_set(error, TW_LIMIT, "the path of the run directory is too long");
    enum tw_status status = tw_host_port_parse(&at, tw_address_name(listens, name), error);
    if (status != TW_OK)
        return status;
    tw_hex(job, TW_JOB_ID_BYTES, id);
    tw_json_init(&json, &text);
    tw_json_begin_object(&json, NULL);
    tw_json_string(&json, "host", at.host);
    tw_json_unsigned(&json, "port", strtoul(at.port, NULL, 10));
    tw_json_integer(&json, "pid", getpid());
    tw_json_string(&json, "job", id);
    tw_json_end_object(&json);
    tw_text_add_bytes(&text, "\n", 1);
    status = text.failed ? tw_error_set(error, TW_NO_MEMORY, "%s: out of memory", file->path)
                         : tw_file_write_atomic(file->path, text.at, text.size, error);
    tw_text_fini(&text);
    file->written = status == TW_OK;
    return status;
}

void tw_server_file_remove(struct tw_server_file *file) {
    if (file->written)
        unlink(file->path);
    file->written = false;
}
