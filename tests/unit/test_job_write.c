/* Resolving, writing and digesting: what is written loads again and means the same. */
#include "tests/unit/job_desk.h"

#include <math.h>

#include "common/base/digest.h"
#include "common/base/rng.h"
#include "common/base/text.h"

static void resolve(struct tw_job *job) {
    struct tw_error error = {0};
    if (tw_job_resolve(job, &desk_book, &error) != TW_OK)
        fail_msg("%s", error.text);
}

static char *written(const struct tw_job *job) {
    char *text;
    size_t size;
    assert_int_equal(tw_job_write(job, NULL, 0, &text, &size), TW_OK);
    assert_int_equal(strlen(text), size);
    return text;
}

/* The digest of the resolved text, which must survive being written and read. */
static void digest_of(const char *text, uint8_t digest[32]) {
    uint8_t again[32];
    struct tw_job *job = desk_good(text);
    resolve(job);
    tw_job_digest(job, 60000, digest);
    char *copy = written(job);
    struct tw_job *other = desk_good(copy);
    resolve(other);
    tw_job_digest(other, 60000, again);
    char *third = written(other);
    assert_string_equal(copy, third);
    assert_memory_equal(digest, again, 32);
    free(copy);
    free(third);
    tw_job_free(job);
    tw_job_free(other);
}

static void every_default_is_spelled_out(void **state) {
    static const char *const notes[] = {"talweg 0.1.0", "CPU: odd\nname\xff"};
    struct tw_job *job = desk_good(DESK_JOB);
    char *text;
    resolve(job);
    assert_int_equal(tw_job_write(job, notes, 2, &text, NULL), TW_OK);
    assert_string_equal(
        text, "# talweg 0.1.0\n"
              "# CPU: odd?name?\n"
              "model:\n"
              "  input: [1, 28, 28]\n"
              "  layers:\n"
              "    - flatten\n"
              "    - dense: {units: 256, init: he}\n"
              "    - relu\n"
              "    - dense: {units: 10, init: zero}\n"
              "  loss: softmax_cross_entropy\n"
              "data:\n"
              "  train: {format: idx, images: /jobs/images.gz, labels: /data/labels.gz, scale: "
              "255}\n"
              "  shard: epoch\n"
              "batch: 128\n"
              "epochs: 10\n"
              "optimizer: {name: adam, lr: 0.001, beta1: 0.9, amsgrad: false}\n"
              "consistency: {mode: sync}\n"
              "cluster: {servers: 1, workers: 1, evaluators: 1}\n"
              "on_worker_loss: {action: wait, after: 5, silent: 60}\n"
              "on_divergence: stop\n"
              "accumulate: 1\n"
              "local_steps: {steps: 1}\n"
              "seed: 1\n"
              "chunk: 256KiB\n"
              "encoding: {push: f32, pull: f32}\n"
              "poll_us: 100\n"
              "trace: {on: true, hash_every: 100, sums_every: 25, inputs: true}\n"
              "checkpoint: {every: 0, seconds: 60, keep: 2}\n");
    free(text);
    tw_job_free(job);
}

static void slots_are_written_when_they_were_given(void **state) {
    struct tw_error error = {0};
    struct tw_job *job = desk_set("slots", "8", "--set slots", &error);
    assert_non_null(job);
    resolve(job);
    char *text = written(job);
    assert_non_null(strstr(text, "cluster: {servers: 1, workers: 1, evaluators: 1}\n"));
    assert_non_null(strstr(text, "slots: 8\naccumulate: 1\nlocal_steps: {steps: 1}\nseed: 1\n"));
    free(text);
    tw_job_free(job);
}

/* In job.yaml they must not stand in the way of another `seed`. */
static void seeds_of_streams_are_written_when_they_were_given(void **state) {
    struct tw_error error = {0};
    struct tw_job *job =
        desk_set("seeds", "{noise: 18446744073709551615, init: 1}", "--set seeds", &error);
    assert_non_null(job);
    resolve(job);
    char *text = written(job);
    assert_non_null(strstr(text, "seed: 1\nseeds: {init: 1, noise: 18446744073709551615}\nchunk"));
    free(text);
    tw_job_free(job);
}

