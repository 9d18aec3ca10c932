#include "server/io/restore.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crc32c.h"
#include "server/core/dial.h"

enum { CANDIDATES_MAX = 4096 };

/* A tensor of a file: a run of elements of an array. */
struct part {
    uint32_t tensor, array, file;
    uint64_t first, end; /* elements */
    uint64_t begin;      /* bytes in the file */
};

struct tw_restore {
    struct tw_manifest manifest;
    char name[TW_CHECKPOINT_NAME];
    struct tw_safetensors_reader file[TW_SERVERS_MAX];
    struct part *part; /* [parts], by array, tensor, first */
    size_t parts;
};

const struct tw_manifest *tw_restore_manifest(const struct tw_restore *restore) {
    return &restore->manifest;
}
const char *tw_restore_name(const struct tw_restore *restore) {
    return restore->name;
}

void tw_restore_free(struct tw_restore *restore) {
    if (!restore)
        return;
    for (uint32_t i = 0; i < TW_SERVERS_MAX; i++)
        tw_safetensors_read_close(&restore->file[i]);
    tw_manifest_fini(&restore->manifest);
    free(restore->part);
    free(restore);
}

/* ---- parts ---- */

void tw_part_name(char *out, const struct tw_tensor *tensor, const char *array, int64_t first,
                  int64_t end) {
    char range[48] = "";
    if (first != 0 || end != tensor->elements)
        snprintf(range, sizeof range, "[%" PRId64 ":%" PRId64 "]", first, end);
    snprintf(out, TW_SAFETENSORS_NAME, "%s%s%s%s", tensor->name, *array ? ":" : "", array, range);
}

static bool find_tensor(const struct tw_tensor_list *list, const char *name, size_t size,
                        uint32_t *out) {
    for (int t = 0; t < list->count; t++)
        if (strncmp(list->tensors[t].name, name, size) == 0 && !list->tensors[t].name[size]) {
            *out = (uint32_t)t;
            return true;
        }
    return false;
}

/* What tw_part_name() has written. */
static bool read_part(const struct tw_restore_ask *ask, const struct tw_safetensors_entry *entry,
                      struct part *part) {
    const char *name = entry->name;
    size_t size = strcspn(name, ":[");
    char again[TW_SAFETENSORS_NAME], array[TW_ARRAY_NAME];
    if (strcmp(entry->dtype, "F32") != 0 || !find_tensor(ask->list, name, size, &part->tensor))
        return false;
    const struct tw_tensor *tensor = &ask->list->tensors[part->tensor];
    bool has_array = name[size] == ':';
    name += size + has_array;
    size = has_array ? strcspn(name, "[") : 0;
    if (!tw_array_find(&ask->arrays, name, size, &part->array))
        return false;
    name += size;
    part->first = 0;
    part->end = (uint64_t)tensor->elements;
    if (*name && sscanf(name, "[%20" SCNu64 ":%20" SCNu64 "]", &part->first, &part->end) != 2)
        return false;
    part->begin = entry->begin;
    if (part->first >= part->end || part->end > (uint64_t)tensor->elements ||
        part->end - part->first != entry->elements)
        return false;
    tw_array_name(&ask->arrays, part->array, array);
    tw_part_name(again, tensor, array, (int64_t)part->first, (int64_t)part->end);
    return strcmp(again, entry->name) == 0;
}

static int by_place(const void *a, const void *b) {
    const struct part *x = a, *y = b;
    if (x->array != y->array)
        return x->array < y->array ? -1 : 1;
    if (x->tensor != y->tensor)
        return x->tensor < y->tensor ? -1 : 1;
    return x->first < y->first ? -1 : x->first > y->first;
}

