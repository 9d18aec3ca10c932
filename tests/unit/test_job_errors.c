/* Every kind of wrong job, with its exact message. Whole files that are wrong in
 * one place stand in tests/golden/job (test_job_golden.c); here are the pieces. */
#include "tests/unit/job_desk.h"

#include "common/base/text.h"

#define TOP_KEYS                                                                                   \
    "known: model, data, batch, epochs, updates, optimizer, schedule, gradient, clip, "            \
    "weight_decay, groups, average, consistency, cluster, on_worker_loss, on_divergence, slots, "  \
    "accumulate, local_steps, seed, seeds, chunk, encoding, worker, trace, memory, checkpoint, "   \
    "stop, corrections, poll_us"

static void keys_that_nobody_knows(void **state) {
    static const struct desk_row rows[] = {
        {NULL, "optimiser: adam",
         ":14: optimiser: unknown key; did you mean \"optimizer\"? " TOP_KEYS},
        {NULL, "velocity: 3", ":14: velocity: unknown key; " TOP_KEYS},
        {NULL, "cluster: {worker: 3}",
         ":14: cluster.worker: unknown key; did you mean \"workers\"? known: servers, workers, "
         "evaluators"},
        {NULL, "consistency: {bound: 3}",
         ":14: consistency.bound: unknown key; known: mode, turns"},
        {NULL, "worker: {blas: Zen}", ":14: worker.blas: unknown key; known: blas_core"},
        {"  input", "  inputs: [3]",
         ":2: model.inputs: unknown key; did you mean \"input\"? known: input, layers, loss, "
         "tensors, objective, init"},
        {"  train", "  trian: {format: idx}",
         ":10: data.trian: unknown key; did you mean \"train\"? known: train, test, validation, "
         "standardise, augment, shard, samples, sha256"},
    };
    DESK_CHECK(rows);
}

static void what_stands_around_the_rule(void **state) {
    static const struct desk_row rows[] = {
        {NULL, "gradient: 7",
         ":14: gradient: \"7\" is not known here; it must be one of mean, sum"},
        {NULL, "clip: 1",
         ":14: clip: a single value where keys and values should stand: {norm: 1} or {value: 0.5}"},
        {NULL, "clip: {norm: 0}", ":14: clip.norm: 0 is out of range; it must be a number above 0"},
        {NULL, "clip: {norm: 1, value: 1}", ":14: clip: norm and value; give one of the two"},
        {NULL, "clip: {nrm: 1}",
         ":14: clip.nrm: unknown key; did you mean \"norm\"? known: norm, "
         "value"},
        {NULL, "weight_decay: {l2: nan}",
         ":14: weight_decay.l2: \"nan\" is not a number; it must be one above 0"},
        {NULL, "groups: {tensors: a}",
         ":14: groups: a mapping where a list should stand: groups such as [{tensors: "
         "\"*.bias\", decay: false}]"},
        {NULL, "groups: [{lr: 2}]",
         ":14: groups[0].tensors: missing; a pattern of names, such as \"*.bias\""},
        {NULL, "groups: [{tensors: a, lr: -1}]",
         ":14: groups[0].lr: -1 is out of range; it must be a number above 0"},
        {NULL, "groups: [{tensors: a, decay: no}]",
         ":14: groups[0].decay: \"no\" is not known here; it must be one of false, true"},
    };
    DESK_CHECK(rows);
}

static void keys_that_come_later(void **state) {
    static const char *const keys[] = {"durability"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char text[64], message[128];
        snprintf(text, sizeof text, "%s: {every: 3}", keys[i]);
        snprintf(message, sizeof message,
                 ":14: %s: not available yet in Talweg " TALWEG_VERSION "; take it out", keys[i]);
        desk_refused_with(NULL, text, message);
    }
}