/* The lines of a job with this setting from "optimizer" on, up to "cluster". */
static void assert_schedules(const char *setting, const char *lines) {
    uint8_t digest[2][32];
    struct tw_error error = {0};
    struct tw_job *job = desk_set("schedule", setting, "--set schedule", &error);
    if (!job)
        fail_msg("%s", error.text);
    resolve(job);
    char *text = written(job);
    if (!strstr(text, lines))
        fail_msg("%s\nhas not\n%s", text, lines);
    digest_of(text, digest[0]);
    digest_of(DESK_JOB, digest[1]);
    assert_memory_not_equal(digest[0], digest[1], 32);
    free(text);
    tw_job_free(job);
}

static void schedules_and_their_lists_come_back(void **state) {
    assert_schedules("{name: multi_step, at: [30, 6e1, 80.50]}",
                     "false}\nschedule: {name: multi_step, at: [30, 60, 80.5], factor: "
                     "0.1}\nconsistency");
    assert_schedules("{name: multi_step, at: 5}", "schedule: {name: multi_step, at: [5], ");
    assert_schedules("{momentum: {name: multi_step, at: [1]}}",
                     "schedule:\n  momentum: {name: multi_step, at: [1], factor: 0.1}\n");
    assert_schedules("{momentum: {name: multi_step, at: [1]}, lr: {name: multi_step, at: [2]}}",
                     "schedule:\n  lr: {name: multi_step, at: [2], factor: 0.1}\n"
                     "  momentum: {name: multi_step, at: [1], factor: 0.1}\n");
}

static void what_stands_around_the_rule_comes_back(void **state) {
    static const char *const lines[] = {
        "gradient: sum\n",
        "clip: {norm: 1.5}\n",
        "clip: {value: 0.5}\n",
        "weight_decay: {l2: 1e-04}\n",
        "weight_decay: {decoupled: 0.01}\n",
        "groups:\n  - {tensors: \"*.bias\", lr: 1, decay: false}\n"
        "  - {tensors: \"a\\\\?\", lr: 0.25, decay: true}\n",
    };
    uint8_t digest[2][32];
    char text[2048];
    digest_of(DESK_JOB, digest[0]);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        snprintf(text, sizeof text, "%s%s", DESK_JOB, lines[i]);
        digest_of(text, digest[1]);
        assert_memory_not_equal(digest[0], digest[1], 32);
        struct tw_job *job = desk_good(text);
        resolve(job);
        char *copy = written(job);
        struct tw_job *again = desk_good(copy);
        assert_int_equal(again->gradient_sum, i == 0);
        assert_true(again->clip_norm == (i == 1 ? 1.5 : 0) && again->l2 == (i == 3 ? 1e-4 : 0));
        assert_true(again->clip_value == (i == 2 ? .5 : 0));
        assert_true(again->decoupled == (i == 4 ? .01 : 0));
        assert_int_equal(again->group_count, i == 5 ? 2 : 0);
        if (i == 5) {
            assert_string_equal(again->groups[0].pattern, "*.bias");
            assert_string_equal(again->groups[1].pattern, "a\\?");
            assert_true(!again->groups[0].decay && again->groups[1].decay);
            assert_true(again->groups[0].rate == 1 && again->groups[1].rate == .25);
        }
        free(copy);
        tw_job_free(job);
        tw_job_free(again);
    }
}

static void resolving_twice_changes_nothing(void **state) {
    struct tw_job *job = desk_good(DESK_JOB);
    resolve(job);
    char *once = written(job);
    resolve(job);
    char *twice = written(job);
    assert_string_equal(once, twice);
    free(once);
    free(twice);
    tw_job_free(job);
}

static void resolving_finds_wrong_options(void **state) {
    struct tw_error error = {0};
    struct tw_job *job = desk_set("optimizer.beta3", "1", "--set optimizer.beta3", &error);
    assert_non_null(job);
    assert_int_equal(tw_job_resolve(job, &desk_book, &error), TW_JOB);
    assert_string_equal(error.text, "--set optimizer.beta3=1: optimizer.beta3: unknown key; did "
                                    "you mean \"beta1\"? known: lr, beta1, amsgrad");
    assert_false(job->resolved);
    tw_job_free(job);
    job = desk_set("model.layers", "[dense: ten]", "--set model.layers", &error);
    assert_non_null(job);
    assert_int_equal(tw_job_resolve(job, &desk_book, &error), TW_JOB);
    assert_string_equal(error.text,
                        "--set model.layers=[dense: ten]: model.layers[0].units: \"ten\" is not a "
                        "whole number; it must be one from 1 to 1000000");
    tw_job_free(job);
}

