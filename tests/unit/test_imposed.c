/* Staleness that the dial imposes: what is drawn; and that updates get it, whoever is how fast. */
#include <math.h>

#include "common/base/rng.h"
#include "tests/unit/sequencer_desk.h"

/* ---- draws ---- */

static double chance_of(const struct tw_imposed_law *law, uint32_t number, uint32_t workers,
                        uint32_t k) {
    double q = number / (1.0 + number);
    if (law == &tw_imposed_uniform)
        return k < number ? 1.0 / number : 0;
    return k < workers ? (1 - q) * pow(q, k) / (1 - pow(q, workers)) : 0;
}

static void draws_have_their_law(void **state) {
    static const struct {
        const struct tw_imposed_law *law;
        uint32_t number, workers;
    } cases[] = {{&tw_imposed_uniform, 1, 1},   {&tw_imposed_uniform, 7, 9},
                 {&tw_imposed_geometric, 1, 1}, {&tw_imposed_geometric, 1, 10},
                 {&tw_imposed_geometric, 7, 8}, {&tw_imposed_geometric, 7, 52}};
    enum { DRAWS = 60000 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t number = cases[i].number, workers = cases[i].workers, seen[64] = {0};
        double chi = 0;
        for (uint64_t t = 1; t <= DRAWS; t++) {
            uint32_t drawn = tw_imposed_draw(cases[i].law, number, workers, 5, t);
            assert_true(drawn < workers);
            seen[drawn]++;
        }
        for (uint32_t k = 0; k < workers; k++) {
            double expected = DRAWS * chance_of(cases[i].law, number, workers, k);
            double off = seen[k] - expected;
            if (expected == 0)
                assert_int_equal(seen[k], 0);
            else
                chi += off * off / expected;
        }
        if (chi > workers + 5 * sqrt(2.0 * workers))
            fail_msg("case %zu: chi-square %g with %u values", i, chi, workers);
    }
}

static void ends_of_the_draw_are_within(void **state) {
    const double last = 1 - 0x1p-53;
    assert_int_equal(tw_imposed_uniform.draw(0, 7, 7), 0);
    assert_int_equal(tw_imposed_uniform.draw(last, 7, 7), 6);
    for (uint32_t workers = 1; workers <= 1024; workers++) {
        assert_int_equal(tw_imposed_geometric.draw(0, 3, workers), 0);
        assert_true(tw_imposed_geometric.draw(last, 3, workers) < workers);
    }
    assert_int_equal(tw_imposed_geometric.draw(last, 3, 8), 7);
}

static void draws_are_named_by_seed_and_update(void **state) {
    uint32_t other_seed = 0, other_update = 0;
    for (uint64_t t = 1; t <= 100; t++) {
        uint32_t drawn = tw_imposed_draw(&tw_imposed_uniform, 100, 100, 1, t);
        assert_int_equal(drawn,
                         (uint32_t)(100 * tw_rng_uniform_at(1, TW_STREAM_STALENESS, 0, t, 0)));
        other_seed += drawn == tw_imposed_draw(&tw_imposed_uniform, 100, 100, 2, t);
        other_update += drawn == tw_imposed_draw(&tw_imposed_uniform, 100, 100, 1, t + 1);
    }
    assert_true(other_seed < 10 && other_update < 10);
}

/* The least N with (m / (1 + m))^N <= 1/1000. */
static void a_law_says_how_many_workers_it_takes(void **state) {
    assert_int_equal(tw_imposed_uniform.workers(9), 9);
    for (uint32_t mean = 1; mean < 100; mean++) {
        uint32_t workers = tw_imposed_geometric.workers(mean);
        assert_true(pow(mean / (1.0 + mean), workers) <= .001);
        assert_true(pow(mean / (1.0 + mean), workers - 1.0) > .001);
    }
    assert_true(tw_imposed_geometric.workers(UINT32_MAX) > TW_WORKERS_MAX);
}