static void keys_that_are_missing(void **state) {
    static const struct desk_row rows[] = {
        {"batch", "", ": batch: missing; the examples of one update, such as 128"},
        {"epochs", "", ": epochs: missing; how long to train: epochs: 10, or updates: 1000"},
        {"optimizer", "", ": optimizer: missing; an optimizer such as {name: adam, lr: 0.001}"},
        {"optimizer", "optimizer: {lr: 1}",
         ":13: optimizer.name: missing; an optimizer such as {name: adam, lr: 0.001}"},
        {"  input", "", ":1: model.input: missing; the shape of one sample, such as [1, 28, 28]"},
        {"  loss", "", ":1: model.loss: missing; a loss such as softmax_cross_entropy"},
        {"  train", "  shard: epoch",
         ":9: data.train: missing; data such as {format: idx, images: FILE, labels: FILE}"},
        {"  train", "  train: {images: a}",
         ":10: data.train.format: missing; data such as {format: idx, images: FILE, labels: "
         "FILE}"},
    };
    DESK_CHECK(rows);
    desk_refused("batch: 3\n",
                 ": model: missing; it needs input, layers and loss, or objective, or tensors");
    desk_refused("model: {input: 3, loss: mse}\n",
                 ":1: model.layers: missing; the list of layers, such as [flatten, {dense: 10}]");
    desk_refused(DESK_MODEL "batch: 3\n", ": data.train: missing; data such as {format: idx, "
                                          "images: FILE, labels: FILE}");
}

static void keys_that_are_given_twice(void **state) {
    static const struct desk_row rows[] = {
        {NULL, "batch: 3", ":14: batch: given twice, here and in line 11; take one out"},
        {NULL, "cluster: {workers: 1,\n  workers: 2}",
         ":15: cluster.workers: given twice, here and in line 14; take one out"},
        {"    - flatten", "    - {dense: {units: 3, \"units\": 4}}",
         ":4: model.layers[0].dense.units: given twice, here and in line 4; take one out"},
    };
    DESK_CHECK(rows);
}

static void values_that_are_no_numbers(void **state) {
    static const struct desk_row rows[] = {
        {"batch", "batch: abc",
         ":11: batch: \"abc\" is not a whole number; it must be one from 1 to 1073741824"},
        {"batch", "batch: \"128\"",
         ":11: batch: \"128\" in quotes is text; write the whole number without quotes"},
        {"batch", "batch: 1.5",
         ":11: batch: \"1.5\" is not a whole number; it must be one from 1 to 1073741824"},
        {"batch", "batch: yes",
         ":11: batch: \"yes\" is not a whole number; it must be one from 1 to 1073741824"},
        {"epochs", "epochs: .inf",
         ":12: epochs: \".inf\" is not a number; it must be one above 0 and at most 1000000000"},
        {NULL, "seed: 1.0",
         ":14: seed: \"1.0\" is not a seed; it must be a whole number from 0 to "
         "18446744073709551615, without quotes"},
        {NULL, "chunk: 256KB",
         ":14: chunk: \"256KB\" is not a size; write bytes, or a whole number of KiB, MiB or GiB, "
         "such "
         "as 256KiB"},
        {NULL, "chunk: -1",
         ":14: chunk: \"-1\" is not a size; write bytes, or a whole number of KiB, MiB or GiB, "
         "such as "
         "256KiB"},
    };
    DESK_CHECK(rows);
}

