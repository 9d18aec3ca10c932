/* The functions of talweg.h: each goes in (turns.h), tells the core what the
 * application wants (link.h), runs the loop until that is done, and goes out. */
#include "worker/io/talweg.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/digest.h"
#include "common/base/exact_sum.h"
#include "worker/io/turns.h"

#define CONNECT_SECONDS 30.0
#define CONNECT_SECONDS_MAX 86400.0

struct talweg {
    bool ready; /* shell and turns are there */
    struct tw_shell shell;
    struct tw_turns turns;
    struct tw_error error;
    struct talweg_place place;
    uint64_t version, samples, answered_ns;
    uint64_t correct;               /* of the push that is to end: 1 + ..., 0: not said */
    struct tw_metric_values values; /* of the report that is to come */
    struct talweg_part part;
    /* Copies of what the configuration pointed to. */
    char *server, *numerics;
    void *token;
    uint8_t digest[TW_DIGEST_BYTES];
    struct tw_tensor_list list;
    float **weights;
    unsigned char *taken; /* [tensors] whose weights of the last pull the caller has waited for */
    int untaken;          /* the others */
};

const char *talweg_library_version(void) {
    return TALWEG_VERSION;
}

const char *talweg_error(const struct talweg *talweg) {
    return talweg == NULL ? "out of memory" : talweg->error.text;
}

struct talweg_place talweg_get_place(const struct talweg *talweg) {
    return talweg->place;
}

uint64_t talweg_version(const struct talweg *talweg) {
    return talweg->version;
}

uint64_t talweg_answered_ns(const struct talweg *talweg) {
    return talweg->answered_ns;
}

uint64_t talweg_samples(const struct talweg *talweg) {
    return talweg->samples;
}

/* ---- results ---- */

static int fault(struct talweg *talweg, const char *text) {
    tw_error_set(&talweg->error, TW_USAGE, "%s", text);
    return TALWEG_E_ARGUMENT;
}

/* What the end of the client means for the caller; TALWEG_OK while it runs. */
static int outcome(struct talweg *talweg) {
    static const int results[] = {
        [TW_CLIENT_RUNS] = TALWEG_OK,
        [TW_CLIENT_RUN_OVER] = TALWEG_E_STOP,
        [TW_CLIENT_RUN_FAILED] = TALWEG_E_FAILED,
        [TW_CLIENT_REFUSED] = TALWEG_E_REFUSED,
        [TW_CLIENT_UNREACHABLE] = TALWEG_E_CONNECT,
        [TW_CLIENT_GONE] = TALWEG_E_LOST,
        [TW_CLIENT_VIOLATION] = TALWEG_E_FAILED,
    };
    const struct tw_client *client = &talweg->shell.client;
    if (client->ending != TW_CLIENT_RUNS) {
        talweg->error = client->error;
        return results[client->ending];
    }
    if (talweg->turns.stopped) {
        tw_error_set(&talweg->error, TW_INTERRUPTED, "interrupted");
        return TALWEG_E_INTERRUPTED;
    }
    return TALWEG_OK;
}

/* An event of the application: the core's answer as a result. */
static int tell(struct talweg *talweg, struct tw_client_event event) {
    struct tw_error error;
    enum tw_status status = tw_shell_step(&talweg->shell, &event, &error);
    if (status == TW_OK)
        return TALWEG_OK;
    if (tw_client_over(&talweg->shell.client))
        return outcome(talweg);
    return fault(talweg, error.text);
}

static bool goes_on(const struct talweg *talweg) {
    return !tw_client_over(&talweg->shell.client) && !talweg->turns.stopped;
}

/* ---- joining ---- */

static enum tw_status copy_tensors(struct talweg *talweg, const struct talweg_config *config,
                                   struct tw_error *error) {
    static const struct tw_init none = {TW_INIT_CONSTANT, 0};
    size_t count = (size_t)config->tensor_count;

    talweg->list.tensors = calloc(count, sizeof(struct tw_tensor));
    talweg->weights = calloc(count, sizeof(float *));
    talweg->taken = calloc(count, 1);
    if (talweg->list.tensors == NULL || talweg->weights == NULL || talweg->taken == NULL)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    talweg->list.count = config->tensor_count;
    for (int i = 0; i < config->tensor_count; i++) {
        const struct talweg_tensor *from = &config->tensors[i];
        if (from->name == NULL || from->weights == NULL || (from->dims > 0 && from->shape == NULL))
            return tw_error_set(error, TW_USAGE, "tensor %d has no name, shape or weights", i);
        enum tw_status status = tw_tensor_init(&talweg->list.tensors[i], from->name, from->dims,
                                               from->shape, none, error);
        if (status != TW_OK)
            return status;
        if (config->statistics != NULL && config->statistics[i])
            talweg->list.tensors[i].update = TW_TENSOR_RUNNING;
        talweg->weights[i] = from->weights;
    }
    return tw_tensor_list_check(&talweg->list, error);
}

