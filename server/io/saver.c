#include "server/io/saver.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/crc32c.h"
#include "common/base/say.h"
#include "common/tensor/safetensors.h"
#include "server/io/checkpoint_folder.h"
#include "server/io/restore.h"
#include "server/io/server_state.h"

static uint32_t chunks_of(const struct tw_server *server, uint32_t shard) {
    return server->layout.shard_first[shard + 1] - server->layout.shard_first[shard];
}

static uint32_t arrays_of(const struct tw_server *server) {
    return tw_shard_arrays(tw_node_shard(server->node));
}

/* ---- life ---- */

static enum tw_status make_manifest(struct tw_server *server) {
    struct tw_manifest *manifest = &server->saver.manifest;
    size_t workers = (size_t)server->config->job->workers;
    bool whole = true;
    manifest->files = server->layout.servers;
    manifest->block_bytes = server->layout.chunk_bytes;
    memcpy(manifest->digest, server->digest, sizeof manifest->digest);
    memcpy(manifest->job, server->random, sizeof manifest->job);
    manifest->snapshot.step = calloc(workers, sizeof(uint64_t));
    for (uint32_t i = 0; i < manifest->files; i++) {
        manifest->file[i].blocks = arrays_of(server) * chunks_of(server, i);
        manifest->file[i].crc = calloc(manifest->file[i].blocks, sizeof(uint32_t));
        whole = whole && manifest->file[i].crc;
    }
    return whole && manifest->snapshot.step ? TW_OK : TW_NO_MEMORY;
}

static enum tw_status make_inboxes(struct tw_server *server) {
    struct tw_saver *saver = &server->saver;
    uint32_t servers = server->layout.servers;
    saver->inbox = calloc(servers, sizeof *saver->inbox);
    for (uint32_t i = 1; saver->inbox && i < servers; i++) {
        saver->inbox[i] = malloc(server->layout.chunk_bytes);
        if (!saver->inbox[i])
            return TW_NO_MEMORY;
    }
    return saver->inbox ? TW_OK : TW_NO_MEMORY;
}

enum tw_status tw_saver_init(struct tw_server *server, struct tw_error *error) {
    struct tw_saver *saver = &server->saver;
    const struct tw_job *job = server->config->job;
    for (uint32_t i = 0; i < TW_SERVERS_MAX; i++)
        saver->fd[i] = -1;
    if (server->config->index)
        return TW_OK;
    saver->on = job->checkpoint.every || job->checkpoint.seconds > 0;
    saver->period_ms = (uint64_t)(job->checkpoint.seconds * 1e3);
    saver->asked_ms = uv_now(&server->loop);
    if (tw_path_join(saver->root, TW_PATH_MAX, server->config->out, "checkpoints") != TW_OK)
        return tw_error_set(error, TW_LIMIT, "the path of the run directory is too long");
    if (make_manifest(server) != TW_OK || make_inboxes(server) != TW_OK)
        return tw_error_set(error, TW_NO_MEMORY, "no memory for the checksums of a checkpoint");
    tw_checkpoint_folder_sweep(saver->root);
    return TW_OK;
}

static void close_files(struct tw_saver *saver) {
    for (uint32_t i = 0; i < TW_SERVERS_MAX; i++) {
        if (saver->fd[i] >= 0)
            close(saver->fd[i]);
        saver->fd[i] = -1;
    }
}

void tw_saver_fini(struct tw_server *server) {
    struct tw_saver *saver = &server->saver;
    if (saver->phase != TW_SAVER_IDLE) {
        close_files(saver);
        tw_checkpoint_folder_remove(saver->draft);
    }
    for (uint32_t i = 0; saver->inbox && i < server->layout.servers; i++)
        free(saver->inbox[i]);
    free(saver->inbox);
    tw_manifest_fini(&saver->manifest);
    tw_text_fini(&saver->text);
}

/* ---- files ---- */