/* Every element of every array is there, once. */
static enum tw_status check_parts(const struct tw_restore *restore,
                                  const struct tw_restore_ask *ask, struct tw_error *error) {
    const uint32_t arrays = tw_arrays_count(&ask->arrays);
    char array[TW_ARRAY_NAME];
    size_t i = 0;
    for (uint32_t a = 0; a < arrays; a++)
        for (int t = 0; t < ask->list->count; t++) {
            const struct tw_tensor *tensor = &ask->list->tensors[t];
            uint64_t end = 0;
            for (; i < restore->parts && restore->part[i].array == a &&
                   restore->part[i].tensor == (uint32_t)t && restore->part[i].first == end;
                 i++)
                end = restore->part[i].end;
            if (end == (uint64_t)tensor->elements)
                continue;
            tw_array_name(&ask->arrays, a, array);
            return tw_error_set(error, TW_DATA, "element %" PRIu64 " of %s%s%s is missing", end,
                                tensor->name, a ? ":" : "", array);
        }
    return i == restore->parts ? TW_OK
                               : tw_error_set(error, TW_DATA, "it has elements more than once");
}

static enum tw_status list_parts(struct tw_restore *restore, const struct tw_restore_ask *ask,
                                 struct tw_error *error) {
    size_t count = 0;
    for (uint32_t f = 0; f < restore->manifest.files; f++)
        count += restore->file[f].list.count;
    restore->part = calloc(count + 1, sizeof *restore->part);
    if (!restore->part)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    for (uint32_t f = 0; f < restore->manifest.files; f++)
        for (size_t i = 0; i < restore->file[f].list.count; i++) {
            const struct tw_safetensors_entry *entry = &restore->file[f].list.entry[i];
            struct part *part = &restore->part[restore->parts++];
            part->file = f;
            if (!read_part(ask, entry, part))
                return tw_error_set(error, TW_DATA, "%s has \"%.200s\", which is not of this job",
                                    restore->file[f].path, entry->name);
        }
    qsort(restore->part, restore->parts, sizeof *restore->part, by_place);
    return check_parts(restore, ask, error);
}

/* ---- checksums ---- */

static enum tw_status wrong_crc(const struct tw_safetensors_reader *file, const char *where,
                                struct tw_error *error) {
    return tw_error_set(error, TW_DATA, "%s: the bytes of %.200s are not those that were written",
                        file->path, where);
}

static enum tw_status check_header(const struct tw_safetensors_reader *file, uint32_t wanted,
                                   char *buffer, size_t room, struct tw_error *error) {
    uint32_t crc = 0;
    for (uint64_t at = 0; at < file->data; at += room) {
        size_t size = file->data - at < room ? (size_t)(file->data - at) : room;
        enum tw_status status = tw_safetensors_read_file(file, at, buffer, size, error);
        if (status != TW_OK)
            return status;
        crc = tw_crc32c(crc, buffer, size);
    }
    return crc == wanted ? TW_OK : wrong_crc(file, "the header", error);
}

static enum tw_status check_blocks(const struct tw_safetensors_reader *file,
                                   const struct tw_manifest_file *wanted, char *buffer, size_t room,
                                   struct tw_error *error) {
    uint32_t block = 0;
    for (size_t i = 0; i < file->list.count; i++) {
        const struct tw_safetensors_entry *entry = &file->list.entry[i];
        for (uint64_t at = entry->begin; at < entry->end; at += room, block++) {
            size_t size = entry->end - at < room ? (size_t)(entry->end - at) : room;
            enum tw_status status = tw_safetensors_read(file, at, buffer, size, error);
            if (status != TW_OK)
                return status;
            if (block >= wanted->blocks || tw_crc32c(0, buffer, size) != wanted->crc[block])
                return wrong_crc(file, entry->name, error);
        }
    }
    return block == wanted->blocks ? TW_OK
                                   : tw_error_set(error, TW_DATA, "%s has %u blocks, not %u",
                                                  file->path, block, wanted->blocks);
}

static enum tw_status open_file(struct tw_restore *restore, uint32_t f, const char *folder,
                                char *buffer, struct tw_error *error) {
    const struct tw_manifest_file *wanted = &restore->manifest.file[f];
    struct tw_safetensors_reader *file = &restore->file[f];
    char name[48], path[TW_PATH_MAX];
    snprintf(name, sizeof name, "shard-%u.safetensors", f);
    if (tw_path_join(path, sizeof path, folder, name) != TW_OK)
        return tw_error_set(error, TW_LIMIT, "%.200s...: this path is too long", folder);
    enum tw_status status = tw_safetensors_read_open(file, path, error);
    if (status == TW_OK && file->bytes != wanted->bytes)
        status = tw_error_set(error, TW_DATA, "%s has %" PRIu64 " bytes, not %" PRIu64, path,
                              file->bytes, wanted->bytes);
    size_t room = restore->manifest.block_bytes;
    if (status == TW_OK)
        status = check_header(file, wanted->header, buffer, room, error);
    if (status == TW_OK)
        status = check_blocks(file, wanted, buffer, room, error);
    return status;
}

