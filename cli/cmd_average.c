/* talweg average: one model out of several, the mean of their weights. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/command.h"
#include "cli/model_source.h"
#include "common/base/json.h"
#include "common/tensor/safetensors.h"

enum { KEY_OUT = 0x200, MODELS_MAX = 256, PIECE = 64 << 10 };

struct average_options {
    const char *out;
    int count;
    const char *model[MODELS_MAX];
};

static const struct argp_option options[] = {
    {"out", KEY_OUT, "FILE", 0, "Where the mean is written; must not exist", 1},
    TW_ARGS_JSON,
    {0},
};

static const char doc[] =
    "Writes a model whose weights are the mean of those of all MODELs: files as"
    " model.safetensors, directories of runs, of which it takes that file, or checkpoints of runs"
    " (docs/checkpoints.md). All must have the"
    " same tensors: names and shapes, float32. Each element is summed in float64, in the order of"
    " the command line, divided by their number, and rounded once."
    "\v"
    "Examples:\n"
    "  talweg average runs/seed1 runs/seed2 runs/seed3 --out mean.safetensors\n"
    "  talweg average a.safetensors b.safetensors --out mean.safetensors --json\n"
    "  talweg average runs/a/checkpoints/v* --out mean.safetensors\n"
    "\n"
    "Exit codes:\n"
    "  0    written\n"
    "  1    out of memory, or FILE cannot be written\n"
    "  2    wrong usage, or a MODEL that is missing, corrupt, or unlike the first\n";

static error_t parse(int key, char *text, struct argp_state *state) {
    struct tw_args *args = state->input;
    struct average_options *own = args->own;
    switch (key) {
    case KEY_OUT:
        own->out = text;
        return *text ? 0 : tw_args_wrong(args, "--out: the name of a file is missing");
    case ARGP_KEY_ARG:
        if (own->count == MODELS_MAX)
            return tw_args_wrong(args, "more than %d models", MODELS_MAX);
        own->model[own->count++] = text;
        return 0;
    case ARGP_KEY_END:
        if (args->help)
            return 0;
        if (own->count < 2)
            return tw_args_wrong(args, "at least two models make a mean; give more");
        if (!own->out)
            return tw_args_wrong(args, "--out FILE is missing");
        return 0;
    default:
        return tw_args_usual(key, state);
    }
}

static const struct argp_child children[] = {{&tw_args_plain, 0, NULL, 0}, {0}};
static const struct argp argp = {options, parse, "MODEL MODEL...", doc, children, NULL, NULL};

/* ---- reading ---- */

/* What is under way; all of it is zero until it is made. */
struct mean {
    const struct average_options *own;
    struct tw_model_source *source; /* [own->count], the first `open` were opened */
    int open;
    double *sum;  /* [PIECE] */
    float *piece; /* [PIECE] */
    uint64_t elements;
};

static enum tw_status check_alike(const struct tw_model_source *first,
                                  const struct tw_model_source *other, struct tw_error *error) {
    enum tw_status status = TW_OK;
    int at;
    if (other->list.count != first->list.count)
        return tw_error_set(error, TW_DATA, "%s has %d tensors, %s has %d", other->name,
                            other->list.count, first->name, first->list.count);
    for (int i = 0; status == TW_OK && i < first->list.count; i++)
        status = tw_model_source_match(other, &first->list.tensors[i], first->name, &at, error);
    return status;
}

static enum tw_status open_all(struct mean *mean, struct tw_error *error) {
    const struct average_options *own = mean->own;
    mean->source = calloc((size_t)own->count, sizeof *mean->source);
    mean->sum = malloc(PIECE * sizeof *mean->sum);
    mean->piece = malloc(PIECE * sizeof *mean->piece);
    if (!mean->source || !mean->sum || !mean->piece)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    for (int i = 0; i < own->count; i++) {
        struct tw_model_source *source = &mean->source[mean->open++];
        enum tw_status status = tw_model_source_open(source, own->model[i], error);
        if (status == TW_OK && i)
            status = check_alike(&mean->source[0], source, error);
        if (status != TW_OK)
            return status;
    }
    const struct tw_tensor_list *list = &mean->source[0].list;
    for (int i = 0; i < list->count; i++)
        mean->elements += (uint64_t)list->tensors[i].elements;
    return TW_OK;
}

static void close_all(struct mean *mean) {
    for (int i = 0; i < mean->open; i++)
        tw_model_source_close(&mean->source[i]);
    free(mean->source);
    free(mean->sum);
    free(mean->piece);
}

