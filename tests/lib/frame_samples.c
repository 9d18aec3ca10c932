#include "tests/lib/frame_samples.h"

#define TEXT(t)                                                                                    \
    { t, sizeof(t) - 1 }

static const uint64_t shape_w[] = {784, 256};
static const uint64_t shape_b[] = {256};
static const struct tw_tensor_shape tensors[] = {
    {.name = TEXT("dense1.w"), .dims = 2, .shape = shape_w},
    {.name = TEXT("dense1.b"), .dims = 1, .shape = shape_b},
    {.name = TEXT("scalar"), .dims = 0, .shape = NULL},
};

static const struct tw_measure measures[] = {{7, 1000000001, 2000000002, 2500000003},
                                             {8, 3000000004, 0, 0}};

/* 1.0f, -2.0f */
static const unsigned char data[] = {0x00, 0x00, 0x80, 0x3f, 0x00, 0x00, 0x00, 0xc0};

const struct frame_sample frame_samples[FRAME_SAMPLES] = {
    {"hello",
     {.body = TW_BODY_HELLO,
      .hello = {1, 3, TEXT("0123456789abcdef0123456789ABCDEF"), TEXT("talweg 0.1.0")}},
     NULL},
    {"challenge",
     {.body = TW_BODY_CHALLENGE,
      .challenge = {2, TEXT("fedcba9876543210fedcba9876543210"),
                    TEXT("pppppppppppppppppppppppppppppppp"), true}},
     NULL},
    {"proof", {.body = TW_BODY_PROOF, .proof = {TEXT("qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq")}}, NULL},
    {"join",
     {.body = TW_BODY_JOIN,
      .join = {TW_ROLE_EVALUATOR, true, 4, 5, TEXT("session-session-"), TEXT("job-job-job-job-"),
               TEXT("digest-digest-digest-digest-dige"), 3, tensors, TEXT("talweg-0.1.0/haswell"),
               1234567890123}},
     NULL},
    {"welcome",
     {.body = TW_BODY_WELCOME,
      .welcome = {TEXT("job-job-job-job-"), TEXT("session-session-"), 1, 2, 3, 4, 5, 6, 7, 8,
                  9000000000, 262144, 11, 12}},
     NULL},
    {"attach",
     {.body = TW_BODY_ATTACH, .attach = {TW_ROLE_EVALUATOR, 7, 8, TEXT("session-session-"), 9}},
     NULL},
    {"attached", {.body = TW_BODY_ATTACHED}, NULL},
    {"refuse",
     {.body = TW_BODY_REFUSE,
      .refuse = {14, TEXT("rank-taken"), TEXT("rank 3 is held by 10.0.0.7:5123")}},
     NULL},
    {"push",
     {.body = TW_BODY_PUSH, .push = {1, 2, 3, 4, 5000000000, 6}, .data_bytes = sizeof data},
     data},
    {"end", {.body = TW_BODY_END, .end = {1, 2, 3, 4, 5, 6, 7, 8, 9.25}}, NULL},
    {"weights",
     {.body = TW_BODY_WEIGHTS, .weights = {6000000000, 5, 4, 3, 2, 1}, .data_bytes = sizeof data},
     data},
    {"ask", {.body = TW_BODY_ASK, .ask = {60000}}, NULL},
    {"evaluation", {.body = TW_BODY_EVALUATION, .evaluation = {77, 60000, 0.3125, 0.875}}, NULL},
    {"regather", {.body = TW_BODY_REGATHER, .regather = {300}}, NULL},
    {"stop", {.body = TW_BODY_STOP, .stop = {22, TEXT("the run is over")}}, NULL},
    {"ping", {.body = TW_BODY_PING, .ping = {12, 0xfedcba9876543210u, 2, measures}}, NULL},
    {"pong", {.body = TW_BODY_PONG, .pong = {0x0123456789abcdefu, 5000000001}}, NULL},
    {"bye", {.body = TW_BODY_BYE}, NULL},
    {"query", {.body = TW_BODY_QUERY, .query = {256, 128}}, NULL},
    {"status",
     {.body = TW_BODY_STATUS,
      .status = {TEXT("ssp:3"), TW_PHASE_EVALUATING, 5, 6, 7000000000, 8000000000, 9000000000, 10.5,
                 11.5, 12.5, 13.5, 14.5, 15, 16, 17.5, 18.5,
                 TEXT("for rank 3, which has been gone for 12 s")}},
     NULL},
    {"rank_status",
     {.body = TW_BODY_RANK_STATUS,
      .rank_status = {1, TW_RANK_SENDING, 3000000000, 4.5, 5.5, 6.5, 7.5, 8.5, 9, 10.5,
                      TEXT("10.0.0.7:5123"), 12.5, 13.5}},
     NULL},
    {"turn", {.body = TW_BODY_TURN, .turn = {TEXT("backup:1")}}, NULL},
    {"turned",
     {.body = TW_BODY_TURNED, .turned = {TEXT("backup:1"), 6000000000, 5000000000}},
     NULL},
    {"cancel", {.body = TW_BODY_CANCEL, .cancel = {5000000000}}, NULL},
};