static void two_ways_to_say_the_same_have_one_digest(void **state) {
    uint8_t a[32], b[32];
    digest_of(DESK_JOB, a);
    digest_of("seed: 1\n"
              "chunk: 262144\n"
              "optimizer: {lr: 0.00100, name: adam, amsgrad: false, beta1: 9e-1}\n"
              "epochs: 10.0\n"
              "batch: 128\n"
              "cluster: {workers: 1, servers: 1}\n"
              "consistency: {mode: sync}\n"
              "data: {shard: epoch, train: {scale: 255, format: idx, images: x, labels: y}}\n"
              "model: {loss: {name: softmax_cross_entropy}, input: [1, 28, 28],\n"
              "  layers: [flatten, dense: {units: 256, init: he}, relu: {},\n"
              "    {name: dense, init: zero, units: 10}]}\n"
              "worker: {blas_core: Haswell}\n",
              b);
    assert_memory_equal(a, b, 32);
}

static void digest_with(const char *key, const char *value, uint8_t digest[32]) {
    struct tw_error error = {0};
    struct tw_job *job = desk_set(key, value, "--set", &error);
    if (!job)
        fail_msg("%s=%s: %s", key, value, error.text);
    resolve(job);
    char *text = written(job);
    digest_of(text, digest);
    free(text);
    tw_job_free(job);
}

static const struct {
    const char *key, *value;
    bool matters;
} rows[] = {
    {"model.input", "[28, 28]", true},
    {"model.layers", "[flatten, dense: 10]", true},
    {"model.loss", "mse", true},
    {"data.train.scale", "1", true},
    {"data.train.format", "csv", true},
    {"data.shard", "fixed", true},
    {"data.validation", "5000", true},
    {"data.standardise", "true", true},
    {"data.augment", "{crop: 3}", true},
    {"data.augment", "{flip: true}", true},
    {"data.augment", "{crop: 0, flip: false}", false}, /* as when it is left out */
    {"data.validation", "0", false},                   /* as when it is left out */
    {"batch", "127", true},
    {"epochs", "10.5", true},
    {"updates", "7", true},
    {"optimizer.name", "sgd", true},
    {"optimizer.lr", "0.0010000000000000002", true},
    {"consistency.mode", "async", true},
    {"consistency.turns", "[{update: 5, mode: async}]", true},
    {"cluster.workers", "2", true},
    {"slots", "2", true},
    {"slots", "1", false}, /* as when it is left out */
    {"accumulate", "2", true},
    {"accumulate", "1", false}, /* as when it is left out */
    {"local_steps", "{steps: 2, lr: 0.1}", true},
    {"local_steps", "1", false}, /* likewise, whatever its rate */
    {"seed", "2", true},
    {"seeds.init", "2", true},
    {"seeds.sampling", "2", true},
    {"seeds.noise", "2", true},
    {"seeds.dropout", "2", true},
    {"seeds.split", "2", true},
    {"seeds.augment", "2", true},
    {"seeds.staleness", "2", true},
    {"seeds", "{init: 1, sampling: 1, noise: 1}", false}, /* as when they are left out */
    {"chunk", "64KiB", true},
    {"encoding.push", "bf16", true},
    {"encoding.pull", "f16", true},
    {"encoding", "{push: f32, pull: f32}", false}, /* as when it is left out */
    {"cluster.servers", "2", false},
    {"data.train.images", "elsewhere", false},
    {"data.test", "{format: idx, images: a, labels: b}", false},
    {"worker.blas_core", "Zen", false},
    {"average", "{ema: 0.9}", true},
    {"model.init", "there", true},
    {"stop", "{patience: 3, watch: train}", true},
    {"stop", "{loss: 0.5, watch: train}", true},
    {"stop", "{gradient_norm: 0.5}", true},
    {"on_divergence", "go_on", false},
    {"poll_us", "0", false},
    {"on_worker_loss", "evict", false},
    {"on_worker_loss", "{action: wait, after: 0}", false},
    {"on_worker_loss", "{action: wait, silent: 0}", false},
    {"trace.on", "false", false},
    {"trace.hash_every", "7", false},
    {"checkpoint", "{every: 100, keep: 3}", false},
    {"data.sha256", "\"5362780c7945d9a10b3c456e35af825b4ae0223bf049512839137c5116df4ed5\"", false},
};

static void what_must_agree_is_in_the_digest(void **state) {
    uint8_t plain[32], other[32];
    digest_of(DESK_JOB, plain);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        digest_with(rows[i].key, rows[i].value, other);
        if ((memcmp(plain, other, 32) != 0) != rows[i].matters)
            fail_msg("%s is %s the digest", rows[i].key, rows[i].matters ? "not in" : "in");
    }
}

