/* Counts what a process asks of malloc() and its like. A shared object for LD_PRELOAD: in a
 * process that has TALWEG_TEST_MALLOCS=FOLDER in its environment, the file FOLDER/PID is one page
 * whose first eight bytes are the number of calls so far, in the byte order of the machine; whoever
 * wants to know it reads the file.
 *
 * With COUNT_BY_HOOK it is for a program with the address sanitizer, and counts by the hook of
 * that, which wants ASAN_OPTIONS=verify_asan_link_order=0.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096 };

/* Until there is a page, calls are counted where nobody reads them. */
static _Atomic uint64_t unread;
static _Atomic uint64_t *calls = &unread;

static void __attribute__((constructor)) open_page(void) {
    const char *folder = getenv("TALWEG_TEST_MALLOCS");
    char path[4096];
    if (!folder || snprintf(path, sizeof path, "%s/%d", folder, (int)getpid()) >= (int)sizeof path)
        return;
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0)
        return;
    void *page = ftruncate(file, PAGE)
                     ? MAP_FAILED
                     : mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (page != MAP_FAILED)
        calls = page;
    close(file);
}

static void count(void) {
    atomic_fetch_add_explicit(calls, 1, memory_order_relaxed);
}

#ifdef COUNT_BY_HOOK
void __sanitizer_malloc_hook(const volatile void *piece, size_t size);

void __sanitizer_malloc_hook(const volatile void *piece, size_t size) {
    count();
}
#else
/* The names under which glibc exports its own. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *piece, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size) {
    count();
    return __libc_malloc(size);
}

void *calloc(size_t pieces, size_t size) {
    count();
    return __libc_calloc(pieces, size);
}

void *realloc(void *piece, size_t size) {
    count();
    return __libc_realloc(piece, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    count();
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size) {
    count();
    *out = __libc_memalign(alignment, size);
    return *out ? 0 : 12; /* ENOMEM */
}
#endif
