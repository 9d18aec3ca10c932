#include "cli/prediction_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/text.h"
#include "worker/nn/metrics.h"

static bool ends_with(const char *path, const char *ending) {
    size_t size = strlen(path), end = strlen(ending);
    return size > end && strcmp(path + size - end, ending) == 0;
}

enum tw_status tw_prediction_file_check(const char *path, struct tw_error *error) {
    if (ends_with(path, ".csv") || ends_with(path, ".npy"))
        return TW_OK;
    return tw_error_set(error, TW_USAGE, "--out %s: a name that ends in .csv or .npy", path);
}

static void add_head(struct tw_text *out, const struct tw_predictor *p, bool classes) {
    bool labels = p->data->outputs == 0;
    tw_text_add(out, "sample");
    if (labels)
        tw_text_add(out, ",label,class");
    for (int k = 0; !labels && k < p->outputs; k++)
        tw_text_add(out, ",target%d", k);
    for (int k = 0; !classes && k < p->outputs; k++)
        tw_text_add(out, ",%s%d", labels ? "p" : "y", k);
    tw_text_add(out, "\n");
}

static void add_row(struct tw_text *out, const struct tw_predictor *p, uint64_t i, bool classes) {
    const struct tw_target target = tw_predictor_target(p, i);
    size_t first = i * (size_t)p->outputs;
    tw_text_add(out, "%" PRIu64, i);
    if (!target.values)
        tw_text_add(out, ",%d,%d", target.label, tw_predicted_class(p->out + first, p->outputs));
    for (int k = 0; target.values && k < p->outputs; k++)
        tw_text_add(out, ",%.9g", (double)target.values[k]);
    for (int k = 0; !classes && k < p->outputs; k++)
        tw_text_add(out, ",%.9g", p->answer[first + (size_t)k]);
    tw_text_add(out, "\n");
}

/* NumPy's format, version 1.0: magic, length of the header, the header as a Python dictionary, and
 * blanks up to 128 bytes. */
static void add_npy_head(struct tw_text *out, const struct tw_predictor *p, bool classes) {
    char head[128], shape[64];
    snprintf(shape, sizeof shape, classes ? "%" PRIu64 "," : "%" PRIu64 ", %d", p->samples,
             p->outputs);
    snprintf(head, sizeof head, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }",
             classes ? "<i4" : "<f4", shape);
    uint8_t size[2] = {128 - 10, 0};
    tw_text_add_bytes(out, "\x93NUMPY\x01", 7);
    tw_text_add_bytes(out, "", 1);
    tw_text_add_bytes(out, (const char *)size, 2);
    tw_text_add(out, "%-117s\n", head);
}

static void add_npy_row(struct tw_text *out, const struct tw_predictor *p, uint64_t i,
                        bool classes) {
    size_t first = i * (size_t)p->outputs;
    if (classes) {
        int32_t class = tw_predicted_class(p->out + first, p->outputs);
        tw_text_add_bytes(out, (const char *)&class, sizeof class);
        return;
    }
    for (int k = 0; k < p->outputs; k++) {
        float answer = (float)p->answer[first + (size_t)k];
        tw_text_add_bytes(out, (const char *)&answer, sizeof answer);
    }
}

enum tw_status tw_prediction_file_write(const char *path, const struct tw_predictor *predictor,
                                        bool classes, struct tw_error *error) {
    bool npy = ends_with(path, ".npy");
    struct tw_text out = {0};
    (npy ? add_npy_head : add_head)(&out, predictor, classes);
    for (uint64_t i = 0; i < predictor->samples && !out.failed; i++)
        (npy ? add_npy_row : add_row)(&out, predictor, i, classes);
    enum tw_status status = out.failed ? tw_error_set(error, TW_NO_MEMORY, "out of memory")
                                       : tw_file_write_atomic(path, out.at, out.size, error);
    tw_text_fini(&out);
    return status;
}