/* ---- one checkpoint ---- */

static enum tw_status check_manifest(const struct tw_restore *restore,
                                     const struct tw_restore_ask *ask, struct tw_error *error) {
    const struct tw_manifest *manifest = &restore->manifest;
    const struct tw_sequencer_snapshot *snapshot = &manifest->snapshot;
    struct tw_where where = {.file = "manifest.json"};
    struct tw_dial dial;
    char name[TW_CHECKPOINT_NAME];
    tw_checkpoint_name(snapshot->version, manifest->generation, name);
    if (strcmp(name, restore->name) != 0)
        return tw_error_set(error, TW_DATA, "its manifest is that of %s", name);
    if (memcmp(manifest->digest, ask->digest, TW_DIGEST_BYTES) != 0 ||
        snapshot->workers != ask->workers)
        return tw_error_set(error, TW_DATA, "it is of another job: was job.yaml changed?");
    if (snapshot->position < 1 || snapshot->position > ask->position)
        return tw_error_set(error, TW_DATA,
                            "it stands at position %" PRIu64 ", but order.log ends at %" PRIu64,
                            snapshot->position, ask->position);
    if (!ask->stands(ask->context, snapshot->position))
        return tw_error_set(error, TW_DATA, "the run went back behind it");
    if (snapshot->total.updates != snapshot->version)
        return tw_error_set(error, TW_DATA, "it counts %" PRIu64 " updates",
                            snapshot->total.updates);
    return tw_dial_parse(snapshot->mode, where, (int)ask->workers, &dial, error) == TW_OK
               ? TW_OK
               : (error->status = TW_DATA);
}

static enum tw_status read_manifest(struct tw_restore *restore, const char *folder,
                                    struct tw_error *error) {
    char path[TW_PATH_MAX], *text;
    size_t size;
    if (tw_path_join(path, sizeof path, folder, "manifest.json") != TW_OK)
        return tw_error_set(error, TW_LIMIT, "%.200s...: this path is too long", folder);
    enum tw_status status = tw_file_read(path, TW_MANIFEST_BYTES_MAX, &text, &size, error);
    if (status != TW_OK)
        return status;
    status = tw_manifest_parse(&restore->manifest, text, size, error);
    free(text);
    return status == TW_OK ? TW_OK : tw_error_wrap(error, "manifest.json");
}

/* Its manifest has been read. */
static enum tw_status open_files(struct tw_restore *restore, const char *folder,
                                 const struct tw_restore_ask *ask, struct tw_error *error) {
    enum tw_status status = TW_OK;
    char *buffer = malloc(restore->manifest.block_bytes);
    if (!buffer)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    for (uint32_t f = 0; f < restore->manifest.files && status == TW_OK; f++)
        status = open_file(restore, f, folder, buffer, error);
    free(buffer);
    return status == TW_OK ? list_parts(restore, ask, error) : status;
}

static struct tw_restore *new_restore(void) {
    struct tw_restore *restore = calloc(1, sizeof *restore);
    for (uint32_t i = 0; restore && i < TW_SERVERS_MAX; i++)
        restore->file[i].fd = -1;
    return restore;
}

enum tw_status tw_restore_open(struct tw_restore **out, const char *folder,
                               const struct tw_restore_ask *ask, struct tw_error *error) {
    struct tw_restore *restore = new_restore();
    *out = NULL;
    if (!restore)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    enum tw_status status = read_manifest(restore, folder, error);
    if (status == TW_OK)
        status = open_files(restore, folder, ask, error);
    tw_checkpoint_name(restore->manifest.snapshot.version, restore->manifest.generation,
                       restore->name);
    if (status == TW_OK)
        *out = restore;
    else
        tw_restore_free(restore);
    return status;
}

