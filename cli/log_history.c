#include "cli/log_history.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/varint.h"

static enum tw_status note_rollback(struct tw_log_history *history, const struct tw_record *record,
                                    size_t *room, struct tw_error *error) {
    if (record->generation != history->generation + 1)
        return tw_error_set(error, TW_DATA,
                            "record %" PRIu64 " makes generation %u, where %u is next",
                            record->position, record->generation, history->generation + 1);
    if (history->count == *room) {
        *room = *room ? 2 * *room : 8;
        void *larger = realloc(history->rollback, *room * sizeof *history->rollback);
        if (!larger)
            return tw_error_set(error, TW_NO_MEMORY, "out of memory");
        history->rollback = larger;
    }
    history->rollback[history->count++] =
        (struct tw_log_rollback){.position = record->position, .to = record->to};
    history->generation = record->generation;
    history->workers = record->ranks;
    return TW_OK;
}

/* Whether what follows the last whole record is the beginning of one, as a machine leaves it that
 * loses its power, or just nothing. */
static bool is_torn(const struct tw_log_history *history, const char *path, struct tw_error *end) {
    unsigned char head[TW_VARINT_MAX];
    struct stat about;
    uint64_t size = 0;
    if (end->status != TW_DATA || stat(path, &about) != 0)
        return false;
    uint64_t left = (uint64_t)about.st_size - history->bytes;
    FILE *file = fopen(path, "rb");
    if (!file)
        return false;
    size_t got =
        fseeko(file, (off_t)history->bytes, SEEK_SET) ? 0 : fread(head, 1, sizeof head, file);
    fclose(file);
    int bytes = tw_varint_get(head, got, sizeof head, &size);
    return bytes == TW_VARINT_SHORT ||
           (bytes > 0 && size && size <= TW_ORDER_LOG_RECORD_MAX && size > left - (uint64_t)bytes);
}

enum tw_status tw_log_history_read(struct tw_log_history *history, const char *run,
                                   struct tw_error *end, struct tw_error *error) {
    struct tw_log_file file;
    struct tw_record record;
    size_t room = 0;
    *history = (struct tw_log_history){.position = 0};
    enum tw_status status = tw_log_file_open(&file, run, error);
    if (status != TW_OK)
        return status;
    while (status == TW_OK && tw_log_file_next(&file, &record, end) == TW_OK) {
        history->version = record.version - (record.kind == TW_RECORD_REGATHER);
        if (record.kind == TW_RECORD_ROLLBACK)
            status =
                tw_run_file_said(&file.file, note_rollback(history, &record, &room, error), error);
    }
    history->position = tw_order_log_position(file.reader);
    history->bytes = tw_order_log_offset(file.reader);
    history->torn = is_torn(history, file.file.path, end);
    tw_log_file_close(&file);
    return status;
}

void tw_log_history_fini(struct tw_log_history *history) {
    free(history->rollback);
    *history = (struct tw_log_history){.position = 0};
}

bool tw_log_history_stands(const struct tw_log_history *history, uint64_t position) {
    for (size_t i = 0; i < history->count; i++)
        if (position > history->rollback[i].to && position < history->rollback[i].position)
            return false;
    return true;
}

enum tw_status tw_log_history_next(const struct tw_log_history *history, struct tw_log_file *file,
                                   struct tw_record *record, struct tw_error *error) {
    enum tw_status status;
    do
        status = tw_log_file_next(file, record, error);
    while (status == TW_OK && !tw_log_history_stands(history, record->position));
    return status;
}
