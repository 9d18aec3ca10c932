/* A plain main for a fuzz target: runs it once over every file of each folder or
 * file that is named, in the order of their names, and prints how many. What
 * libFuzzer found stays in the corpus, and so is tried in every CI, also by
 * compilers that have no libFuzzer.
 *
 * A crash or a failed assertion of the target ends it; an empty corpus is a
 * failure too, since it would test nothing.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int complain(const char *path)
{
    fprintf(stderr, "%s: %s\n", path, strerror(errno));
    return -1;
}

/* The bytes go into a block of exactly their size, so that a sanitizer sees every
 * read behind them. */
static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return complain(path);
    struct stat status;
    int result = -1;
    uint8_t *bytes = NULL;
    if (fstat(fileno(file), &status) != 0)
        goto out;
    size_t size = (size_t)status.st_size;
    bytes = malloc(size ? size : 1);
    if (!bytes || fread(bytes, 1, size, file) != size)
        goto out;
    LLVMFuzzerTestOneInput(bytes, size);
    result = 0;
out:
    if (result != 0)
        complain(path);
    free(bytes);
    fclose(file);
    return result;
}

static int skip_hidden(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* How many files ran, or -1. */
static int replay_folder(const char *folder)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, skip_hidden, alphasort);
    if (count < 0)
        return complain(folder);
    int ran = 0;
    for (int i = 0; i < count; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        if (ran >= 0)
            ran = replay_file(path) == 0 ? ran + 1 : -1;
        free(entries[i]);
    }
    free(entries);
    return ran;
}

int main(int argc, char **argv)
{
    int total = 0;
    for (int i = 1; i < argc; i++) {
        struct stat status;
        if (stat(argv[i], &status) != 0)
            return -complain(argv[i]);
        int ran = S_ISDIR(status.st_mode) ? replay_folder(argv[i])
                                          : (replay_file(argv[i]) == 0 ? 1 : -1);
        if (ran < 0)
            return 1;
        total += ran;
    }
    printf("%s: %d inputs\n", argv[0], total);
    if (total == 0)
        fprintf(stderr, "%s: no inputs: name the folder of a corpus\n", argv[0]);
    return total == 0;
}