/* ---- the newest ---- */

struct candidate {
    uint64_t version;
    uint32_t generation;
};

static int newest_first(const void *a, const void *b) {
    const struct candidate *x = a, *y = b;
    if (x->generation != y->generation)
        return x->generation > y->generation ? -1 : 1;
    return x->version > y->version ? -1 : x->version < y->version;
}

/* The names in the folder that are those of checkpoints; of very many, some. */
static int list_candidates(const char *root, struct candidate *out) {
    DIR *dir = opendir(root);
    struct dirent *entry;
    int count = 0;
    while (dir && count < CANDIDATES_MAX && (entry = readdir(dir)))
        count +=
            tw_checkpoint_name_parse(entry->d_name, &out[count].version, &out[count].generation);
    if (dir)
        closedir(dir);
    qsort(out, (size_t)count, sizeof *out, newest_first);
    return count;
}

static enum tw_status try_candidate(struct tw_restore **out, const char *root,
                                    const struct candidate *candidate,
                                    const struct tw_restore_ask *ask, struct tw_error *error) {
    char folder[TW_PATH_MAX];
    struct tw_restore *restore = new_restore();
    if (!restore)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    tw_checkpoint_name(candidate->version, candidate->generation, restore->name);
    enum tw_status status = tw_path_join(folder, sizeof folder, root, restore->name) == TW_OK
                                ? read_manifest(restore, folder, error)
                                : tw_error_set(error, TW_LIMIT, "its path is too long");
    if (status == TW_OK)
        status = check_manifest(restore, ask, error);
    if (status == TW_OK)
        status = open_files(restore, folder, ask, error);
    if (status == TW_OK)
        *out = restore;
    else
        tw_restore_free(restore);
    return status;
}

enum tw_status tw_restore_newest(struct tw_restore **out, const struct tw_restore_ask *ask,
                                 struct tw_text *news, struct tw_error *error) {
    char root[TW_PATH_MAX], name[TW_CHECKPOINT_NAME];
    *out = NULL;
    if (tw_path_join(root, sizeof root, ask->folder, "checkpoints") != TW_OK)
        return tw_error_set(error, TW_LIMIT, "%.200s...: this path is too long", ask->folder);
    struct candidate *candidate = calloc(CANDIDATES_MAX, sizeof *candidate);
    if (!candidate)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    int count = list_candidates(root, candidate);
    enum tw_status status = TW_DATA;
    for (int i = 0; i < count && status != TW_OK && status != TW_NO_MEMORY; i++) {
        status = try_candidate(out, root, &candidate[i], ask, error);
        tw_checkpoint_name(candidate[i].version, candidate[i].generation, name);
        if (status != TW_OK)
            tw_text_add(news, "checkpoint %s is not used: %s\n", name, error->text);
    }
    free(candidate);
    return status == TW_NO_MEMORY ? status : TW_OK;
}

/* ---- reading ---- */

/* The part that has this element. */
static const struct part *find_part(const struct tw_restore *restore, uint32_t array,
                                    uint32_t tensor, uint64_t first) {
    size_t low = 0, high = restore->parts;
    struct part wanted = {.array = array, .tensor = tensor, .first = first};
    while (high - low > 1) { /* part[low] is not behind it, part[high] is */
        size_t middle = low + (high - low) / 2;
        if (by_place(&restore->part[middle], &wanted) <= 0)
            low = middle;
        else
            high = middle;
    }
    return &restore->part[low];
}

enum tw_status tw_restore_read(const struct tw_restore *restore, uint32_t array, uint32_t tensor,
                               int64_t first, uint32_t count, float *out, struct tw_error *error) {
    uint64_t at = (uint64_t)first, end = at + count;
    while (at < end) {
        const struct part *part = find_part(restore, array, tensor, at);
        uint64_t to = part->end < end ? part->end : end;
        enum tw_status status = tw_safetensors_read(
            &restore->file[part->file], part->begin + (at - part->first) * sizeof(float), out,
            (size_t)(to - at) * sizeof(float), error);
        if (status != TW_OK)
            return status;
        out += to - at;
        at = to;
    }
    return TW_OK;
}