/* ---- updates ---- */

enum { WORKERS = 5, SHARDS = 2, UPDATES = 400 };

struct party {
    struct desk desk;
    struct tw_rng rng;
    uint64_t staleness[UPDATES + 1];
    uint32_t slot[UPDATES + 1];
};

static void begin(struct party *party, const char *mode, uint64_t seed) {
    struct tw_sequencer_config config = desk_config(mode, WORKERS, SHARDS);
    *party = (struct party){.slot = {0}};
    tw_rng_init(&party->rng, seed, TW_STREAM_JITTER, 0, 0);
    config.seed = 8;
    desk_init(&party->desk, &config);
    desk_start(&party->desk);
}

static void note_commit(struct party *party) {
    const struct tw_record *commit = desk_record(&party->desk, TW_RECORD_COMMIT, 0);
    if (!commit)
        return;
    assert_int_equal(commit->count, 1);
    party->slot[commit->version] = commit->contributions[0].slot;
    party->staleness[commit->version] = commit->contributions[0].staleness;
}

/* A vote of any slot on any shard, or an answer. */
static void anything(struct party *party) {
    struct desk *desk = &party->desk;
    uint32_t slot = (uint32_t)tw_rng_below(&party->rng, WORKERS);
    uint32_t shard = (uint32_t)tw_rng_below(&party->rng, SHARDS);
    if (desk->preparing && tw_rng_below(&party->rng, 2))
        desk_sums_on(desk, shard, true);
    else if (desk->slot[slot].reading)
        desk_ready_on(desk, slot, shard);
    else
        return;
    note_commit(party);
}

static uint64_t drawn(const struct party *party, uint64_t update) {
    const struct tw_dial *dial = tw_sequencer_dial(party->desk.sequencer);
    return tw_imposed_draw(dial->imposed, dial->imposed_number, WORKERS, 8, update);
}

static void updates_have_what_was_drawn_in_any_order(void **state) {
    static const char *const modes[] = {"stale-uniform:1", "stale-uniform:3", "stale-uniform:5"};
    for (uint64_t seed = 0; seed < 30; seed++) {
        struct party party;
        begin(&party, modes[seed % 3], seed);
        while (party.desk.version < UPDATES)
            anything(&party);
        for (uint64_t t = 1; t <= UPDATES; t++) {
            uint64_t age = drawn(&party, t);
            assert_int_equal(party.slot[t], (t - 1) % WORKERS);
            assert_int_equal(party.staleness[t], age < t - 1 ? age : t - 1);
        }
        desk_fini(&party.desk);
    }
}

/* The others go on; each has its own turn, and soon what is drawn for it, again. */
static void the_evicted_have_no_turn(void **state) {
    for (uint64_t seed = 0; seed < 30; seed++) {
        uint32_t gone = (uint32_t)(seed % WORKERS);
        struct party party;
        begin(&party, "stale-uniform:3", seed);
        while (party.desk.version < 50 + seed % 7)
            anything(&party);
        desk_lose(&party.desk, gone);
        desk_step(&party.desk, &(struct tw_sequencer_event){.kind = TW_SEQ_EVICT, .evict = gone});
        note_commit(&party);
        while (party.desk.version < 200)
            anything(&party);
        for (uint64_t t = 70; t <= 200; t++) {
            assert_true(party.slot[t] != gone);
            assert_true(party.slot[t] != party.slot[t - 1] && party.slot[t] == party.slot[t - 4]);
            assert_int_equal(party.staleness[t], drawn(&party, t));
        }
        desk_join(&party.desk, (int)gone);
        desk_attach_all(&party.desk, gone);
        while (party.desk.version < 300)
            anything(&party);
        for (uint64_t t = 220; t <= 300; t++) {
            assert_int_equal(party.slot[t], (party.slot[t - 1] + 1) % WORKERS);
            assert_int_equal(party.staleness[t], drawn(&party, t));
        }
        desk_fini(&party.desk);
    }
}