static enum tw_status copy_config(struct talweg *talweg, const struct talweg_config *config,
                                  struct tw_error *error) {
    talweg->server = strdup(config->server);
    talweg->numerics = strdup(config->numerics == NULL ? "" : config->numerics);
    if (talweg->server == NULL || talweg->numerics == NULL)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    if (config->token != NULL) {
        talweg->token = malloc(config->token_bytes + 1);
        if (talweg->token == NULL)
            return tw_error_set(error, TW_NO_MEMORY, "out of memory");
        memcpy(talweg->token, config->token, config->token_bytes);
    }
    if (config->digest != NULL)
        memcpy(talweg->digest, config->digest, TW_DIGEST_BYTES);
    return copy_tensors(talweg, config, error);
}

/* The first mistake in a configuration, or NULL. */
static const char *mistake_in(const struct talweg_config *config) {
    if (config->server == NULL)
        return "config.server is missing; it must be \"HOST:PORT\"";
    if (config->tensors == NULL || config->tensor_count < 1)
        return "config.tensors is missing";
    if (config->tensor_count > TW_TENSORS_MAX)
        return "config.tensor_count is too large";
    if (config->rank < -1 || config->rank >= TW_WORKERS_MAX)
        return "config.rank is out of range; -1 takes the lowest free one";
    if (!(config->connect_seconds >= 0 && config->connect_seconds <= CONNECT_SECONDS_MAX))
        return "config.connect_seconds is out of range";
    if (config->poll_us < -1 || config->poll_us > TW_POLL_US_MAX)
        return "config.poll_us is out of range; -1 sleeps at once";
    if (config->evaluator && config->epoch_samples == 0)
        return "config.epoch_samples is missing; an evaluator needs it";
    return NULL;
}

static struct tw_client_config client_config(const struct talweg *talweg,
                                             const struct talweg_config *config, uint64_t seed) {
    double seconds = config->connect_seconds > 0 ? config->connect_seconds : CONNECT_SECONDS;
    return (struct tw_client_config){
        .role = config->evaluator ? TW_ROLE_EVALUATOR : TW_ROLE_WORKER,
        .rank = config->rank,
        .server = talweg->server,
        .token = talweg->token,
        .token_bytes = config->token_bytes,
        .digest = config->digest != NULL ? talweg->digest : NULL,
        .numerics = talweg->numerics,
        .list = &talweg->list,
        .weights = talweg->weights,
        .epoch_samples = config->epoch_samples,
        .test_samples = config->test_samples,
        .test_valued = config->test_valued != 0,
        .connect_ms = (uint32_t)(seconds * 1000),
        .seed = seed,
    };
}

static uint32_t poll_us(const struct talweg_config *config) {
    return config->poll_us < 0 ? 0 : config->poll_us == 0 ? TW_POLL_US : (uint32_t)config->poll_us;
}

static enum tw_status make_ready(struct talweg *talweg, const struct talweg_config *config,
                                 struct tw_error *error) {
    uint64_t seed;
    enum tw_status status = copy_config(talweg, config, error);
    if (status == TW_OK)
        status = tw_random_bytes(&seed, sizeof(seed));
    if (status != TW_OK)
        return status;
    struct tw_client_config ours = client_config(talweg, config, seed);
    status = tw_turns_open(&talweg->turns, config->stop_fd, poll_us(config), error);
    if (status != TW_OK)
        return status;
    status = tw_shell_init(&talweg->shell, &talweg->turns.loop, &ours, NULL, error);
    if (status == TW_OK) {
        status = tw_turns_init(&talweg->turns, &talweg->shell, error);
        if (status != TW_OK)
            tw_shell_fini(&talweg->shell);
    }
    if (status != TW_OK)
        tw_turns_close(&talweg->turns);
    talweg->ready = status == TW_OK;
    return status;
}

static void take_place(struct talweg *talweg) {
    const struct tw_client *client = &talweg->shell.client;
    talweg->place = (struct talweg_place){
        .rank = client->rank,
        .workers = client->workers,
        .slot = client->slot,
        .slots = client->slots,
        .width = client->width,
        .incarnation = client->incarnation,
    };
}