static void values_out_of_range(void **state) {
    static const struct desk_row rows[] = {
        {"batch", "batch: 0",
         ":11: batch: 0 is out of range; it must be a whole number from 1 to 1073741824"},
        {"batch", "batch: 1073741825",
         ":11: batch: 1073741825 is out of range; it must be a whole number from 1 to "
         "1073741824"},
        {"epochs", "epochs: 0",
         ":12: epochs: 0 is out of range; it must be a number above 0 and at most 1000000000"},
        {NULL, "updates: 0",
         ":14: updates: 0 is out of range; it must be a whole number from 1 to "
         "1000000000000000"},
        {NULL, "cluster: {servers: 65}",
         ":14: cluster.servers: 65 is out of range; it must be a whole number from 1 to 64"},
        {NULL, "cluster: {workers: 0}",
         ":14: cluster.workers: 0 is out of range; it must be a whole number from 1 to 4096"},
        {NULL, "seed: -1",
         ":14: seed: \"-1\" is not a seed; it must be a whole number from 0 to "
         "18446744073709551615, without quotes"},
        {NULL, "seed: 18446744073709551616",
         ":14: seed: \"18446744073709551616\" is not a seed; it must be a whole number from 0 to "
         "18446744073709551615, without quotes"},
        {NULL, "seeds: 7",
         ":14: seeds: a single value where keys and values should stand: {sampling: 7}"},
        {NULL, "seeds: {delay: 7}",
         ":14: seeds.delay: unknown key; known: init, sampling, noise, dropout, split, "
         "augment, staleness"},
        {NULL, "seeds: {noise: x}",
         ":14: seeds.noise: \"x\" is not a seed; it must be a whole number from 0 to "
         "18446744073709551615, without quotes"},
        {NULL, "chunk: 32KiB", ":14: chunk: 32KiB is out of range; it must be from 64KiB to 4MiB"},
        {NULL, "chunk: 8MiB", ":14: chunk: 8MiB is out of range; it must be from 64KiB to 4MiB"},
        {NULL, "chunk: 100000",
         ":14: chunk: 100000 is not a multiple of 64KiB, the size of a block"},
        {NULL, "poll_us: 1001",
         ":14: poll_us: 1001 is out of range; it must be a whole number from 0 to 1000"},
        {"  input", "  input: [1, 0]",
         ":2: model.input[1]: 0 is out of range; it must be a whole number from 1 to "
         "1099511627776"},
        {"  input", "  input: [1099511627776, 2]",
         ":2: model.input: more than 1099511627776 elements in one sample"},
        {"  input", "  input: [1, 1, 1, 1, 1, 1, 1, 1, 1]",
         ":2: model.input: 9 dimensions; a shape has at most 8"},
        {NULL, "cluster: {workers: 129}",
         ":11: batch: 128 is fewer than the 129 workers; each needs at least one example of every "
         "update"},
        {NULL, "data: {train: idx}", ":14: data: given twice, here and in line 9; take one out"},
        {"  train", "  train: {format: idx}\n  shard: epcoh",
         ":11: data.shard: \"epcoh\" is not known here; did you mean \"epoch\"? it must be one of "
         "epoch, fixed, own"},
        {NULL, "consistency: {turns: []}",
         ":14: consistency.turns: empty; give turns such as - {update: 500, mode: async}"},
        {NULL, "consistency: {turns: [{update: 5}]}",
         ":14: consistency.turns[0].mode: missing; the mode from there on, such as async"},
        {NULL, "consistency: {turns: [{mode: async}]}",
         ":14: consistency.turns[0].update: missing; after which update, such as 500"},
        {NULL, "consistency: {turns: [{update: 0, mode: async}]}",
         ":14: consistency.turns[0].update: 0 is out of range; it must be a whole number from 1 to "
         "1000000000000000"},
        {NULL, "consistency: {turns: [{update: 7, mode: async}, {update: 7, mode: sync}]}",
         ":14: consistency.turns[1].update: 7 does not come after the turn before, at 7"},
        {NULL, "consistency: {mode: \"\"}",
         ":14: consistency.mode: 0 bytes long; give a mode such as sync"},
        {NULL, "worker: {blas_core: \"a b\"}",
         ":14: worker.blas_core: \"a b\" is not the name of an OpenBLAS core; write letters and "
         "digits, such as Haswell"},
    };
    DESK_CHECK(rows);
}

