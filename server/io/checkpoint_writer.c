#include "server/io/checkpoint_writer.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/crc32c.h"
#include "common/base/say.h"
#include "common/tensor/safetensors.h"
#include "server/io/checkpoint_folder.h"
#include "server/io/restore.h"

/* ---- life ---- */

static bool make_manifest(struct tw_checkpoint_writer *writer, const struct tw_checkpoint_of *of) {
    struct tw_manifest *manifest = &writer->manifest;
    const uint32_t *first = of->layout->shard_first;
    bool whole = true;
    manifest->files = of->layout->servers;
    manifest->block_bytes = of->layout->chunk_bytes;
    memcpy(manifest->digest, of->digest, sizeof manifest->digest);
    memcpy(manifest->job, of->id, sizeof manifest->job);
    manifest->snapshot.step = calloc(of->workers, sizeof(uint64_t));
    for (uint32_t i = 0; i < manifest->files; i++) {
        manifest->file[i].blocks = writer->array_count * (first[i + 1] - first[i]);
        manifest->file[i].crc = calloc(manifest->file[i].blocks, sizeof(uint32_t));
        whole = whole && manifest->file[i].crc;
    }
    return whole && manifest->snapshot.step;
}

enum tw_status tw_checkpoint_writer_init(struct tw_checkpoint_writer *writer,
                                         const struct tw_checkpoint_of *of,
                                         struct tw_error *error) {
    writer->layout = of->layout;
    writer->arrays = of->arrays;
    writer->array_count = tw_arrays_count(&of->arrays);
    for (uint32_t i = 0; i < TW_SERVERS_MAX; i++)
        writer->fd[i] = -1;
    if (tw_path_join(writer->root, TW_PATH_MAX, of->run, "checkpoints") != TW_OK)
        return tw_error_set(error, TW_LIMIT, "the path of the run directory is too long");
    if (!make_manifest(writer, of))
        return tw_error_set(error, TW_NO_MEMORY, "no memory for the checksums of a checkpoint");
    tw_checkpoint_folder_sweep(writer->root);
    return TW_OK;
}

static void close_files(struct tw_checkpoint_writer *writer) {
    for (uint32_t i = 0; i < TW_SERVERS_MAX; i++) {
        if (writer->fd[i] >= 0)
            close(writer->fd[i]);
        writer->fd[i] = -1;
    }
}

void tw_checkpoint_writer_give_up(struct tw_checkpoint_writer *writer) {
    close_files(writer);
    if (writer->draft[0])
        tw_checkpoint_folder_remove(writer->draft);
    writer->draft[0] = '\0';
}

void tw_checkpoint_writer_fini(struct tw_checkpoint_writer *writer) {
    if (writer->layout)
        tw_checkpoint_writer_give_up(writer);
    tw_manifest_fini(&writer->manifest);
    tw_text_fini(&writer->text);
}

/* ---- files ---- */

/* All arrays of all tensors of a shard; a tensor is cut where another server's part begins. */
static bool write_header(const struct tw_checkpoint_writer *writer, uint32_t shard,
                         struct tw_safetensors_header *header) {
    const struct tw_layout *layout = writer->layout;
    char name[TW_SAFETENSORS_NAME], array[TW_ARRAY_NAME];
    uint32_t first = layout->shard_first[shard], end = layout->shard_first[shard + 1];
    tw_safetensors_header_begin(header);
    for (uint32_t a = 0; a < writer->array_count; a++) {
        tw_array_name(&writer->arrays, a, array);
        for (uint32_t c = first, next; c < end; c = next) {
            const struct tw_tensor *tensor = &layout->list->tensors[layout->chunk[c].tensor];
            int64_t from = layout->chunk[c].first, to = from;
            for (next = c; next < end && layout->chunk[next].tensor == layout->chunk[c].tensor;
                 next++)
                to += layout->chunk[next].count;
            int64_t count = to - from;
            bool whole = count == tensor->elements;
            tw_part_name(name, tensor, array, from, to);
            tw_safetensors_header_add(header, name, whole ? tensor->dims : 1,
                                      whole ? tensor->shape : &count, count);
        }
    }
    return tw_safetensors_header_end(header);
}

static void fail(struct tw_checkpoint_writer *writer, const char *what) {
    if (writer->failed.status == TW_OK)
        tw_error_set(&writer->failed, TW_IO, "%s: %s", what, strerror(errno));
}

static bool write_at(int fd, const void *bytes, size_t size, uint64_t at) {
    size_t done = 0;
    while (done < size) {
        ssize_t count = pwrite(fd, (const char *)bytes + done, size - done, (off_t)(at + done));
        if (count < 0 && errno == EINTR)
            continue;
        if (count == 0)
            errno = ENOSPC;
        if (count <= 0)
            return false;
        done += (size_t)count;
    }
    return true;
}

