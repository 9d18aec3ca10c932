#include "server/io/checkpoint_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/io/manifest.h"

/* ---- whole ---- */

static enum tw_status flush_folder(const char *path, struct tw_error *error) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool flushed = fd >= 0 && fsync(fd) == 0;
    int why = errno;
    if (fd >= 0)
        close(fd);
    return flushed ? TW_OK : tw_error_set(error, TW_IO, "cannot flush %s: %s", path, strerror(why));
}

/* The run directory: it has `checkpoints` since the first of them only. */
static enum tw_status flush_parent(const char *root, struct tw_error *error) {
    char path[TW_PATH_MAX];
    if (tw_path_join(path, sizeof path, root, "..") != TW_OK)
        return tw_error_set(error, TW_LIMIT, "%.200s...: this path is too long", root);
    return flush_folder(path, error);
}

enum tw_status tw_checkpoint_folder_commit(const char *draft, const char *folder, const char *root,
                                           const struct tw_text *manifest, struct tw_error *error) {
    char path[TW_PATH_MAX];
    if (tw_path_join(path, sizeof path, draft, "manifest.json") != TW_OK)
        return tw_error_set(error, TW_LIMIT, "%.200s...: this path is too long", draft);
    enum tw_status status = tw_file_write_atomic(path, manifest->at, manifest->size, error);
    if (status == TW_OK)
        status = flush_folder(draft, error);
    if (status == TW_OK && rename(draft, folder) != 0)
        status = tw_error_set(error, TW_IO, "cannot make %s: %s", folder, strerror(errno));
    if (status == TW_OK)
        status = flush_folder(root, error);
    return status == TW_OK ? flush_parent(root, error) : status;
}

/* ---- few ---- */

static bool is_ours(const char *name) {
    return strcmp(name, "manifest.json") == 0 || strstr(name, ".tmp") ||
           strncmp(name, "shard-", 6) == 0;
}

void tw_checkpoint_folder_remove(const char *folder) {
    DIR *dir = opendir(folder);
    struct dirent *entry;
    while (dir && (entry = readdir(dir)))
        if (is_ours(entry->d_name))
            unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir)
        closedir(dir);
    rmdir(folder);
}

static void remove_in(const char *root, const char *name) {
    char path[TW_PATH_MAX];
    if (tw_path_join(path, sizeof path, root, name) == TW_OK)
        tw_checkpoint_folder_remove(path);
}

void tw_checkpoint_folder_sweep(const char *root) {
    DIR *dir = opendir(root);
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        char name[TW_CHECKPOINT_NAME];
        uint64_t version;
        uint32_t generation;
        size_t size = strlen(entry->d_name);
        if (size < 4 || size - 4 >= sizeof name || strcmp(entry->d_name + size - 4, ".tmp") != 0)
            continue;
        snprintf(name, sizeof name, "%.*s", (int)(size - 4), entry->d_name);
        if (tw_checkpoint_name_parse(name, &version, &generation))
            remove_in(root, entry->d_name);
    }
    if (dir)
        closedir(dir);
}

struct folder {
    uint64_t version;
    uint32_t generation;
};

static bool is_newer(const struct folder *a, const struct folder *b) {
    return a->generation != b->generation ? a->generation > b->generation : a->version > b->version;
}

/* How many are newer than this one. */
static size_t newer_than(const char *root, const struct folder *one) {
    DIR *dir = opendir(root);
    struct dirent *entry;
    struct folder other;
    size_t count = 0;
    while (dir && (entry = readdir(dir)))
        count += tw_checkpoint_name_parse(entry->d_name, &other.version, &other.generation) &&
                 is_newer(&other, one);
    if (dir)
        closedir(dir);
    return count;
}

/* There are `keep` and one more, so it need not be clever. */
void tw_checkpoint_folder_prune(const char *root, size_t keep) {
    DIR *dir = opendir(root);
    struct dirent *entry;
    struct folder one;
    while (dir && (entry = readdir(dir)))
        if (tw_checkpoint_name_parse(entry->d_name, &one.version, &one.generation) &&
            newer_than(root, &one) >= keep)
            remove_in(root, entry->d_name);
    if (dir)
        closedir(dir);
}
