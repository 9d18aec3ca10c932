/* talweg predict: what trained models say to data, and what that is worth. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/blas_core.h"
#include "cli/command.h"
#include "cli/prediction_file.h"
#include "common/base/denormals.h"
#include "common/base/json.h"
#include "worker/nn/metrics.h"

enum { KEY_OUT = 0x200, KEY_CLASSES, KEY_THREADS, MODELS_MAX = 64, THREADS_MAX = 256 };

struct predict_options {
    const char *out;
    bool classes;
    int threads;
    int count; /* of arguments: the models, and then the data */
    const char *argument[MODELS_MAX + 1];
};

static const struct argp_option options[] = {
    {"out", KEY_OUT, "FILE", 0, "Where the predictions are written, NAME.csv or NAME.npy", 1},
    {"classes", KEY_CLASSES, NULL, 0, "Write the class only, not the probabilities", 1},
    {"threads", KEY_THREADS, "N", 0, "Compute with so many threads; default 1, the same bits", 1},
    TW_ARGS_JSON,
    {0},
};

static const char doc[] =
    "Computes what a trained model says to each sample of DATA: probabilities, or numbers where"
    " the job learns real targets. RUN is the directory of a run, or of a checkpoint in one"
    " (RUN/checkpoints/v00000500-g0). Of several, the mean of what they say is taken: an ensemble."
    " Loss, accuracy and the like are printed to stdout."
    "\v"
    "DATA is test, validation or train, of the run's own job, or data of your own, written as\n"
    "data.test is in a job; its files are found from the current directory.\n"
    "\n"
    "Examples:\n"
    "  talweg predict runs/first test --out predictions.csv\n"
    "  talweg predict runs/seed1 runs/seed2 runs/seed3 test\n"
    "  talweg predict runs/first '{format: idx, images: new-images, labels: new-labels}' \\\n"
    "      --out new.npy\n"
    "\n"
    "Exit codes:\n"
    "  0    done\n"
    "  1    out of memory, or FILE cannot be written\n"
    "  2    wrong usage, or a RUN or DATA that is missing, corrupt, or does not fit\n";

static error_t parse(int key, char *text, struct argp_state *state) {
    struct tw_args *args = state->input;
    struct predict_options *own = args->own;
    switch (key) {
    case KEY_OUT:
        own->out = text;
        return 0;
    case KEY_CLASSES:
        own->classes = true;
        return 0;
    case KEY_THREADS:
        return tw_args_whole(args, "threads", text, 1, THREADS_MAX, &own->threads);
    case ARGP_KEY_ARG:
        if (own->count > MODELS_MAX)
            return tw_args_wrong(args, "more than %d models", MODELS_MAX);
        own->argument[own->count++] = text;
        return 0;
    case ARGP_KEY_END:
        if (!args->help && own->count < 2)
            return tw_args_wrong(args, "a RUN and DATA are wanted, such as runs/first test");
        if (!args->help && own->classes && !own->out)
            return tw_args_wrong(args, "--classes is about the file; give --out, too");
        return 0;
    default:
        return tw_args_usual(key, state);
    }
}

static const struct argp_child children[] = {{&tw_args_plain, 0, NULL, 0}, {0}};
static const struct argp argp = {options, parse, "RUN... DATA", doc, children, NULL, NULL};

/* ---- what it is worth ---- */

static enum tw_status measure(const struct tw_predictor *predictor, struct tw_metrics *metrics,
                              struct tw_error *error) {
    enum tw_status status = tw_metrics_init(metrics, predictor->job.model, predictor->samples,
                                            predictor->data->outputs > 0, error);
    for (uint64_t i = 0; status == TW_OK && i < predictor->samples; i++)
        tw_metrics_add(metrics, predictor->out + i * (size_t)predictor->outputs,
                       tw_predictor_target(predictor, i));
    return status;
}

static void add_confusion(struct tw_text *out, const struct tw_metrics *metrics) {
    int classes = (int)metrics->tally.classes;
    if (!metrics->confusion || classes > 32)
        return;
    tw_text_add(out, "\nlabel (down) and class predicted (across):\n     ");
    for (int k = 0; k < classes; k++)
        tw_text_add(out, "%7d", k);
    for (int i = 0; i < classes; i++) {
        tw_text_add(out, "\n%5d", i);
        for (int k = 0; k < classes; k++)
            tw_text_add(out, "%7llu",
                        (unsigned long long)metrics->confusion[(size_t)(i * classes + k)]);
    }
    tw_text_add(out, "\n");
}