static void begin_file(struct tw_checkpoint_writer *writer, uint32_t shard) {
    struct tw_safetensors_header header;
    char name[48], path[TW_PATH_MAX];
    snprintf(name, sizeof name, "shard-%u.safetensors", shard);
    errno = ENOMEM;
    bool whole = write_header(writer, shard, &header);
    uint64_t size = htole64(header.text.size);
    if (whole) {
        errno = ENAMETOOLONG;
        whole = tw_path_join(path, sizeof path, writer->draft, name) == TW_OK;
    }
    if (whole)
        writer->fd[shard] = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    whole = whole && writer->fd[shard] >= 0 && write_at(writer->fd[shard], &size, sizeof size, 0) &&
            write_at(writer->fd[shard], header.text.at, header.text.size, sizeof size);
    if (!whole)
        fail(writer, name);
    else {
        struct tw_manifest_file *file = &writer->manifest.file[shard];
        file->header =
            tw_crc32c(tw_crc32c(0, &size, sizeof size), header.text.at, header.text.size);
        writer->tensors[shard] = sizeof size + header.text.size;
        file->bytes = writer->tensors[shard] + header.bytes;
    }
    tw_text_fini(&header.text);
}

static void make_folder(struct tw_checkpoint_writer *writer) {
    const struct tw_manifest *manifest = &writer->manifest;
    char name[TW_CHECKPOINT_NAME], draft[TW_CHECKPOINT_NAME + 4];
    struct tw_error error;
    tw_checkpoint_name(manifest->snapshot.version, manifest->generation, name);
    snprintf(draft, sizeof draft, "%s.tmp", name);
    if (tw_path_join(writer->folder, TW_PATH_MAX, writer->root, name) != TW_OK ||
        tw_path_join(writer->draft, TW_PATH_MAX, writer->root, draft) != TW_OK) {
        errno = ENAMETOOLONG;
        fail(writer, name);
        writer->draft[0] = '\0';
    } else if (tw_folder_make(writer->draft, true, &error) != TW_OK) {
        tw_error_set(&writer->failed, error.status, "%s", error.text);
    }
}

void tw_checkpoint_writer_begin(struct tw_checkpoint_writer *writer,
                                const struct tw_sequencer_snapshot *snapshot, uint32_t generation,
                                double seconds, double border_seconds) {
    struct tw_manifest *manifest = &writer->manifest;
    writer->failed.status = TW_OK;
    writer->unfinished = writer->layout->servers;
    tw_sequencer_snapshot_copy(&manifest->snapshot, snapshot);
    manifest->generation = generation;
    manifest->seconds = seconds;
    manifest->border_seconds = border_seconds;
    for (uint32_t i = 0; i < writer->layout->servers; i++) {
        writer->next[i].chunk = writer->layout->shard_first[i];
        writer->next[i].array = 0;
        writer->next[i].at = 0;
    }
    make_folder(writer);
    for (uint32_t i = 0; i < writer->layout->servers && writer->failed.status == TW_OK; i++)
        begin_file(writer, i);
}

bool tw_checkpoint_writer_add(struct tw_checkpoint_writer *writer, uint32_t server,
                              const float *elements) {
    uint32_t chunk = writer->next[server].chunk, array = writer->next[server].array;
    const uint32_t *first = &writer->layout->shard_first[server];
    struct tw_manifest_file *file = &writer->manifest.file[server];
    size_t size = writer->layout->chunk[chunk].count * sizeof(float);
    uint64_t plane = (file->bytes - writer->tensors[server]) / writer->array_count;
    if (writer->failed.status == TW_OK) {
        file->crc[array * (first[1] - first[0]) + chunk - first[0]] = tw_crc32c(0, elements, size);
        if (!write_at(writer->fd[server], elements, size,
                      writer->tensors[server] + array * plane + writer->next[server].at))
            fail(writer, writer->draft);
    }
    if (++writer->next[server].array < writer->array_count)
        return false;
    writer->next[server].array = 0;
    writer->next[server].at += size;
    return ++writer->next[server].chunk == first[1] && --writer->unfinished == 0;
}

/* ---- the end of one ---- */

void tw_checkpoint_writer_seal(struct tw_checkpoint_writer *writer, bool logged) {
    if (!logged && writer->failed.status == TW_OK)
        tw_error_set(&writer->failed, TW_IO, "order.log does not have it");
    tw_text_clear(&writer->text);
    tw_manifest_write(&writer->text, &writer->manifest);
    if (writer->text.failed) {
        errno = ENOMEM;
        fail(writer, "manifest.json");
    }
}

static void flush_files(struct tw_checkpoint_writer *writer, int order) {
    for (uint32_t i = 0; i < writer->layout->servers; i++)
        if (fsync(writer->fd[i]) != 0)
            fail(writer, "flushing it to the disk");
    if (order >= 0 && fdatasync(order) != 0)
        fail(writer, "flushing order.log to the disk");
}

void tw_checkpoint_writer_keep(struct tw_checkpoint_writer *writer, int order, size_t keep) {
    if (writer->failed.status == TW_OK)
        flush_files(writer, order);
    close_files(writer);
    if (writer->failed.status == TW_OK)
        (void)tw_checkpoint_folder_commit(writer->draft, writer->folder, writer->root,
                                          &writer->text, &writer->failed);
    if (writer->failed.status == TW_OK) {
        writer->draft[0] = '\0'; /* it has another name now */
        tw_checkpoint_folder_prune(writer->root, keep);
    }
    tw_checkpoint_writer_give_up(writer);
}

void tw_checkpoint_writer_tell(const struct tw_checkpoint_writer *writer) {
    if (writer->failed.status != TW_OK)
        tw_say("the checkpoint of update %llu could not be saved (%s); training goes on, and the "
               "one before it stays",
               (unsigned long long)writer->manifest.snapshot.version, writer->failed.text);
}