static void how_many_samples_there_are_is_in_the_digest(void **state) {
    uint8_t all[32], fewer[32];
    struct tw_job *job = desk_good(DESK_JOB);
    resolve(job);
    tw_job_digest(job, 60000, all);
    tw_job_digest(job, 59999, fewer);
    assert_memory_not_equal(all, fewer, 32);
    tw_job_free(job);
}

static void a_job_of_tensors_is_written_and_digested(void **state) {
    static const char job[] = "model: {tensors: {w: [784, 10], b: [10], \"null\": [], 1.5e3: 3}}\n"
                              "updates: 100\noptimizer: sgd\nbatch: 5\n";
    uint8_t a[32], b[32];
    digest_of(job, a);
    digest_of("model: {tensors: {w: [784, 10], b: [10], \"null\": [], 1.5e3: 4}}\n"
              "updates: 100\noptimizer: sgd\nbatch: 5\n",
              b);
    assert_memory_not_equal(a, b, 32);
}

/* The path of the training images after writing and reading again. */
static void assert_path_survives(const char *quoted, const char *expected) {
    struct tw_text text = {0};
    tw_text_add(&text,
                DESK_MODEL "data: {train: {format: idx, images: %s, labels: \"null\"}}\n"
                           "batch: 1\nupdates: 1\noptimizer: adam\n",
                quoted);
    struct tw_job *job = desk_good(text.at);
    char *unresolved = written(job);
    resolve(job);
    char *resolved = written(job);
    struct tw_job *again = desk_good(resolved), *other = desk_good(unresolved);
    resolve(again);
    resolve(other);
    struct tw_job *const jobs[] = {job, again, other};
    for (int i = 0; i < 3; i++) {
        assert_string_equal(jobs[i]->train.options[0].path, expected);
        assert_string_equal(jobs[i]->train.options[0].text, expected);
        assert_string_equal(jobs[i]->train.options[1].path, "/jobs/null");
        tw_job_free(jobs[i]);
    }
    free(unresolved);
    free(resolved);
    tw_text_fini(&text);
}

static void paths_with_odd_characters_survive(void **state) {
    assert_path_survives("\"/a b/c: d # e\"", "/a b/c: d # e");
    assert_path_survives("'it''s {slot}, [x]'", "/jobs/it's {slot}, [x]");
    assert_path_survives("\"\\\"\\\\ \\t\\n\\r\\a\\e\\x7f\"", "/jobs/\"\\ \t\n\r\a\033\x7f");
    assert_path_survives("\"\\u00e4\\u20ac\\U0001F600\"", "/jobs/ä€😀");
    assert_path_survives("\"\\x85\\xa0\\u2028\\u2029\\ufeff\\uffff\"",
                         "/jobs/\xc2\x85\xc2\xa0\xe2\x80\xa8\xe2\x80\xa9\xef\xbb\xbf\xef\xbf\xbf");
    assert_path_survives("\"a \\u2028 b\"", "/jobs/a \xe2\x80\xa8 b");
    assert_path_survives("123", "/jobs/123");
    assert_path_survives("\"- x\"", "/jobs/- x");
    assert_path_survives("\" x \"", "/jobs/ x ");
}

/* Characters of every length, also those that YAML and terminals dislike. */
static void add_character(struct tw_text *text, struct tw_rng *rng) {
    static const uint32_t odd[] = {0x22, 0x5c, 0x85, 0xa0, 0x2028, 0x2029, 0xfeff, 0xfffd, 0xfffe};
    static const uint32_t limits[] = {0x80, 0x800, 0xd800, 0x110000};
    uint64_t kind = tw_rng_below(rng, 5);
    uint32_t code = kind == 4 ? odd[tw_rng_below(rng, sizeof odd / sizeof *odd)]
                              : 1 + (uint32_t)tw_rng_below(rng, limits[kind] - 1);
    if (code >= 0xd800 && code < 0xe000)
        code = 0xe000;
    tw_text_add(text, "\\U%08X", code);
}

static void any_path_survives(void **state) {
    struct tw_rng rng;
    tw_rng_init(&rng, 1, TW_STREAM_NOISE, 0, 0);
    for (int i = 0; i < 300; i++) {
        struct tw_text path = {0};
        tw_text_add(&path, "\"/");
        for (uint64_t left = 1 + tw_rng_below(&rng, 12); left; left--)
            add_character(&path, &rng);
        tw_text_add(&path, "\"");
        struct tw_error error = {0};
        struct tw_job *job = desk_set("data.train.images", path.at, "--set", &error);
        if (!job)
            fail_msg("%s", error.text);
        char *expected = strdup(job->train.options[0].path);
        tw_job_free(job);
        assert_path_survives(path.at, expected);
        free(expected);
        tw_text_fini(&path);
    }
}

