/* talweg version. */
#include <protobuf-c/protobuf-c.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "cli/command.h"
#include "cli/versions.h"
#include "common/base/json.h"
#include "proto/frame.h"
#include "worker/nn/gemm.h"

static void print_text(void) {
    char note[TW_VERSION_NOTE];
    printf("talweg %s\n", TALWEG_VERSION);
    if (TW_PROTOCOL_MIN == TW_PROTOCOL_MAX)
        printf("protocol %u\n", TW_PROTOCOL_MAX);
    else
        printf("protocol %u to %u\n", TW_PROTOCOL_MIN, TW_PROTOCOL_MAX);
    printf("libuv %s\n", uv_version_string());
    printf("protobuf-c %s\n", protobuf_c_version());
    printf("OpenBLAS %s, core %s\n", tw_version_openblas(note), tw_gemm_core());
    printf("CPU %s\n", tw_version_cpu(note));
}

static void print_json(void) {
    char note[TW_VERSION_NOTE];
    struct tw_text text = {0};
    struct tw_json json;
    tw_json_init(&json, &text);
    tw_json_begin_object(&json, NULL);
    tw_json_string(&json, "version", TALWEG_VERSION);
    tw_json_unsigned(&json, "protocol_min", TW_PROTOCOL_MIN);
    tw_json_unsigned(&json, "protocol", TW_PROTOCOL_MAX);
    tw_json_string(&json, "libuv", uv_version_string());
    tw_json_string(&json, "protobuf_c", protobuf_c_version());
    tw_json_string(&json, "openblas", tw_version_openblas(note));
    tw_json_string(&json, "blas_core", tw_gemm_core());
    tw_json_string(&json, "cpu", tw_version_cpu(note));
    tw_json_end_object(&json);
    if (!text.failed)
        printf("%s\n", text.at);
    tw_text_fini(&text);
}

int tw_cmd_version(int argc, char **argv) {
    bool json = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            printf(
                "Usage: talweg version [--json]\n"
                "Prints the versions of Talweg, of its protocol, and of the libraries in use.\n\n"
                "      --json   Print them as one JSON object\n"
                "  -h, --help   Print this help\n\n"
                "Example:\n  talweg version --json\n\n"
                "Exit codes:\n  0    printed\n  2    wrong usage\n");
            return TW_EXIT_DONE;
        }
        if (strcmp(argv[i], "--json") != 0) {
            fprintf(stderr, "talweg version: unknown argument %s\nTry 'talweg version --help'.\n",
                    argv[i]);
            return TW_EXIT_WRONG;
        }
        json = true;
    }
    if (json)
        print_json();
    else
        print_text();
    return TW_EXIT_DONE;
}
