/* Runs a fuzz target over its corpus without libFuzzer: each file whole, and cut
 * at up to 64 places, always from a block of exactly that size, so that the
 * address sanitizer sees the first byte read beyond it.
 *
 *     fuzz_x CORPUS-FOLDER
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CUTS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(const char *bytes, size_t size) {
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) {
        fprintf(stderr, "corpus_runner: out of memory\n");
        exit(1);
    }
    memcpy(copy, bytes, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

/* The whole file, or NULL; *size of it. */
static char *slurp(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    char *bytes = NULL;
    long end = fseek(file, 0, SEEK_END) ? -1 : ftell(file);
    if (end >= 0 && (bytes = malloc((size_t)end + 1))) {
        rewind(file);
        *size = fread(bytes, 1, (size_t)end, file);
    }
    fclose(file);
    return bytes;
}

static int replay(const char *path) {
    size_t size = 0;
    char *bytes = slurp(path, &size);
    if (!bytes) {
        fprintf(stderr, "corpus_runner: cannot read %s\n", path);
        return 0;
    }
    size_t stride = size / CUTS_MAX + 1;
    int inputs = 1;
    run(bytes, size);
    for (size_t cut = 0; cut < size; cut += stride, inputs++)
        run(bytes, cut);
    free(bytes);
    return inputs;
}

int main(int argc, char **argv) {
    DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;
    if (!folder) {
        fprintf(stderr, "usage: %s CORPUS-FOLDER (an existing one)\n", argv[0]);
        return 2;
    }
    int files = 0, inputs = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        char path[4096];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", argv[1], entry->d_name);
        int ran = replay(path);
        if (!ran)
            return 1;
        files++;
        inputs += ran;
    }
    closedir(folder);
    printf("%d files, %d inputs, no finding\n", files, inputs);
    return files ? 0 : 1; /* an empty corpus tests nothing */
}