static void values_of_the_wrong_kind(void **state) {
    static const struct desk_row rows[] = {
        {"batch", "batch:", ":11: batch: no value; give one, or take the key out"},
        {"batch", "batch: ~", ":11: batch: no value; give one, or take the key out"},
        {"batch", "batch: null", ":11: batch: no value; give one, or take the key out"},
        {"batch", "batch: [1]",
         ":11: batch: a list where one value should stand; write key: value"},
        {"batch", "batch: {a: 1}",
         ":11: batch: a mapping where one value should stand; write key: value"},
        {NULL, "cluster: 3",
         ":14: cluster: a single value where keys and values should stand: {servers: 1, workers: "
         "2}"},
        {NULL, "cluster:",
         ":14: cluster: empty where keys and values should stand: {servers: 1, workers: 2}"},
        {NULL, "cluster: {}", ":14: cluster: empty; give {servers: 1, workers: 2}"},
        {"optimizer", "optimizer: [adam]",
         ":13: optimizer: a list where keys and values should stand: an optimizer such as {name: "
         "adam, lr: 0.001}"},
        {"optimizer", "optimizer: {name: adam, lr: [\"\"]}",
         ":13: optimizer.lr[0]: empty, or with control characters; a list of an option holds "
         "numbers or words, such as [1, 2.5] or [age, height]"},
        {NULL, "schedule: [linear]",
         ":14: schedule: a list where keys and values should stand: a schedule such as {name: "
         "linear, to: 0.001, over: 1000}"},
        {NULL, "schedule: {to: 3}",
         ":14: schedule.name: missing; a schedule such as {name: linear, to: 0.001, over: 1000}"},
        {NULL, "schedule: {lr: constant, beta1: constant}",
         ":14: schedule.beta1: unknown key; known: lr, momentum"},
        {"optimizer", "optimizer: {name: adam, lr: }",
         ":13: optimizer.lr: no value; give one, or take the key out"},
        {"optimizer", "optimizer: {name: \"\"}",
         ":13: optimizer.name: an empty name; give an optimizer such as {name: adam, lr: 0.001}"},
        {"  input", "  input: {a: 1}",
         ":2: model.input: a mapping where a shape should stand, such as [28, 28]"},
        {"  input", "  input: []",
         ":2: model.input: empty; give the shape of one sample, such as [1, 28, 28]"},
        {"  input", "  input: [a]",
         ":2: model.input[0]: \"a\" is not a whole number; it must be one from 1 to "
         "1099511627776"},
        {"    - flatten", "    - {a: 1, b: 2}",
         ":4: model.layers[0]: 2 names in one entry, \"a\" and \"b\"; give a layer such as dense: "
         "256"},
        {"    - flatten", "    -", ":4: model.layers[0]: no value; give one, or take the key out"},
        {"    - flatten", "    - [relu]",
         ":4: model.layers[0]: a list where keys and values should stand: a layer such as dense: "
         "256"},
        {"    - flatten", "    - dense: [3, [3]]",
         ":4: model.layers[0].dense[1]: a list where one value should stand; write key: value"},
    };
    DESK_CHECK(rows);
    desk_refused("model: {input: 3, layers: dense, loss: mse}\n",
                 ":1: model.layers: a single value where a list should stand: layers such as "
                 "[flatten, {dense: 10}]");
    desk_refused("model: {input: 3, layers: [], loss: mse}\n",
                 ":1: model.layers: empty; give layers such as [flatten, {dense: 10}]");
}

static void gradients_of_one_s_own(void **state) {
    static const char rest[] = "optimizer: sgd\n";
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"model: {tensors: {w: [2]}, loss: mse}\nupdates: 3\n",
         ":1: model.loss: stands beside model.tensors; give tensors for gradients of your own "
         "program, an objective, or input, layers and loss"},
        {"model: {objective: beale, loss: mse}\nupdates: 3\n",
         ":1: model.loss: stands beside model.objective; give tensors for gradients of your own "
         "program, an objective, or input, layers and loss"},
        {"model: {objective: beale}\nupdates: 3\ndata: {train: idx}\n",
         ":3: data: model.objective needs no data; take it out"},
        {"model: {objective: beale}\nupdates: 3\nepochs: 3\n",
         ":3: epochs: counts passes over data, and model.objective has none; give updates"},
        {"model: {objective: beale}\n",
         ": updates: missing; how many updates to make, such as 1000"},
        {"model: {tensors: {w: [2]}}\nupdates: 3\ndata: {train: idx}\n",
         ":3: data: model.tensors means gradients of your own program, which reads its data "
         "itself; take it out"},
        {"model: {tensors: {w: [2]}}\nupdates: 3\nepochs: 3\n",
         ":3: epochs: counts passes over data, and model.tensors has none; give updates"},
        {"model: {tensors: {w: [2]}}\n",
         ": updates: missing; how many updates to make, such as 1000"},
        {"model: {tensors: {}}\nupdates: 3\n",
         ":1: model.tensors: empty; give tensors such as {w: [784, 10], b: [10]}"},
        {"model: {tensors: [w]}\nupdates: 3\n",
         ":1: model.tensors: a list where keys and values should stand: tensors such as {w: [784, "
         "10], b: [10]}"},
        {"model: {tensors: {w: [0]}}\nupdates: 3\n",
         ":1: model.tensors.w[0]: 0 is out of range; it must be a whole number from 1 to "
         "1099511627776"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[256];
        snprintf(text, sizeof text, "%s%s", rows[i].text, rest);
        desk_refused(text, rows[i].message);
    }
}

