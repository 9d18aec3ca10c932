#include "worker/data/mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static enum tw_status map(struct tw_mapping *mapping, int file, const char *path,
                          struct tw_error *error) {
    struct stat about;
    if (fstat(file, &about) != 0)
        return tw_error_set(error, TW_DATA, "%s: cannot read: %s", path, strerror(errno));
    if (!S_ISREG(about.st_mode))
        return tw_error_set(error, TW_DATA, "%s: cannot read: it is no file", path);
    if (about.st_size == 0)
        return tw_error_set(error, TW_DATA, "%s: an empty file", path);
    void *at = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    if (at == MAP_FAILED)
        return tw_error_set(error, errno == ENOMEM ? TW_NO_MEMORY : TW_DATA, "%s: cannot map: %s",
                            path, strerror(errno));
    *mapping = (struct tw_mapping){at, (size_t)about.st_size};
    return TW_OK;
}

enum tw_status tw_mapping_open(struct tw_mapping *mapping, const char *path,
                               struct tw_error *error) {
    *mapping = (struct tw_mapping){0};
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return tw_error_set(error, TW_DATA, "%s: cannot open: %s", path, strerror(errno));
    enum tw_status status = map(mapping, file, path, error);
    close(file);
    return status;
}

void tw_mapping_close(struct tw_mapping *mapping) {
    if (mapping->at != NULL)
        munmap(mapping->at, mapping->bytes);
    *mapping = (struct tw_mapping){0};
}

/* Advice only: where the kernel has none to take, nothing changes but the speed. */
void tw_mapping_at_random(const struct tw_mapping *mapping) {
    (void)madvise(mapping->at, mapping->bytes, MADV_RANDOM);
}

void tw_mapping_ahead(const struct tw_mapping *mapping, const void *from, size_t bytes) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (uintptr_t)from & ~(page - 1);
    (void)madvise((void *)begin, (uintptr_t)from + bytes - begin, MADV_WILLNEED);
}

bool tw_mapping_is_large(const struct tw_mapping *mapping) {
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && mapping->bytes / (size_t)size > (size_t)pages / 2;
}
