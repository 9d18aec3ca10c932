#include "cli/run_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/versions.h"

enum { NAME_TRIES = 1000 };

static enum tw_status make_wanted(const char *wanted, char *out, struct tw_error *error) {
    if (strlen(wanted) >= TW_PATH_MAX)
        return tw_error_set(error, TW_USAGE, "--out: this path is longer than %d bytes",
                            TW_PATH_MAX - 1);
    strcpy(out, wanted);
    enum tw_status status = tw_folder_make(wanted, true, error);
    if (status)
        tw_error_wrap(error, "--out");
    return status;
}

enum tw_status tw_run_folder_make(const char *job_name, const char *wanted, time_t now, char *out,
                                  struct tw_error *error) {
    if (wanted)
        return make_wanted(wanted, out, error);
    enum tw_status status = tw_folder_make("runs", false, error);
    if (status) {
        tw_error_wrap(error, "run directory (--out chooses another)");
        return status;
    }
    char stamp[32];
    struct tm utc;
    strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", gmtime_r(&now, &utc));
    for (int i = 1; i <= NAME_TRIES; i++) {
        char suffix[16] = "";
        if (i > 1)
            snprintf(suffix, sizeof suffix, "-%d", i);
        /* File names end at 255 bytes; 200 of the job's name leave room. */
        snprintf(out, TW_PATH_MAX, "runs/%.200s-%s%s", job_name, stamp, suffix);
        if (mkdir(out, 0777) == 0)
            return TW_OK;
        if (errno != EEXIST)
            return tw_error_set(error, TW_IO, "%s: cannot be made: %s", out, strerror(errno));
    }
    return tw_error_set(error, TW_IO, "%s: a thousand runs have this name; use --out", out);
}

enum tw_status tw_run_folder_write_job(const char *folder, const struct tw_checked_job *checked,
                                       const char *note, char *out, struct tw_error *error) {
    enum tw_status status = tw_path_join(out, TW_PATH_MAX, folder, "job.yaml");
    if (status)
        return tw_error_set(error, status, "%s/job.yaml: this path is too long", folder);
    char *yaml = NULL;
    size_t size = 0;
    char version[TW_VERSION_NOTES][TW_VERSION_NOTE];
    const char *notes[TW_VERSION_NOTES + 1] = {[TW_VERSION_NOTES] = note};
    tw_version_notes(version);
    for (int i = 0; i < TW_VERSION_NOTES; i++)
        notes[i] = version[i];
    status = tw_job_write(checked->job, notes, TW_VERSION_NOTES + (note != NULL), &yaml, &size);
    if (status)
        return tw_error_set(error, status, "%s: the resolved job cannot be written: %s", out,
                            tw_status_text(status));
    status = tw_file_write_atomic(out, yaml, size, error);
    free(yaml);
    return status;
}

void tw_run_folder_sweep(const char *folder) {
    DIR *dir = opendir(folder);
    if (!dir)
        return;
    struct dirent *entry;
    while ((entry = readdir(dir))) {
        size_t size = strlen(entry->d_name);
        if (size > 4 && strcmp(entry->d_name + size - 4, ".tmp") == 0)
            unlinkat(dirfd(dir), entry->d_name, 0);
    }
    closedir(dir);
}