/* ---- writing ---- */

/* The mean of elements [first, first + count) of a tensor into mean->piece. */
static enum tw_status average_piece(struct mean *mean, const struct tw_tensor *tensor,
                                    uint64_t first, size_t count, struct tw_error *error) {
    memset(mean->sum, 0, count * sizeof *mean->sum);
    for (int m = 0; m < mean->open; m++) {
        const struct tw_model_source *source = &mean->source[m];
        enum tw_status status =
            tw_model_source_read(source, tw_model_source_find(source, tensor->name), first,
                                 (uint32_t)count, mean->piece, error);
        if (status != TW_OK)
            return status;
        for (size_t i = 0; i < count; i++)
            mean->sum[i] += mean->piece[i];
    }
    for (size_t i = 0; i < count; i++) {
        mean->piece[i] = (float)(mean->sum[i] / mean->open);
        if (!isfinite(mean->piece[i]))
            return tw_error_set(error, TW_DATA,
                                "tensor \"%.64s\": an element is not finite in one of the models",
                                tensor->name);
    }
    return TW_OK;
}

static enum tw_status write_mean(struct mean *mean, struct tw_safetensors *file,
                                 struct tw_error *error) {
    const struct tw_tensor_list *list = &mean->source[0].list;
    for (int t = 0; t < list->count; t++) {
        const struct tw_tensor *tensor = &list->tensors[t];
        uint64_t left = (uint64_t)tensor->elements;
        while (left > 0) {
            size_t count = left < PIECE ? (size_t)left : PIECE;
            enum tw_status status =
                average_piece(mean, tensor, (uint64_t)tensor->elements - left, count, error);
            if (status == TW_OK)
                status = tw_safetensors_write(file, mean->piece, count, error);
            if (status != TW_OK)
                return status;
            left -= count;
        }
    }
    return TW_OK;
}

static enum tw_status average(struct mean *mean, char sha256[TW_SHA256_HEX],
                              struct tw_error *error) {
    struct tw_safetensors file;
    struct stat about;
    uint8_t sha[TW_SHA256_BYTES];
    if (lstat(mean->own->out, &about) == 0)
        return tw_error_set(error, TW_USAGE, "--out %s: there is such a file already",
                            mean->own->out);
    enum tw_status status = open_all(mean, error);
    if (status == TW_OK)
        status = tw_safetensors_open(&file, mean->own->out, &mean->source[0].list, error);
    if (status != TW_OK)
        return status;
    status = write_mean(mean, &file, error);
    if (status == TW_OK)
        status = tw_safetensors_commit(&file, sha, error);
    tw_safetensors_discard(&file);
    if (status == TW_OK)
        tw_hex(sha, sizeof sha, sha256);
    return status;
}

static void tell(const struct tw_args *args, const struct mean *mean, const char *sha256) {
    struct tw_text text = {0};
    struct tw_json json;
    fprintf(stderr, "the mean of %d models, %llu weights each, lies in %s\n", mean->open,
            (unsigned long long)mean->elements, mean->own->out);
    if (!args->json)
        return;
    tw_json_init(&json, &text);
    tw_json_begin_object(&json, NULL);
    tw_json_string(&json, "status", "done");
    tw_json_null(&json, "error");
    tw_json_integer(&json, "models", mean->open);
    tw_json_integer(&json, "tensors", mean->source[0].list.count);
    tw_json_unsigned(&json, "weights", mean->elements);
    tw_json_string(&json, "model", mean->own->out);
    tw_json_string(&json, "model_sha256", sha256);
    tw_json_end_object(&json);
    if (!text.failed)
        printf("%s\n", text.at);
    tw_text_fini(&text);
}

int tw_cmd_average(int argc, char **argv) {
    struct tw_args args;
    struct average_options own = {0};
    struct mean mean = {.own = &own};
    struct tw_error error;
    char sha256[TW_SHA256_HEX] = "";
    int code = TW_EXIT_DONE;
    if (tw_args_parse(&args, "average", &argp, &own, argc, argv)) {
        code = tw_command_refuse(&args, &args.error);
    } else if (!args.help) {
        if (average(&mean, sha256, &error))
            code = tw_command_refuse(&args, &error);
        else
            tell(&args, &mean, sha256);
    }
    close_all(&mean);
    tw_args_fini(&args);
    return code;
}
