/* A node's insides, shared by node.c and node_*.c.
 * Private to them. */
#ifndef TW_CORE_NODE_STATE_H
#define TW_CORE_NODE_STATE_H

#include "common/base/tally.h"
#include "server/core/node.h"
#include "server/core/portions.h"

struct tw_node_connection {
    struct tw_session session; /* state CLOSED: this number is free */
    uint8_t key[TW_SESSION_BYTES];
    uint32_t attempt; /* of an Attach that waits, or of the session */
    uint32_t serial;  /* of the connection that has this number now */
    bool paused;      /* data() said TW_AGAIN */
    bool receiving;   /* bytes of `push` are arriving in its place */
    struct tw_push push;
    bool asked; /* an operator's Query or Turn that is not answered yet */
};

/* Who holds a rank (or evaluates), and by which connections of this node. */
struct tw_node_member {
    uint32_t incarnation, attempt;
    uint8_t session[TW_SESSION_BYTES];
    uint32_t control, bulk; /* connection numbers; control only at the lead */
    bool orphan;            /* a deferred join was granted to a lost connection */
};

/* One of those who score the weights; all but `member` is the lead's. */
struct tw_node_evaluator {
    struct tw_node_member member;
    enum {
        TW_EVALUATOR_AWAY,
        TW_EVALUATOR_IDLE,    /* has not asked yet */
        TW_EVALUATOR_ASKING,  /* is answered by weights, or by a portion where it has them */
        TW_EVALUATOR_WORKING, /* was answered, and has not asked again */
    } state;
    uint64_t wanted; /* samples of its Ask */
    uint64_t test;   /* samples of its test data; 0: it scores all of them, always */
    bool valued;
    char numerics[TW_NUMERICS_MAX + 1];
    bool holds;       /* gets the weights of the evaluation under way, or has them */
    uint32_t portion; /* that it was given and has not answered; TW_NO_PORTION: none */
};

/* The last RELEASE to the evaluator, and what becomes of it. */
struct tw_node_evaluation {
    uint64_t to;   /* bit per evaluator: the weights go to it */
    bool begun;    /* as many as are waited for were there */
    bool present;  /* the sequencer was told that the evaluator is there, */
    bool asked;    /* ... that it asks, and has not answered */
    bool open;     /* it is not answered */
    uint32_t sole; /* who answers for all samples; TW_NOBODY: portions */
    uint64_t position, version;
    struct tw_portions portions;
    struct tw_tally tally; /* of those that are done */
};

/* Another server, as the lead sees it. */
struct tw_node_server {
    bool here;
    uint32_t connection;
    char address[TW_SERVER_ADDRESS];
};

struct tw_node {
    struct tw_node_config config;
    bool lead;
    struct tw_sequencer *sequencer; /* NULL unless lead */
    struct tw_shard *shard;
    struct tw_node_member *member; /* [slots] */
    struct tw_node_evaluator evaluator[TW_EVALUATORS_MAX];
    struct tw_node_evaluation evaluation;
    struct tw_node_server server[TW_SERVERS_MAX];  /* of the lead; [0] is not used */
    struct tw_view addresses[TW_SERVERS_MAX];      /* of them, for a Welcome in flight */
    uint64_t heard;                                /* position of the lead's last record */
    struct tw_node_connection *connection;         /* [config.connections] */
    uint32_t paused;                               /* any connection waits for a place */
    struct tw_sequencer_event input;               /* being carried out, where it is not told */
    struct tw_node_effect *effect;                 /* ring [effect_room] */
    uint32_t effect_next, effect_end, effect_room; /* from the next one up to the end */
    uint32_t effect_taken;                         /* is being carried out, or just behind us */
    uint32_t generation;                           /* of the last ROLLBACK */
    bool restored;
    bool finished, told_finished;
    bool over; /* goodbye was said: nobody joins any more */
    enum tw_status finished_status;
    bool orphans; /* any member is one */
    bool turning; /* a turn is being asked for; `refused`: its answer */
    enum tw_status refused;
    struct tw_error turn_error;               /* text of a CLOSE in flight */
    uint64_t turned_position, turned_version; /* of the last DIAL */
    struct tw_tensor_squares *steps;          /* [tensors] of the update that is told now: */
    uint64_t steps_version;                   /* this one */
    struct tw_sample sample;                  /* of the shards that have told so far; */
    uint32_t samples;                         /* so many */
    char refusal[TW_ERROR_TEXT];              /* text of a CLOSE in flight */
};