/* All arrays of all tensors of a shard; a tensor is cut where another server's part begins. */
static bool write_header(const struct tw_server *server, uint32_t shard,
                         struct tw_safetensors_header *header) {
    const struct tw_layout *layout = &server->layout;
    char name[TW_SAFETENSORS_NAME], array[TW_ARRAY_NAME];
    const struct tw_arrays arrays = tw_shard_arrays_of(tw_node_shard(server->node));
    uint32_t first = layout->shard_first[shard], end = layout->shard_first[shard + 1];
    tw_safetensors_header_begin(header);
    for (uint32_t a = 0; a < arrays_of(server); a++) {
        tw_array_name(&arrays, a, array);
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

static void fail(struct tw_saver *saver, const char *what) {
    if (saver->failed.status == TW_OK)
        tw_error_set(&saver->failed, TW_IO, "%s: %s", what, strerror(errno));
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

static void begin_file(struct tw_server *server, uint32_t shard) {
    struct tw_saver *saver = &server->saver;
    struct tw_safetensors_header header;
    char name[48], path[TW_PATH_MAX];
    snprintf(name, sizeof name, "shard-%u.safetensors", shard);
    errno = ENOMEM;
    bool whole = write_header(server, shard, &header);
    uint64_t size = htole64(header.text.size);
    if (whole) {
        errno = ENAMETOOLONG;
        whole = tw_path_join(path, sizeof path, saver->draft, name) == TW_OK;
    }
    if (whole)
        saver->fd[shard] = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    whole = whole && saver->fd[shard] >= 0 && write_at(saver->fd[shard], &size, sizeof size, 0) &&
            write_at(saver->fd[shard], header.text.at, header.text.size, sizeof size);
    if (!whole)
        fail(saver, name);
    else {
        struct tw_manifest_file *file = &saver->manifest.file[shard];
        file->header =
            tw_crc32c(tw_crc32c(0, &size, sizeof size), header.text.at, header.text.size);
        saver->tensors[shard] = sizeof size + header.text.size;
        file->bytes = saver->tensors[shard] + header.bytes;
    }
    tw_text_fini(&header.text);
}

void tw_saver_begin(struct tw_server *server) {
    struct tw_saver *saver = &server->saver;
    struct tw_manifest *manifest = &saver->manifest;
    char name[TW_CHECKPOINT_NAME], draft[TW_CHECKPOINT_NAME + 4];
    saver->phase = TW_SAVER_COPYING;
    saver->failed.status = TW_OK;
    saver->unfinished = server->layout.servers;
    tw_sequencer_snapshot_copy(&manifest->snapshot,
                               tw_sequencer_snapshot(tw_node_sequencer(server->node)));
    manifest->generation = tw_node_generation(server->node);
    manifest->seconds = tw_server_seconds(server);
    manifest->border_seconds = server->narrator.borders.seconds;
    for (uint32_t i = 0; i < server->layout.servers; i++) {
        saver->next[i].chunk = server->layout.shard_first[i];
        saver->next[i].array = 0;
        saver->next[i].at = 0;
    }
    tw_checkpoint_name(manifest->snapshot.version, manifest->generation, name);
    snprintf(draft, sizeof draft, "%s.tmp", name);
    struct tw_error error;
    if (tw_path_join(saver->folder, TW_PATH_MAX, saver->root, name) != TW_OK ||
        tw_path_join(saver->draft, TW_PATH_MAX, saver->root, draft) != TW_OK) {
        errno = ENAMETOOLONG;
        fail(saver, name);
    } else if (tw_folder_make(saver->draft, true, &error) != TW_OK) {
        tw_error_set(&saver->failed, error.status, "%s", error.text);
    }
    for (uint32_t i = 0; i < server->layout.servers && saver->failed.status == TW_OK; i++)
        begin_file(server, i);
}

/* ---- the end of one ---- */

static void flush_files(struct tw_server *server) {
    struct tw_saver *saver = &server->saver;
    for (uint32_t i = 0; i < server->layout.servers; i++)
        if (fsync(saver->fd[i]) != 0)
            fail(saver, "flushing it to the disk");
    if (fdatasync(server->order.file) != 0)
        fail(saver, "flushing order.log to the disk");
    close_files(saver);
}

/* In a thread of its own; nobody else touches the saver meanwhile. */
static void sync_all(uv_work_t *work) {
    struct tw_server *server = work->data;
    struct tw_saver *saver = &server->saver;
    flush_files(server);
    if (saver->failed.status == TW_OK)
        (void)tw_checkpoint_folder_commit(saver->draft, saver->folder, saver->root, &saver->text,
                                          &saver->failed);
    if (saver->failed.status == TW_OK)
        tw_checkpoint_folder_prune(saver->root, (size_t)server->config->job->checkpoint.keep);
    else
        tw_checkpoint_folder_remove(saver->draft);
}

static void end(struct tw_server *server) {
    struct tw_saver *saver = &server->saver;
    saver->phase = TW_SAVER_IDLE;
    if (saver->failed.status != TW_OK)
        tw_say("the checkpoint of update %llu could not be saved (%s); training goes on, and the "
               "one before it stays",
               (unsigned long long)saver->manifest.snapshot.version, saver->failed.text);
    tw_node_checkpointed(server->node);
    tw_pump_wake(server);
    tw_pump_drain(server);
}

static void on_synced(uv_work_t *work, int code) {
    end(work->data);
}

static void finish(struct tw_server *server) {
    struct tw_saver *saver = &server->saver;
    tw_text_clear(&saver->text);
    tw_manifest_write(&saver->text, &saver->manifest);
    if (saver->text.failed) {
        errno = ENOMEM;
        fail(saver, "manifest.json");
    }
    tw_order_writer_flush(&server->order); /* the CHECKPOINT is in it */
    tw_trace_flush(&server->trace);        /* and what the sequencer was told until there */
    if (server->order.failed.status != TW_OK && saver->failed.status == TW_OK)
        tw_error_set(&saver->failed, TW_IO, "order.log does not have it");
    saver->phase = TW_SAVER_SYNCING;
    saver->work.data = server;
    if (saver->failed.status == TW_OK) {
        int code = uv_queue_work(&server->loop, &saver->work, sync_all, on_synced);
        if (code == 0)
            return;
        tw_error_set(&saver->failed, TW_IO, "%s", uv_strerror(code));
    }
    close_files(saver);
    tw_checkpoint_folder_remove(saver->draft);
    end(server);
}

/* ---- chunks ---- */

/* The array of the chunk that is next of this server. */
static void write_next(struct tw_server *server, uint32_t shard, const float *elements) {
    struct tw_saver *saver = &server->saver;
    uint32_t chunk = saver->next[shard].chunk, array = saver->next[shard].array;
    const uint32_t *first = &server->layout.shard_first[shard];
    struct tw_manifest_file *file = &saver->manifest.file[shard];
    size_t size = server->layout.chunk[chunk].count * sizeof(float);
    uint64_t plane = (file->bytes - saver->tensors[shard]) / arrays_of(server);
    if (saver->failed.status == TW_OK) {
        file->crc[array * (first[1] - first[0]) + chunk - first[0]] = tw_crc32c(0, elements, size);
        if (!write_at(saver->fd[shard], elements, size,
                      saver->tensors[shard] + array * plane + saver->next[shard].at))
            fail(saver, saver->draft);
    }
    if (++saver->next[shard].array < arrays_of(server))
        return;
    saver->next[shard].array = 0;
    saver->next[shard].at += size;
    if (++saver->next[shard].chunk < first[1])
        return;
    if (--saver->unfinished == 0)
        finish(server);
}

void tw_saver_own(struct tw_server *server, uint32_t chunk) {
    const struct tw_shard *shard = tw_node_shard(server->node);
    uint32_t arrays = arrays_of(server);
    tw_node_saved(server->node); /* what is written here is copied at once */
    for (uint32_t a = 0; a < arrays; a++)
        write_next(server, 0, tw_shard_array(shard, a, chunk));
}

/* Which other server's link this is; 0: none. */
static uint32_t server_of(const struct tw_link *link) {
    const struct tw_server *server = link->server;
    for (uint32_t i = 1; i < server->layout.servers; i++)
        if (tw_node_server(server->node, i) == link->number)
            return i;
    return 0;
}

static enum tw_status check_part(struct tw_link *link, const struct tw_frame *frame,
                                 uint32_t *shard, struct tw_error *error) {
    struct tw_server *server = link->server;
    const struct tw_saver *saver = &server->saver;
    const struct tw_weights *weights = &frame->weights;
    *shard = server_of(link);
    if (saver->phase != TW_SAVER_COPYING || !*shard ||
        weights->position != saver->manifest.snapshot.position ||
        saver->next[*shard].chunk == server->layout.shard_first[*shard + 1])
        return tw_error_set(error, TW_UNEXPECTED, "Weights that nobody has asked for");
    if (weights->chunk != saver->next[*shard].chunk || weights->array != saver->next[*shard].array)
        return tw_error_set(error, TW_UNEXPECTED,
                            "array %u of chunk %u of a checkpoint, where array %u of chunk %u is "
                            "next",
                            weights->array, weights->chunk, saver->next[*shard].array,
                            saver->next[*shard].chunk);
    size_t expected = server->layout.chunk[weights->chunk].count * sizeof(float);
    if (frame->data_bytes != expected)
        return tw_error_set(error, TW_MALFORMED, "chunk %u has %zu bytes, the Weights bring %zu",
                            weights->chunk, expected, frame->data_bytes);
    return TW_OK;
}

enum tw_status tw_saver_place(struct tw_link *link, const struct tw_frame *frame, void **place,
                              struct tw_error *error) {
    uint32_t shard;
    enum tw_status status = check_part(link, frame, &shard, error);
    if (status == TW_OK)
        *place = link->server->saver.inbox[shard];
    return status;
}

enum tw_status tw_saver_arrived(struct tw_link *link, const struct tw_frame *frame,
                                struct tw_error *error) {
    uint32_t shard;
    enum tw_status status = check_part(link, frame, &shard, error);
    if (status == TW_OK)
        write_next(link->server, shard, link->server->saver.inbox[shard]);
    return status;
}

/* ---- when ---- */

void tw_saver_tick(struct tw_server *server) {
    struct tw_saver *saver = &server->saver;
    uint64_t now = uv_now(&server->loop);
    if (!saver->on || !saver->period_ms || !server->narrator.started) {
        saver->asked_ms = now;
        return;
    }
    if (now - saver->asked_ms < saver->period_ms)
        return;
    saver->asked_ms = now;
    tw_node_checkpoint(server->node);
    tw_pump_drain(server);
}

bool tw_saver_is_busy(const struct tw_server *server) {
    return server->saver.phase != TW_SAVER_IDLE;
}