static void add_words(struct tw_text *out, struct tw_metrics *metrics) {
    for (int i = 0; i < tw_metrics_count; i++) {
        double value = tw_metrics_table[i].value(metrics);
        if (!isnan(value))
            tw_text_add(out, "%-10s %-10.6g %s\n", tw_metrics_table[i].name, value,
                        tw_metrics_table[i].text);
    }
    add_confusion(out, metrics);
}

static void add_json(struct tw_text *out, struct tw_metrics *metrics,
                     const struct predict_options *own) {
    struct tw_json json;
    tw_json_init(&json, out);
    tw_json_begin_object(&json, NULL);
    tw_json_string(&json, "status", "done");
    tw_json_null(&json, "error");
    tw_json_integer(&json, "models", own->count - 1);
    tw_json_unsigned(&json, "samples", metrics->tally.samples);
    for (int i = 0; i < tw_metrics_count; i++)
        tw_json_real(&json, tw_metrics_table[i].name, tw_metrics_table[i].value(metrics));
    if (metrics->confusion) {
        tw_json_begin_array(&json, "confusion");
        for (int i = 0; i < (int)metrics->tally.classes; i++) {
            tw_json_begin_array(&json, NULL);
            for (int k = 0; k < (int)metrics->tally.classes; k++)
                tw_json_unsigned(&json, NULL,
                                 metrics->confusion[(size_t)(i * (int)metrics->tally.classes + k)]);
            tw_json_end_array(&json);
        }
        tw_json_end_array(&json);
    } else {
        tw_json_null(&json, "confusion");
    }
    tw_json_string(&json, "out", own->out);
    tw_json_end_object(&json);
    tw_text_add(out, "\n");
}

static enum tw_status tell(const struct tw_args *args, struct tw_metrics *metrics,
                           struct tw_error *error) {
    const struct predict_options *own = args->own;
    struct tw_text text = {0};
    enum tw_status status = TW_OK;
    add_words(&text, metrics);
    if (args->json)
        add_json(&text, metrics, own);
    if (text.failed)
        status = tw_error_set(error, TW_NO_MEMORY, "out of memory");
    else if (fwrite(text.at, 1, text.size, stdout) != text.size || fflush(stdout))
        status = tw_error_set(error, TW_IO, "stdout cannot be written");
    tw_text_fini(&text);
    return status;
}

static enum tw_status predict(const struct tw_args *args, char **again, struct tw_error *error) {
    const struct predict_options *own = args->own;
    struct tw_predictor predictor = {0};
    struct tw_metrics metrics = {0};
    const struct tw_predictor_config config = {
        .model = own->argument,
        .models = own->count - 1,
        .data = own->argument[own->count - 1],
        .threads = own->threads,
        .again = again,
    };
    enum tw_status status = own->out ? tw_prediction_file_check(own->out, error) : TW_OK;
    tw_flush_denormals();
    if (status == TW_OK)
        status = tw_predictor_run(&predictor, &config, error);
    if (status == TW_OK && own->classes && predictor.data->outputs > 0)
        status = tw_error_set(error, TW_USAGE, "--classes: this data has real targets, no classes");
    if (status == TW_OK)
        status = measure(&predictor, &metrics, error);
    if (status == TW_OK && own->out)
        status = tw_prediction_file_write(own->out, &predictor, own->classes, error);
    if (status == TW_OK && own->out)
        fprintf(stderr, "the predictions for %llu samples lie in %s\n",
                (unsigned long long)predictor.samples, own->out);
    if (status == TW_OK)
        status = tell(args, &metrics, error);
    tw_metrics_fini(&metrics);
    tw_predictor_fini(&predictor);
    return status;
}

int tw_cmd_predict(int argc, char **argv) {
    struct tw_args args;
    struct predict_options own = {.threads = 1};
    struct tw_error error;
    int code = TW_EXIT_DONE;
    char **again = tw_blas_core_arguments(argc, argv);
    if (tw_args_parse(&args, "predict", &argp, &own, argc, argv))
        code = tw_command_refuse(&args, &args.error);
    else if (!again)
        code = tw_command_refuse(
            &args, &(struct tw_error){.status = TW_NO_MEMORY, .text = "out of memory"});
    else if (!args.help && predict(&args, again, &error))
        code = tw_command_refuse(&args, &error);
    free(again);
    tw_args_fini(&args);
    return code;
}