/* node.c */
struct tw_node_effect *tw_node_emit(struct tw_node *n, enum tw_node_effect_kind kind);
struct tw_frame *tw_node_say(struct tw_node *n, uint32_t connection, enum tw_body body);
struct tw_node_event *tw_node_tell(struct tw_node *n, enum tw_node_event_kind kind);
void tw_node_close(struct tw_node *n, uint32_t connection, enum tw_status status, const char *text);
/* This rank's worker is to push again. */
void tw_node_say_again(struct tw_node *n, uint32_t rank);
void tw_node_order_member(struct tw_node *n, const struct tw_node_order *order);
void tw_node_sequence(struct tw_node *n, const struct tw_sequencer_event *event);
void tw_node_vote(struct tw_node *n, const struct tw_node_vote *vote);
void tw_node_hear_vote(struct tw_node *n, const struct tw_node_vote *vote);

/* node_session.c */
void tw_node_learn_member(struct tw_node *n, const struct tw_node_order *order);
void tw_node_on_joined(struct tw_node *n, const struct tw_sequencer_effect *effect);
void tw_node_on_refused(struct tw_node *n, const struct tw_sequencer_effect *effect);
void tw_node_drop_worker(struct tw_node *n, uint32_t rank, uint32_t attempt, const char *why);

/* node_evaluator.c: of the lead, but for the first two. */
size_t tw_node_evaluation_bytes(const struct tw_node_config *config);
void tw_node_evaluation_init(struct tw_node *n, void *memory);
/* Which number a Join gets; TW_RANK_TAKEN, TW_LIMIT, TW_FENCED, TW_WRONG_JOB, TW_NUMERICS. */
enum tw_status tw_node_number_evaluator(const struct tw_node *n, const struct tw_join *join,
                                        uint32_t *number, struct tw_error *error);
/* It has joined, is attached, is gone (and was attached). */
void tw_node_note_evaluator(struct tw_node *n, uint32_t number, const struct tw_join *join);
void tw_node_evaluator_here(struct tw_node *n, uint32_t number);
void tw_node_evaluator_gone(struct tw_node *n, uint32_t number);
/* A RELEASE to the evaluator: who gets the weights, and what they score. */
void tw_node_deal(struct tw_node *n, const struct tw_record *record);
enum tw_status tw_node_on_ask(struct tw_node *n, uint32_t number, uint64_t samples,
                              struct tw_error *error);
enum tw_status tw_node_on_evaluation(struct tw_node *n, uint32_t number,
                                     const struct tw_evaluation *evaluation,
                                     struct tw_error *error);
enum tw_status tw_node_on_tally(struct tw_node *n, uint32_t number,
                                const struct tw_tally_frame *tally, struct tw_error *error);

uint64_t tw_node_ticket(const struct tw_node *n, uint32_t connection);

/* node_server.c */
void tw_node_fill_addresses(struct tw_node *n, struct tw_welcome *welcome);
enum tw_status tw_node_on_serve(struct tw_node *n, uint32_t connection,
                                const struct tw_serve *serve, struct tw_error *error);
void tw_node_lose_server(struct tw_node *n, uint32_t index, const char *why);

/* node_operator.c */
void tw_node_on_turned(struct tw_node *n, const struct tw_sequencer_effect *effect);
void tw_node_tell_turned(struct tw_node *n, const struct tw_record *record);
enum tw_status tw_node_join_operator(struct tw_node *n, uint32_t connection,
                                     struct tw_error *error);
enum tw_status tw_node_on_query(struct tw_node *n, uint32_t connection,
                                const struct tw_query *query, struct tw_error *error);
enum tw_status tw_node_on_turn(struct tw_node *n, uint32_t connection, const struct tw_turn *turn,
                               struct tw_error *error);

#endif
