#include "common/tensor/safetensors_read.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/json_scan.h"

/* ---- the header ---- */

static unsigned bytes_of(const char *dtype) {
    static const struct {
        const char *name;
        unsigned bytes;
    } types[] = {{"F32", 4}, {"I64", 8}, {"F64", 8},  {"U64", 8}, {"I32", 4},
                 {"U32", 4}, {"F16", 2}, {"BF16", 2}, {"I16", 2}, {"U16", 2},
                 {"I8", 1},  {"U8", 1},  {"BOOL", 1}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(types[i].name, dtype) == 0)
            return types[i].bytes;
    return 0;
}

static void scan_shape(struct tw_json_scan *scan, struct tw_safetensors_entry *entry) {
    entry->dims = 0;
    entry->elements = 1;
    tw_scan_open(scan, '[');
    while (tw_scan_item(scan)) {
        uint64_t size = tw_scan_unsigned(scan);
        if (entry->dims == TW_DIMS_MAX || size < 1 || size > (uint64_t)TW_ELEMENTS_MAX ||
            entry->elements > (uint64_t)TW_ELEMENTS_MAX / size) {
            tw_scan_refuse(scan, "a shape within limits");
            return;
        }
        entry->shape[entry->dims++] = size;
        entry->elements *= size;
    }
}

static void scan_offsets(struct tw_json_scan *scan, struct tw_safetensors_entry *entry) {
    tw_scan_open(scan, '[');
    entry->begin = tw_scan_item(scan) ? tw_scan_unsigned(scan) : 0;
    if (!tw_scan_item(scan))
        tw_scan_refuse(scan, "two offsets");
    entry->end = tw_scan_unsigned(scan);
    if (tw_scan_item(scan))
        tw_scan_refuse(scan, "two offsets");
}

/* {"dtype": .., "shape": .., "data_offsets": ..}, each once, in any order. */
static void scan_entry(struct tw_json_scan *scan, struct tw_safetensors_entry *entry) {
    char key[32];
    unsigned seen = 0, this;
    tw_scan_open(scan, '{');
    while (tw_scan_key(scan, key, sizeof key)) {
        if (strcmp(key, "dtype") == 0) {
            tw_scan_string(scan, entry->dtype, sizeof entry->dtype);
            this = 1;
        } else if (strcmp(key, "shape") == 0) {
            scan_shape(scan, entry);
            this = 2;
        } else if (strcmp(key, "data_offsets") == 0) {
            scan_offsets(scan, entry);
            this = 4;
        } else {
            tw_scan_refuse(scan, "dtype, shape or data_offsets");
            return;
        }
        if (seen & this)
            tw_scan_refuse(scan, "each key once");
        seen |= this;
    }
    if (seen != 7)
        tw_scan_refuse(scan, "dtype, shape and data_offsets");
}

/* Where the one before ends, as many bytes as type and shape give. */
static void check_entry(struct tw_json_scan *scan, const struct tw_safetensors_entry *entry,
                        uint64_t end_before) {
    unsigned bytes = bytes_of(entry->dtype);
    if (!bytes)
        tw_scan_refuse(scan, "a dtype that is known");
    else if (entry->begin != end_before)
        tw_scan_refuse(scan, "tensors one behind the other, without holes");
    else if (entry->end < entry->begin || entry->end - entry->begin != entry->elements * bytes)
        tw_scan_refuse(scan, "offsets that fit the shape");
}

/* Room for one more; NULL: none, or too many. */
static struct tw_safetensors_entry *next_entry(struct tw_safetensors_list *list, size_t *room,
                                               struct tw_error *error) {
    if (list->count == TW_SAFETENSORS_ENTRIES_MAX) {
        tw_error_set(error, TW_LIMIT, "more than %d tensors", TW_SAFETENSORS_ENTRIES_MAX);
        return NULL;
    }
    if (list->count == *room) {
        *room = *room ? 2 * *room : 16;
        void *larger = realloc(list->entry, *room * sizeof *list->entry);
        if (!larger) {
            tw_error_set(error, TW_NO_MEMORY, "out of memory for the names of tensors");
            return NULL;
        }
        list->entry = larger;
    }
    return memset(&list->entry[list->count++], 0, sizeof *list->entry);
}