int talweg_join(struct talweg **out, const struct talweg_config *config) {
    struct talweg_config ours = TALWEG_CONFIG_INIT;
    struct talweg *talweg = *out = calloc(1, sizeof(*talweg));
    if (talweg == NULL)
        return TALWEG_E_MEMORY;
    talweg->values = tw_metric_values_none();
    /* A program that was built with an older header has a shorter struct. */
    if (config == NULL || config->size < offsetof(struct talweg_config, epoch_samples))
        return fault(talweg, "the configuration is no TALWEG_CONFIG_INIT");
    memcpy(&ours, config, config->size < sizeof(ours) ? config->size : sizeof(ours));
    const char *mistake = mistake_in(&ours);
    if (mistake != NULL)
        return fault(talweg, mistake);
    enum tw_status status = make_ready(talweg, &ours, &talweg->error);
    if (status != TW_OK)
        return status == TW_NO_MEMORY ? TALWEG_E_MEMORY : TALWEG_E_ARGUMENT;

    tw_turns_enter(&talweg->turns);
    tell(talweg, (struct tw_client_event){.kind = TW_CLIENT_ON_START});
    while (goes_on(talweg) && talweg->shell.client.phase != TW_CLIENT_JOINED)
        tw_turns_wait(&talweg->turns);
    take_place(talweg);
    int result = outcome(talweg);
    tw_turns_leave(&talweg->turns);
    return result;
}

/* ---- working ---- */

/* Enough has come for the caller to begin: all weights, or the first of them. */
static bool may_begin(const struct talweg *talweg, bool whole) {
    const struct tw_client *client = &talweg->shell.client;
    return client->work != TW_CLIENT_WAITING || (!whole && tw_client_may_begin(client));
}

static void wait_to_begin(struct talweg *talweg, bool whole) {
    struct tw_shell *shell = &talweg->shell;
    /* A push that was repeated may still be on its way when it is settled. */
    while (goes_on(talweg) && (!may_begin(talweg, whole) || shell->borrowed > 0))
        tw_turns_wait(&talweg->turns);
    while (shell->borrowed > 0 && !talweg->turns.stopped)
        tw_turns_wait(&talweg->turns);
}

/* What the caller begins with. */
static void take_set(struct talweg *talweg, bool whole) {
    const struct tw_client *client = &talweg->shell.client;
    talweg->version = tw_client_set(client)->version;
    talweg->answered_ns = talweg->shell.answered_ns;
    talweg->samples = client->sets * client->config.epoch_samples;
    talweg->part = client->portions
                       ? (struct talweg_part){client->portion.first, client->portion.samples}
                       : (struct talweg_part){0, client->config.test_samples};
    memset(talweg->taken, whole, (size_t)talweg->list.count);
}

static int pull(struct talweg *talweg, uint64_t *step, bool whole) {
    if (!talweg->ready)
        return fault(talweg, "a pull without a successful talweg_join()");

    tw_turns_enter(&talweg->turns);
    int result = tell(talweg, (struct tw_client_event){.kind = TW_CLIENT_ON_PULL});
    if (result == TALWEG_OK) {
        wait_to_begin(talweg, whole);
        result = outcome(talweg);
        if (result == TALWEG_OK && talweg->shell.client.work == TW_CLIENT_WAITING)
            result = tell(talweg, (struct tw_client_event){.kind = TW_CLIENT_ON_BEGIN});
        take_set(talweg, whole);
        talweg->untaken = whole || result != TALWEG_OK ? 0 : talweg->list.count;
        if (step != NULL && result == TALWEG_OK)
            *step = tw_client_set(&talweg->shell.client)->step;
    }
    /* What is in memory then is nobody's set; but a call out of order changes nothing. */
    if (result != TALWEG_OK && result != TALWEG_E_ARGUMENT)
        memset(talweg->taken, 0, (size_t)talweg->list.count);
    tw_turns_leave(&talweg->turns);
    return result;
}

int talweg_pull(struct talweg *talweg, uint64_t *step) {
    return pull(talweg, step, true);
}

int talweg_pull_begin(struct talweg *talweg, uint64_t *step) {
    return pull(talweg, step, false);
}

/* Until the weights of a tensor are here, or will not come. */
static int want(struct talweg *talweg, int tensor) {
    const struct tw_client *client = &talweg->shell.client;
    tw_turns_enter(&talweg->turns);
    int result =
        tell(talweg, (struct tw_client_event){.kind = TW_CLIENT_ON_WANT, .tensor = tensor});
    if (result == TALWEG_OK) {
        while (goes_on(talweg) && !tw_client_has_tensor(client, tensor) &&
               !tw_client_cancelled(client))
            tw_turns_wait(&talweg->turns);
        result = outcome(talweg);
        if (result == TALWEG_OK && !tw_client_has_tensor(client, tensor)) {
            tw_error_set(&talweg->error, TW_STALE,
                         "these weights will not be complete: others take their place");
            result = TALWEG_E_AGAIN;
        }
    }
    tw_turns_leave(&talweg->turns);
    return result;
}

