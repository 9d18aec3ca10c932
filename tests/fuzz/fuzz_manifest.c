/* Fuzz target of the reader of checkpoints' manifests.
 *
 * Input: a manifest without its last line's checksum, which is put behind it, so that it does not
 * stop everything at the door; and the same bytes as they are. What must hold: what is taken can be
 * written, read again, and is the same; what is refused has a message.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crc32c.h"
#include "server/io/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static void must(bool holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "fuzz_manifest: %s\n", what);
        abort();
    }
}

static void try(const char *text, size_t size) {
    struct tw_manifest manifest, again;
    struct tw_error error = {.status = TW_OK};
    struct tw_text one = {0}, two = {0};
    if (tw_manifest_parse(&manifest, text, size, &error) == TW_OK) {
        tw_manifest_write(&one, &manifest);
        must(tw_manifest_parse(&again, one.at, one.size, &error) == TW_OK, "it can be read again");
        tw_manifest_write(&two, &again);
        must(one.size == two.size && memcmp(one.at, two.at, one.size) == 0, "and is the same");
        tw_manifest_fini(&again);
    } else {
        must(error.text[0], "what is refused is named");
    }
    tw_manifest_fini(&manifest);
    tw_text_fini(&one);
    tw_text_fini(&two);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    struct tw_text text = {0};
    try((const char *)input, size);
    tw_text_add_bytes(&text, input, size);
    tw_text_add(&text, ",\"crc32c\":\"%08x\"}\n", tw_crc32c(0, input, size));
    try(text.at, text.size);
    tw_text_fini(&text);
    return 0;
}