static int by_name(const void *a, const void *b) {
    const struct tw_safetensors_entry *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static enum tw_status check_names(const struct tw_safetensors_list *list, struct tw_error *error) {
    const struct tw_safetensors_entry **sorted = calloc(list->count + 1, sizeof *sorted);
    enum tw_status status = TW_OK;
    if (!sorted)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory for the names of tensors");
    for (size_t i = 0; i < list->count; i++)
        sorted[i] = &list->entry[i];
    qsort(sorted, list->count, sizeof *sorted, by_name);
    for (size_t i = 1; i < list->count && status == TW_OK; i++)
        if (strcmp(sorted[i]->name, sorted[i - 1]->name) == 0)
            status =
                tw_error_set(error, TW_DATA, "two tensors are called \"%.200s\"", sorted[i]->name);
    free(sorted);
    return status;
}

static enum tw_status scan_all(struct tw_safetensors_list *list, struct tw_json_scan *scan,
                               uint64_t data_bytes, struct tw_error *error) {
    char name[TW_SAFETENSORS_NAME];
    size_t room = 0;
    uint64_t end = 0;
    tw_scan_open(scan, '{');
    while (tw_scan_key(scan, name, sizeof name)) {
        if (strcmp(name, "__metadata__") == 0) {
            tw_scan_skip(scan);
            continue;
        }
        struct tw_safetensors_entry *entry = next_entry(list, &room, error);
        if (!entry)
            return error->status;
        memcpy(entry->name, name, sizeof name);
        scan_entry(scan, entry);
        if (!scan->wrong)
            check_entry(scan, entry, end);
        end = entry->end;
    }
    tw_scan_end(scan);
    if (scan->wrong)
        return tw_error_set(error, TW_DATA, "at byte %zu of the header: %s is wanted", scan->at,
                            scan->wrong);
    if (end != data_bytes)
        return tw_error_set(error, TW_DATA,
                            "the tensors take %llu bytes, but %llu follow the header",
                            (unsigned long long)end, (unsigned long long)data_bytes);
    return check_names(list, error);
}

enum tw_status tw_safetensors_parse(struct tw_safetensors_list *list, const void *header,
                                    size_t header_bytes, uint64_t data_bytes,
                                    struct tw_error *error) {
    struct tw_json_scan scan = tw_json_scan(header, header_bytes);
    *list = (struct tw_safetensors_list){.count = 0};
    enum tw_status status = scan_all(list, &scan, data_bytes, error);
    if (status != TW_OK)
        tw_safetensors_list_fini(list);
    return status;
}

void tw_safetensors_list_fini(struct tw_safetensors_list *list) {
    free(list->entry);
    *list = (struct tw_safetensors_list){.count = 0};
}

/* ---- files ---- */

enum tw_status tw_safetensors_read_file(const struct tw_safetensors_reader *reader, uint64_t at,
                                        void *out, size_t size, struct tw_error *error) {
    size_t done = 0;
    while (done < size) {
        ssize_t count =
            pread(reader->fd, (char *)out + done, size - done, (off_t)(at + (uint64_t)done));
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return tw_error_set(error, TW_IO, "cannot read %s: %s", reader->path, strerror(errno));
        if (count == 0)
            return tw_error_set(error, TW_DATA, "%s ends after %llu bytes", reader->path,
                                (unsigned long long)(at + done));
        done += (size_t)count;
    }
    return TW_OK;
}

static enum tw_status read_header(struct tw_safetensors_reader *reader, struct tw_error *error) {
    uint64_t size;
    enum tw_status status = tw_safetensors_read_file(reader, 0, &size, sizeof size, error);
    if (status != TW_OK)
        return status;
    size = le64toh(size);
    if (size > TW_SAFETENSORS_HEADER_MAX || size > reader->bytes - sizeof size)
        return tw_error_set(error, TW_DATA,
                            "%s is no safetensors file: its header would have %llu bytes",
                            reader->path, (unsigned long long)size);
    char *text = malloc(size + 1);
    if (!text)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory for the header of %s",
                            reader->path);
    reader->data = sizeof size + size;
    status = tw_safetensors_read_file(reader, sizeof size, text, size, error);
    if (status == TW_OK) {
        status =
            tw_safetensors_parse(&reader->list, text, size, reader->bytes - reader->data, error);
        if (status != TW_OK)
            tw_error_wrap(error, "%s", reader->path);
    }
    free(text);
    return status;
}

enum tw_status tw_safetensors_read_open(struct tw_safetensors_reader *reader, const char *path,
                                        struct tw_error *error) {
    struct stat about;
    *reader = (struct tw_safetensors_reader){.fd = -1};
    if (tw_path_join(reader->path, sizeof reader->path, "", path) != TW_OK)
        return tw_error_set(error, TW_LIMIT, "%.200s...: this path is too long", path);
    reader->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (reader->fd < 0)
        return tw_error_set(error, TW_IO, "cannot open %s: %s", path, strerror(errno));
    enum tw_status status = TW_OK;
    if (fstat(reader->fd, &about) != 0 || !S_ISREG(about.st_mode))
        status = tw_error_set(error, TW_DATA, "%s is no regular file", path);
    else if (about.st_size < 8)
        status = tw_error_set(error, TW_DATA, "%s is no safetensors file: it has %lld bytes", path,
                              (long long)about.st_size);
    if (status == TW_OK) {
        reader->bytes = (uint64_t)about.st_size;
        status = read_header(reader, error);
    }
    if (status != TW_OK)
        tw_safetensors_read_close(reader);
    return status;
}

enum tw_status tw_safetensors_read(const struct tw_safetensors_reader *reader, uint64_t from,
                                   void *out, size_t size, struct tw_error *error) {
    return tw_safetensors_read_file(reader, reader->data + from, out, size, error);
}

void tw_safetensors_read_close(struct tw_safetensors_reader *reader) {
    if (reader->fd >= 0)
        close(reader->fd);
    reader->fd = -1;
    tw_safetensors_list_fini(&reader->list);
}