/* Though the pushes of others wait, which would be enough for an update. */
static void whose_turn_it_is_is_waited_for(void **state) {
    struct party party;
    uint32_t early = 0;
    begin(&party, "stale-uniform:5", 1);
    for (uint32_t slot = 1; slot < WORKERS; slot++)
        if (party.desk.slot[slot].reading) {
            desk_ready(&party.desk, slot);
            early++;
        }
    assert_in_range(early, 1, WORKERS - 1);
    assert_int_equal(party.desk.version, 0);
    for (uint32_t slot = 0; slot < WORKERS; slot++)
        assert_int_equal(tw_sequencer_standing(party.desk.sequencer, slot).wanted, slot == 0);
    desk_fini(&party.desk);
}

/* From one law to another, and from a mode without one. */
static void a_turn_of_the_dial_brings_its_law(void **state) {
    static const char *const modes[] = {"async", "stale-uniform:5", "stale-uniform:2"};
    struct party party;
    begin(&party, "stale-uniform:3", 3);
    for (uint64_t i = 0; i < 3; i++) {
        struct tw_sequencer_event event = {.kind = TW_SEQ_TURN, .turn = {.ticket = i + 1}};
        assert_int_equal(
            tw_dial_parse(modes[i], (struct tw_where){"desk", 1}, WORKERS, &event.turn.dial, NULL),
            TW_OK);
        while (party.desk.version < 100 * i + 60 || party.desk.preparing)
            anything(&party);
        uint64_t turned = party.desk.version;
        desk_step(&party.desk, &event);
        while (party.desk.version < 100 * i + 100)
            anything(&party);
        for (uint64_t t = turned + 1; i > 0 && t <= 100 * i + 100; t++)
            assert_int_equal(party.slot[t], (t - turned - 1) % WORKERS);
        for (uint64_t t = 100 * i + 70; i > 0 && t <= 100 * i + 100; t++)
            assert_int_equal(party.staleness[t], drawn(&party, t));
    }
    desk_fini(&party.desk);
}

/* Its turn stays its own: what comes instead is fresher, and later ones are as drawn. */
static void a_gradient_that_is_not_finite_is_made_again(void **state) {
    struct party party;
    begin(&party, "stale-uniform:4", 1);
    while (party.desk.version < 40)
        anything(&party);
    uint32_t bad = 40 % WORKERS;
    while (!party.desk.slot[bad].reading || party.desk.preparing)
        anything(&party);
    for (uint32_t shard = 0; shard < SHARDS; shard++) {
        struct tw_sequencer_event vote = desk_vote(&party.desk, bad, shard);
        vote.ready.finite = false;
        desk_step(&party.desk, &vote);
    }
    assert_int_equal(tw_sequencer_total(party.desk.sequencer).dropped, 1);
    while (party.desk.version < 80)
        anything(&party);
    for (uint64_t t = 41; t <= 80; t++) {
        assert_int_equal(party.slot[t], (t - 1) % WORKERS);
        if (t == 41)
            assert_true(party.staleness[t] <= drawn(&party, t));
        else
            assert_int_equal(party.staleness[t], drawn(&party, t));
    }
    desk_fini(&party.desk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_have_their_law),
        cmocka_unit_test(ends_of_the_draw_are_within),
        cmocka_unit_test(draws_are_named_by_seed_and_update),
        cmocka_unit_test(a_law_says_how_many_workers_it_takes),
        cmocka_unit_test(updates_have_what_was_drawn_in_any_order),
        cmocka_unit_test(the_evicted_have_no_turn),
        cmocka_unit_test(whose_turn_it_is_is_waited_for),
        cmocka_unit_test(a_turn_of_the_dial_brings_its_law),
        cmocka_unit_test(a_gradient_that_is_not_finite_is_made_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
