#include "cli/versions.h"

#include <protobuf-c/protobuf-c.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "common/base/limits.h"
#include "proto/frame.h"
#include "worker/nn/gemm.h"

/* The numerics id is "talweg V openblas V CORE"; nn keeps cblas.h to itself. */
char *tw_version_openblas(char *out) {
    char id[TW_NUMERICS_MAX + 1];
    const char *at = strstr(tw_numerics_id(id), "openblas ");
    snprintf(out, TW_VERSION_NOTE, "%s", at ? at + strlen("openblas ") : "unknown");
    out[strcspn(out, " ")] = '\0';
    return out;
}

char *tw_version_cpu(char *out) {
    char line[512];
    snprintf(out, TW_VERSION_NOTE, "unknown");
    FILE *file = fopen("/proc/cpuinfo", "re");
    while (file && fgets(line, sizeof line, file)) {
        char *name = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && name) {
            name += 1 + strspn(name + 1, " \t");
            name[strcspn(name, "\n")] = '\0';
            snprintf(out, TW_VERSION_NOTE, "%.200s", name);
            break;
        }
    }
    if (file)
        fclose(file);
    return out;
}

void tw_version_notes(char note[TW_VERSION_NOTES][TW_VERSION_NOTE]) {
    char blas[TW_VERSION_NOTE], cpu[TW_VERSION_NOTE];
    snprintf(note[0], TW_VERSION_NOTE, "written by talweg %s, protocol %u", TALWEG_VERSION,
             TW_PROTOCOL_MAX);
    snprintf(note[1], TW_VERSION_NOTE, "libuv %s, protobuf-c %s, OpenBLAS %.64s",
             uv_version_string(), protobuf_c_version(), tw_version_openblas(blas));
    snprintf(note[2], TW_VERSION_NOTE, "CPU: %.200s", tw_version_cpu(cpu));
    snprintf(note[3], TW_VERSION_NOTE, "BLAS core: %.200s", tw_gemm_core());
}