/* A job with options drawn at random: any numbers, in any of their spellings. */
static void random_job(struct tw_text *text, struct tw_rng *rng) {
    tw_text_add(text, "model:\n  input: [%d, %d]\n  layers:\n", 1 + (int)tw_rng_below(rng, 9),
                1 + (int)tw_rng_below(rng, 9));
    for (uint64_t i = 1 + tw_rng_below(rng, 5); i; i--) {
        static const char *const layers[] = {"flatten",
                                             "dense: 7",
                                             "dense: {units: 9, init: he}",
                                             "name: relu",
                                             "odd: {a: 1, b: \"x y\", c: 1e3}",
                                             "odd: \"12\""};
        tw_text_add(text, "    - %s\n", layers[tw_rng_below(rng, 6)]);
    }
    tw_text_add(text, "  loss: {name: odd, a: %.*g}\n", 1 + (int)tw_rng_below(rng, 17),
                exp2(40 * tw_rng_uniform(rng) - 20));
    tw_text_add(text, "data: {train: {format: odd, b: %d}}\n", (int)tw_rng_below(rng, 1000));
    tw_text_add(text, "batch: %d\nepochs: %.*e\n", 1 + (int)tw_rng_below(rng, 1000),
                (int)tw_rng_below(rng, 17), exp2(40 * tw_rng_uniform(rng) - 20));
    tw_text_add(text, "optimizer: {name: adam, lr: %.17g, beta1: %.9f}\n",
                exp2(30 * tw_rng_uniform(rng) - 20), 0.99 * tw_rng_uniform(rng));
    tw_text_add(text, "seed: %llu\n", (unsigned long long)tw_rng_next(rng));
    if (tw_rng_below(rng, 2))
        tw_text_add(text, "seeds: {noise: %llu, init: 0}\n", (unsigned long long)tw_rng_next(rng));
}

static void any_job_survives_with_its_digest(void **state) {
    struct tw_rng rng;
    tw_rng_init(&rng, 2, TW_STREAM_NOISE, 0, 0);
    for (int i = 0; i < 300; i++) {
        struct tw_text text = {0};
        uint8_t digest[32];
        random_job(&text, &rng);
        digest_of(text.at, digest);
        tw_text_fini(&text);
    }
}

/* What has options is a mapping; one without a key has no other form than the short one. */
static void the_short_form_survives_unresolved(void **state) {
    static const char *const objectives[] = {"o",           "{o: 3}",          "{o: [1, 2]}",
                                             "{o: {a: 3}}", "{name: o, a: 3}", "{name: 3}"};
    for (size_t i = 0; i < sizeof objectives / sizeof *objectives; i++) {
        char text[200];
        snprintf(text, sizeof text, "model: {objective: %s}\nupdates: 1\noptimizer: sgd\n",
                 objectives[i]);
        struct tw_job *job = desk_good(text);
        char *first = written(job);
        struct tw_job *other = desk_good(first);
        char *second = written(other);
        assert_string_equal(first, second);
        assert_string_equal(job->model.objective.name, other->model.objective.name);
        assert_int_equal(job->model.objective.count, other->model.objective.count);
        free(first);
        free(second);
        tw_job_free(job);
        tw_job_free(other);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_default_is_spelled_out),
        cmocka_unit_test(slots_are_written_when_they_were_given),
        cmocka_unit_test(seeds_of_streams_are_written_when_they_were_given),
        cmocka_unit_test(schedules_and_their_lists_come_back),
        cmocka_unit_test(what_stands_around_the_rule_comes_back),
        cmocka_unit_test(resolving_twice_changes_nothing),
        cmocka_unit_test(resolving_finds_wrong_options),
        cmocka_unit_test(two_ways_to_say_the_same_have_one_digest),
        cmocka_unit_test(what_must_agree_is_in_the_digest),
        cmocka_unit_test(how_many_samples_there_are_is_in_the_digest),
        cmocka_unit_test(a_job_of_tensors_is_written_and_digested),
        cmocka_unit_test(the_short_form_survives_unresolved),
        cmocka_unit_test(paths_with_odd_characters_survive),
        cmocka_unit_test(any_path_survives),
        cmocka_unit_test(any_job_survives_with_its_digest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