int talweg_pull_tensor(struct talweg *talweg, int tensor) {
    if (!talweg->ready || tensor < 0 || tensor >= talweg->list.count)
        return fault(talweg, "talweg_pull_tensor() of a tensor that there is not, or without a "
                             "successful talweg_join()");
    if (talweg->taken[tensor])
        return TALWEG_OK;
    if (tensor >= atomic_load(&talweg->shell.here)) {
        int result = want(talweg, tensor);
        if (result != TALWEG_OK)
            return result;
    }
    talweg->taken[tensor] = 1;
    talweg->untaken--;
    return TALWEG_OK;
}

/* A call that only tells the core something. */
static int enter_and_tell(struct talweg *talweg, struct tw_client_event event) {
    if (!talweg->ready)
        return fault(talweg, "a call without a successful talweg_join()");
    tw_turns_enter(&talweg->turns);
    int result = tell(talweg, event);
    tw_turns_leave(&talweg->turns);
    return result;
}

int talweg_push_tensor(struct talweg *talweg, int tensor, const float *gradient) {
    if (talweg->untaken > 0 && !atomic_load(&talweg->shell.cancelled))
        return fault(talweg, "a push before talweg_pull_tensor() has said of every tensor that its "
                             "weights are there");
    return enter_and_tell(talweg, (struct tw_client_event){.kind = TW_CLIENT_ON_PUSH,
                                                           .tensor = tensor,
                                                           .gradient = gradient});
}

int talweg_push_correct(struct talweg *talweg, uint64_t correct) {
    if (!talweg->ready || correct == UINT64_MAX)
        return fault(talweg, "talweg_push_correct() with no number, or without a successful "
                             "talweg_join()");
    talweg->correct = 1 + correct;
    return TALWEG_OK;
}

int talweg_push_end(struct talweg *talweg, uint64_t examples, double loss) {
    uint64_t correct = talweg->correct;
    talweg->correct = 0;
    return enter_and_tell(talweg, (struct tw_client_event){.kind = TW_CLIENT_ON_END,
                                                           .examples = examples,
                                                           .loss = loss,
                                                           .correct = correct});
}

/* What came since the last call waits in the sockets, unless the helper is driving and
 * sees it itself. */
int talweg_cancelled(struct talweg *talweg) {
    struct tw_shell *shell = &talweg->shell;
    if (!talweg->ready)
        return 0;
    if (!atomic_load(&shell->cancelled) && tw_turns_try_enter(&talweg->turns)) {
        uv_run(shell->loop, UV_RUN_NOWAIT);
        tw_turns_leave(&talweg->turns);
    }
    return atomic_load(&shell->cancelled);
}

int talweg_report_metric(struct talweg *talweg, const char *name, double value) {
#define X(known)                                                                                   \
    if (strcmp(name, #known) == 0) {                                                               \
        talweg->values.known = value;                                                              \
        return TALWEG_OK;                                                                          \
    }
    TW_METRIC_VALUES_MORE(X)
#undef X
    return fault(talweg, "talweg_report_metric() of a name that is none of top5, auc, r2");
}

int talweg_report(struct talweg *talweg, double loss, double accuracy) {
    struct tw_metric_values values = talweg->values;
    values.loss = loss;
    values.accuracy = accuracy;
    talweg->values = tw_metric_values_none();
    return enter_and_tell(talweg,
                          (struct tw_client_event){.kind = TW_CLIENT_ON_REPORT, .values = &values});
}

struct talweg_part talweg_get_part(const struct talweg *talweg) {
    return talweg->part;
}

int talweg_report_part(struct talweg *talweg, const struct talweg_tally *tally) {
    struct tw_tally_frame frame = {
        .correct = tally->correct,
        .among_five = tally->among_five,
        .loss = {tally->loss, TW_EXACT_SUM_BYTES},
        .fits = {tally->fits, tally->fit_bytes},
        .scores = {tally->scores, tally->score_bytes},
    };
    return enter_and_tell(talweg,
                          (struct tw_client_event){.kind = TW_CLIENT_ON_TALLY, .tally = &frame});
}

/* ---- leaving ---- */

void talweg_leave(struct talweg *talweg) {
    if (talweg == NULL)
        return;
    if (talweg->ready) {
        tw_turns_enter(&talweg->turns);
        tell(talweg, (struct tw_client_event){.kind = TW_CLIENT_ON_LEAVE});
        tw_turns_leave(&talweg->turns);
        tw_turns_stop(&talweg->turns);
        tw_turns_enter(&talweg->turns);
        tw_shell_fini(&talweg->shell);
        tw_turns_leave(&talweg->turns);
        tw_turns_close(&talweg->turns);
        tw_turns_fini(&talweg->turns);
    }
    free(talweg->list.tensors);
    free(talweg->weights);
    free(talweg->taken);
    free(talweg->server);
    free(talweg->numerics);
    free(talweg->token);
    free(talweg);
}
