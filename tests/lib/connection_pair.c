#include "tests/lib/connection_pair.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/net/listen.h"

enum { PATIENCE_MS = 120000 };

static void must(bool holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "connection_pair: %s\n", what);
        abort();
    }
}

/* ---- the owner of an end ---- */

static void on_bytes(struct tw_connection *connection) {
    struct end *end = tw_connection_context(connection);
    end->bytes++;
}

static enum tw_status on_data(struct tw_connection *connection, const struct tw_frame *frame,
                              void **place, struct tw_error *error) {
    struct end *end = tw_connection_context(connection);
    must(end->bytes > 0, "bytes are told of before what they begin");
    if (end->blocked > 0) {
        end->again++;
        end->bytes = 0; /* they are told of once more when they are looked at again */
        return TW_AGAIN;
    }
    free(end->place);
    *place = end->place = malloc(frame->data_bytes);
    if (end->when_data != NULL) {
        end->when_data(end);
    }
    return TW_OK;
}

static void note(struct tw_text *text, const struct tw_frame *frame, const void *data) {
    size_t size = tw_frame_prefix_bytes(frame);
    unsigned char *prefix = malloc(size);
    must(tw_frame_encode(frame, prefix, size) == size, "a frame can be encoded");
    tw_text_add_bytes(text, prefix, size);
    tw_text_add_bytes(text, data, frame->data_bytes);
    free(prefix);
}

static enum tw_status on_frame(struct tw_connection *connection, const struct tw_frame *frame,
                               void *data, struct tw_error *error) {
    struct end *end = tw_connection_context(connection);
    must(end->closed == 0, "no frame comes after on_closed");
    must(end->bytes > 0, "bytes are told of before what they complete");
    end->frames++;
    note(&end->record, frame, data);
    if (end->when_frame != NULL) {
        end->when_frame(end, frame);
    }
    return TW_OK;
}

static void on_drained(struct tw_connection *connection) {
    struct end *end = tw_connection_context(connection);
    must(tw_connection_queued(connection) == 0, "an empty queue holds nothing");
    end->drained++;
}

static void on_released(struct tw_connection *connection, uint32_t lane, void *token) {
    struct end *end = tw_connection_context(connection);
    must(end->closed == 0, "everything is released before on_closed");
    must((uintptr_t)token < PAIR_TOKENS, "the token is one of ours");
    end->released[(uintptr_t)token]++;
    end->releases++;
    if (end->when_released != NULL) {
        end->when_released(end);
    }
}

static void on_closed(struct tw_connection *connection, const struct tw_error *error) {
    struct end *end = tw_connection_context(connection);
    end->closed++;
    end->error = *error;
    if (end->free_when_closed) {
        tw_connection_free(connection);
        end->connection = NULL;
    }
}

static const struct tw_connection_events events = {
    .on_bytes = on_bytes,
    .on_data = on_data,
    .on_frame = on_frame,
    .on_released = on_released,
    .on_drained = on_drained,
    .on_closed = on_closed,
};

static void make_end(struct pair *pair, struct end *end) {
    must(tw_connection_new(&end->connection, &pair->host, &events, end) == TW_OK,
         "a connection can be made");
    tw_connection_limit(end->connection, TW_FRAME_BYTES_MAX, true);
}

/* ---- the pair ---- */

static void on_connection(uv_stream_t *listener, int code) {
    struct pair *pair = listener->data;
    must(code == 0, "listening works");
    make_end(pair, &pair->b);
    must(tw_connection_accept(pair->b.connection, listener, NULL) == TW_OK, "accepting works");
    pair->b.opened++;
}

static void on_guard(uv_timer_t *guard) {
    fprintf(stderr, "connection_pair: what the test waits for did not happen in %d s\n",
            PATIENCE_MS / 1000);
    abort();
}

struct pair *pair_new(void) {
    struct pair *pair = calloc(1, sizeof *pair);
    struct tw_host_port where;
    size_t count;
    bool initialised;
    tw_ignore_broken_pipes();
    uv_loop_init(&pair->loop);
    uv_timer_init(&pair->loop, &pair->guard);
    uv_timer_start(&pair->guard, on_guard, PATIENCE_MS, 0);
    must(tw_host_port_parse(&where, "127.0.0.1:0", NULL) == TW_OK, "the address is right");
    must(tw_address_resolve(&where, &pair->address, 1, &count, NULL) == TW_OK, "it resolves");
    must(tw_listen(&pair->listener, &pair->loop, (struct sockaddr *)&pair->address, 16,
                   on_connection, &initialised, NULL) == TW_OK,
         "a port is free");
    must(tw_listen_address(&pair->listener, &pair->address, NULL) == TW_OK, "it has a number");
    pair->listener.data = pair;
    pair->a.pair = pair->b.pair = pair;
    pair->host = (struct tw_connection_host){
        .loop = &pair->loop,
        .arena = &pair->arena,
        .send_queue_bytes_max = 64u << 20,
        .finish_ms = PATIENCE_MS, /* megabytes of last words take their time */
    };
    return pair;
}

static void on_open(struct tw_connection *connection, enum tw_status status,
                    const struct tw_error *error) {
    struct end *end = tw_connection_context(connection);
    end->opened++;
    end->open_status = status;
    end->error = *error;
    if (end->when_open != NULL) {
        end->when_open(end);
    }
}

void pair_begin_connect(struct pair *pair, const struct sockaddr *to) {
    make_end(pair, &pair->a);
    const struct sockaddr *address = to != NULL ? to : (struct sockaddr *)&pair->address;
    must(tw_connection_connect(pair->a.connection, address, on_open, NULL) == TW_OK,
         "connecting begins");
}

void pair_connect(struct pair *pair) {
    pair_begin_connect(pair, NULL);
    pair_run_until(pair, &pair->a.opened, 1);
    pair_run_until(pair, &pair->b.opened, 1);
    must(pair->a.open_status == TW_OK, "the connection is made");
}

int pair_connect_socket(struct pair *pair) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(connect(fd, (struct sockaddr *)&pair->address, sizeof(struct sockaddr_in)) == 0,
         "the connection is made");
    pair_run_until(pair, &pair->b.opened, 1);
    return fd;
}

void pair_run_until(struct pair *pair, const unsigned *count, unsigned least) {
    while (*count < least) {
        uv_run(&pair->loop, UV_RUN_ONCE);
    }
}

void pair_turn(struct pair *pair) {
    uv_run(&pair->loop, UV_RUN_NOWAIT);
}

static void end_fini(struct end *end) {
    tw_connection_free(end->connection);
    tw_text_fini(&end->record);
    free(end->place);
}

static void close_end(struct end *end) {
    if (end->connection != NULL && end->closed == 0) {
        tw_connection_close(end->connection);
        pair_run_until(end->pair, &end->closed, 1);
    }
}

void pair_free(struct pair *pair) {
    close_end(&pair->a);
    close_end(&pair->b);
    uv_close((uv_handle_t *)&pair->listener, NULL);
    uv_close((uv_handle_t *)&pair->guard, NULL);
    uv_run(&pair->loop, UV_RUN_DEFAULT);
    must(uv_loop_close(&pair->loop) == 0, "no handle is left");
    must(pair->a.closed <= 1 && pair->b.closed <= 1, "on_closed comes once");
    end_fini(&pair->a);
    end_fini(&pair->b);
    free(pair);
}

enum tw_status end_send(struct end *end, const struct tw_frame *frame, const void *data,
                        size_t token, struct tw_text *expected) {
    if (expected != NULL) {
        note(expected, frame, data);
    }
    return tw_connection_send(end->connection, frame, data, (void *)token);
}