static void tensors_whose_names_or_sizes_are_wrong(void **state) {
    struct tw_error error = {0};
    assert_null(desk_parse("model: {tensors: {\"a b\": [2]}}\nupdates: 3\noptimizer: sgd\n", NULL,
                           0, &error));
    assert_memory_equal(error.text, "/jobs/job.yaml:1: model.tensors.a b: ", 37);
    assert_int_equal(error.status, TW_JOB);
    assert_null(desk_parse("model: {tensors: {a: [1099511627776, 2]}}\nupdates: 3\n"
                           "optimizer: sgd\n",
                           NULL, 0, &error));
    assert_memory_equal(error.text, "/jobs/job.yaml:1: model.tensors.a: ", 35);
}

static void settings_are_named_as_they_were_typed(void **state) {
    static const struct {
        const char *key, *value, *flag, *message;
    } rows[] = {
        {"cluster.workers", "0", "--workers",
         "--workers 0: cluster.workers: 0 is out of range; it must be a whole number from 1 to "
         "4096"},
        {"batch", "abc", "--set batch",
         "--set batch=abc: batch: \"abc\" is not a whole number; it must be one from 1 to "
         "1073741824"},
        {"batch", "", "--set batch",
         "--set batch=: batch: no value; give one, or take the key out"},
        {"batchs", "3", "--set batchs",
         "--set batchs=3: batchs: unknown key; did you mean \"batch\"? " TOP_KEYS},
        {"durability", "journal", "--set durability",
         "--set durability=journal: durability: not available yet in Talweg " TALWEG_VERSION
         "; take it out"},
        {"checkpoint", "3", "--set checkpoint",
         "--set checkpoint=3: checkpoint: a single value where keys and values should stand: "
         "{every: 1000, keep: 2}"},
        {"checkpoint.seconds", "0.0009", "--set checkpoint.seconds",
         "--set checkpoint.seconds=0.0009: checkpoint.seconds: 0.0009 is too short; it must be 0, "
         "not by time, or a number from 0.001 to 1000000"},
        {"checkpoint.keep", "0", "--set checkpoint.keep",
         "--set checkpoint.keep=0: checkpoint.keep: 0 is out of range; it must be a whole number "
         "from 1 to 1000"},
        {"cluster.workers", "129", "--workers",
         "--workers 129: cluster.workers: 129 workers share batch: 128; each needs at least one "
         "example of every update"},
        {"batch.size", "3", "--set batch.size",
         "--set batch.size=3: batch: is a single value with no keys in it"},
        {"optimizer.lr.x", "3", "--set optimizer.lr.x",
         "--set optimizer.lr.x=3: optimizer.lr: is a single value with no keys in it"},
        {"model.layers.1", "relu", "--set model.layers.1",
         "--set model.layers.1=relu: model.layers: is a list; give the whole list, such as --set "
         "'model.layers=[...]'"},
        {"optimizer", "{lr: 1, lr: 2}", "--set optimizer",
         "--set optimizer={lr: 1, lr: 2}: optimizer.lr: given twice; take one out"},
        {"", "3", "--set ",
         "--set =3: not the name of a key; write one such as batch or optimizer.lr"},
        {"optimizer..lr", "3", "--set optimizer..lr",
         "--set optimizer..lr=3: not the name of a key; write one such as batch or optimizer.lr"},
        {"a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q", "3", "--set deep",
         "--set deep=3: not the name of a key; write one such as batch or optimizer.lr"},
        {"ba\xff", "3", "--set batch", "--set batch=3: a key that is not valid UTF-8"},
        {"batch", "[", "--set batch",
         "--set batch=[: not valid YAML, while parsing a flow node: did not find expected node "
         "content; give a value, or close the bracket"},
        {"batch", "&a 3", "--set batch",
         "--set batch=&a 3: anchors (&name) are not allowed; write the value itself"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tw_error error = {0};
        assert_null(desk_set(rows[i].key, rows[i].value, rows[i].flag, &error));
        assert_int_equal(error.status, TW_JOB);
        assert_string_equal(error.text, rows[i].message);
    }
}

static void a_setting_in_a_key_without_a_value(void **state) {
    const struct tw_job_setting setting = {"optimizer.lr", "1", "--set optimizer.lr", NULL};
    struct tw_error error = {0};
    assert_null(
        desk_parse(DESK_MODEL DESK_DATA "batch: 1\nupdates: 1\noptimizer:\n", &setting, 1, &error));
    assert_string_equal(error.text, "/jobs/job.yaml:13: optimizer.name: missing; an optimizer "
                                    "such as {name: adam, lr: 0.001}");
}

static void a_folder_whose_name_is_no_text(void **state) {
    struct tw_error error = {0};
    struct tw_job *job;
    assert_int_equal(
        tw_job_parse(&job, "/jo\xff/job.yaml", DESK_JOB, strlen(DESK_JOB), NULL, 0, &error),
        TW_JOB);
    assert_non_null(strstr(error.text, ":10: data.train.images: lies in a folder whose name is "
                                       "not valid UTF-8; give an absolute path"));
}

static void text_that_is_no_yaml(void **state) {
    static const struct desk_row rows[] = {
        {"batch", "batch: [1, 2",
         ":12: not valid YAML, while parsing a flow sequence: did not find expected ',' or ']'; "
         "check the brackets and the commas"},
        {"batch", "\tbatch: 3",
         ":11: not valid YAML, while scanning for the next token: found character that cannot "
         "start any token; indent with blanks, not with tabs"},
        {"batch", "batch: @x",
         ":11: not valid YAML, while scanning for the next token: found character that cannot "
         "start any token; put the text in quotes"},
        {"batch", "batch: a: b",
         ":11: not valid YAML: mapping values are not allowed in this context; check the "
         "indentation, or put text with ':' in quotes"},
        {"batch", " batch: 3",
         ":11: not valid YAML, while parsing a block mapping: did not find expected key; check "
         "the indentation and the brackets"},
        {"batch", "batch: \"3",
         ":14: not valid YAML, while scanning a quoted scalar: found unexpected end of stream; "
         "close the bracket or the quotes"},
    };
    DESK_CHECK(rows);
}

static void yaml_that_a_job_has_no_use_for(void **state) {
    static const struct desk_row rows[] = {
        {"batch", "batch: &b 3", ":11: anchors (&name) are not allowed; write the value itself"},
        {"epochs", "epochs: *b", ":12: aliases (*name) are not allowed; write the value itself"},
        {"batch", "batch: !!int 3", ":11: tags (!name) are not allowed; take it out"},
        {"batch", "batch: !x [3]", ":11: tags (!name) are not allowed; take it out"},
        {"batch", "cluster: !!map {workers: 3}", ":11: tags (!name) are not allowed; take it out"},
        {"batch", "? [a, b]\n: 3", ":11: a key must be a word, not a list or a mapping"},
        {"batch", "\"\": 3", ":11: a key without a name before ':'"},
        {"batch", "batch: \"a\\0b\"", ":11: text with a zero byte (\\0) in it; take it out"},
        {NULL, "---\nbatch: 3", ":14: a second document begins; a job file holds one job"},
    };
    DESK_CHECK(rows);
}

static void files_that_hold_no_job(void **state) {
    desk_refused("", ": no job in it; see the example in docs/job.md");
    desk_refused("# nothing\n\n", ": no job in it; see the example in docs/job.md");
    desk_refused("~", ": no job in it; see the example in docs/job.md");
    desk_refused("- a\n",
                 ":1: a list where keys and values should stand; a job begins with model:");
    desk_refused("train\n",
                 ":1: a single value where keys and values should stand; a job begins with "
                 "model:");
}

static void bytes_that_are_no_text(void **state) {
    static const char zero[] = "batch: 3\nepochs\0: 3\n";
    desk_refused_bytes(zero, sizeof zero - 1, ":2: a zero byte; a job is text, in UTF-8");
    desk_refused("batch: 3\nname: \xff\xfe\n",
                 ":2: not valid YAML: invalid leading UTF-8 octet; save the file as UTF-8");
    desk_refused("batch: 3\n\nname: \xc3(\n",
                 ":3: not valid YAML: invalid trailing UTF-8 octet; save the file as UTF-8");
    desk_refused("batch: \x01\n", ":1: not valid YAML: control characters are not allowed; take "
                                  "the character out");
    desk_refused("\xff\xfe\x4e\x2d\x4e\x2d",
                 ":1: not valid YAML: invalid leading UTF-8 octet; save the file as UTF-8");
    static const char utf16[] = "\xff\xfe"
                                "b\0:\0 \0"
                                "3\0";
    desk_refused_bytes(utf16, sizeof utf16 - 1, ":1: a zero byte; a job is text, in UTF-8");
}

static void more_than_a_job_may_hold(void **state) {
    struct tw_text text = {0};
    for (int i = 0; i < 40; i++)
        tw_text_add(&text, "[");
    desk_refused(text.at, ":1: nested deeper than 16 levels; a job needs fewer");

    tw_text_clear(&text);
    tw_text_add(&text, "a: [");
    for (int i = 0; i < 5000; i++)
        tw_text_add(&text, "1,\n");
    desk_refused(text.at, ":1025: more than 1024 entries in one list or mapping");

    tw_text_clear(&text);
    for (int i = 0; i < 1000; i++)
        tw_text_add(&text, "k%d: [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]\n", i);
    desk_refused(text.at, ":910: more than 20000 values and keys; a job has fewer");

    tw_text_clear(&text);
    for (int i = 0; i < 600; i++)
        tw_text_add(&text, "k");
    tw_text_add(&text, ": 3\n");
    desk_refused(text.at, ":1: a key is longer than 512 bytes");

    tw_text_clear(&text);
    while (text.size <= TW_JOB_BYTES_MAX)
        tw_text_add(&text, "# 3456789\n");
    desk_refused_bytes(text.at, text.size, ": longer than 1048576 bytes; a job is shorter");
    tw_text_fini(&text);
}

static void names_and_paths_that_are_too_long(void **state) {
    char name[5000], job[6000], value[100];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    snprintf(job, sizeof job,
             DESK_MODEL "data: {train: {format: idx, images: %s}}\n"
                        "batch: 1\nupdates: 1\noptimizer: sgd\n",
             name);
    desk_refused(job, ":9: data.train.images: longer than a path may be (4095 bytes)");
    snprintf(value, sizeof value, "%.70s", name);
    struct tw_error error = {0};
    assert_null(desk_set("optimizer.name", value, "--set optimizer.name", &error));
    assert_non_null(strstr(error.text, ": optimizer.name: longer than any name; give"));
    assert_null(desk_set("model.loss",
                         "{nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
                         "nnnnnnnnnnnnnnnnn: 1}",
                         "--set model.loss", &error));
    assert_non_null(strstr(error.text, "longer than any name; give a loss"));
    char path[6000];
    snprintf(path, sizeof path, "/%s/job.yaml", name);
    struct tw_job *out;
    assert_int_equal(tw_job_parse(&out, path, DESK_JOB, strlen(DESK_JOB), NULL, 0, &error), TW_JOB);
}

static void more_options_than_any_variant_has(void **state) {
    struct tw_text text = {0};
    tw_text_add(&text, "{name: adam");
    for (int i = 0; i < 64; i++)
        tw_text_add(&text, ", k%d: 1", i);
    tw_text_add(&text, "}");
    struct tw_error error = {0};
    assert_null(desk_set("optimizer", text.at, "--set optimizer", &error));
    assert_non_null(strstr(error.text, ": optimizer: 65 options; none knows more than 64"));
    tw_text_fini(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_that_nobody_knows),
        cmocka_unit_test(what_stands_around_the_rule),
        cmocka_unit_test(keys_that_come_later),
        cmocka_unit_test(keys_that_are_missing),
        cmocka_unit_test(keys_that_are_given_twice),
        cmocka_unit_test(values_that_are_no_numbers),
        cmocka_unit_test(values_out_of_range),
        cmocka_unit_test(values_of_the_wrong_kind),
        cmocka_unit_test(gradients_of_one_s_own),
        cmocka_unit_test(tensors_whose_names_or_sizes_are_wrong),
        cmocka_unit_test(settings_are_named_as_they_were_typed),
        cmocka_unit_test(a_setting_in_a_key_without_a_value),
        cmocka_unit_test(a_folder_whose_name_is_no_text),
        cmocka_unit_test(text_that_is_no_yaml),
        cmocka_unit_test(yaml_that_a_job_has_no_use_for),
        cmocka_unit_test(files_that_hold_no_job),
        cmocka_unit_test(bytes_that_are_no_text),
        cmocka_unit_test(more_than_a_job_may_hold),
        cmocka_unit_test(names_and_paths_that_are_too_long),
        cmocka_unit_test(more_options_than_any_variant_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
