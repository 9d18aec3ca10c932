/* A stand-in for `talweg server` and `talweg worker` in tests of the launcher: it takes
 * the same arguments, but the job file's name is a script that says how each process
 * behaves:
 *
 *     "server=train worker0=good worker1=exit evaluator=good clients=3"
 *
 * The server really listens and the others really connect, so that the order of events
 * is certain without any waiting: the server goes on when all clients are there, clients
 * act when it sends them a byte, and good ones leave when it hangs up.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/report_json.h"
#include "cli/supervised.h"

enum { CLIENTS_MAX = 16 };

static const char *argument(int argc, char **argv, const char *name) {
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    return NULL;
}

/* The word behind "who=" in the script, into out[32]. */
static const char *role(const char *script, const char *who, char *out) {
    char key[40];
    snprintf(key, sizeof key, "%s=", who);
    const char *at = strstr(script, key);
    snprintf(out, 32, "%s", at ? at + strlen(key) : "good");
    out[strcspn(out, " ")] = '\0';
    return out;
}

static void send_report(int fd, const struct tw_report *report) {
    struct tw_text text = {0};
    tw_report_to_json(&text, report);
    ssize_t n = write(fd, text.at, text.size);
    (void)n;
    tw_text_fini(&text);
}

static void send_done(int fd, enum tw_status status, const char *error, const char *model) {
    struct tw_report report = {.kind = TW_REPORT_DONE};
    report.result = (struct tw_result){.status = status,
                                       .updates = 20,
                                       .samples = 200,
                                       .seconds = 1,
                                       .samples_per_second = 200,
                                       .train_loss = 0.5,
                                       .test_loss = 0.6,
                                       .test_accuracy = 0.9};
    snprintf(report.result.error, sizeof report.result.error, "%s", error);
    snprintf(report.result.model, sizeof report.result.model, "%s", model);
    send_report(fd, &report);
}

static int listen_on_loopback(int *port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int failed = bind(fd, (struct sockaddr *)&at, size) || listen(fd, CLIENTS_MAX) ||
                 getsockname(fd, (struct sockaddr *)&at, &size);
    if (failed)
        abort();
    *port = ntohs(at.sin_port);
    return fd;
}

static void wait_for(int signal) {
    sigset_t set;
    int got;
    sigemptyset(&set);
    sigaddset(&set, signal);
    sigwait(&set, &got);
}

static void block(int signal) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

static void wait_forever(void) {
    for (;;)
        pause();
}

/* What a server does once all clients have connected. Returns its exit code. */
static int serve(const char *behaviour, int reports, const char *folder) {
    struct tw_report report = {.kind = TW_REPORT_EPOCH,
                               .updates = 10,
                               .samples = 100,
                               .samples_total = 200,
                               .epoch = 1,
                               .seconds = 0.5,
                               .samples_per_second = 200,
                               .train_loss = 0.5,
                               .test_loss = 0.6,
                               .test_accuracy = 0.9};
    char model[4096], temporary[4096];
    snprintf(model, sizeof model, "%s/model.safetensors", folder);
    snprintf(temporary, sizeof temporary, "%s/model.safetensors.tmp", folder);
    send_report(reports, &report);
    if (strcmp(behaviour, "train") == 0) {
        send_done(reports, TW_OK, "", model);
        return 0;
    }
    if (strcmp(behaviour, "lie") == 0) {
        send_done(reports, TW_OK, "", model);
        return 5;
    }
    if (strcmp(behaviour, "fail") == 0) {
        send_done(reports, TW_IO, "model.safetensors: no space left on device", "");
        return 1;
    }
    if (strcmp(behaviour, "wait") == 0) {
        wait_for(SIGTERM);
        send_done(reports, TW_INTERRUPTED, "", model);
        return 130;
    }
    if (strcmp(behaviour, "deaf") == 0) {
        close(open(temporary, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        wait_forever();
    }
    if (strcmp(behaviour, "killed") == 0)
        raise(SIGKILL);
    if (strcmp(behaviour, "garbage") == 0) {
        ssize_t n = write(reports, "{\"kind\":\"done\"}\n", 16);
        (void)n;
        wait_for(SIGTERM);
    }
    if (strcmp(behaviour, "endless") == 0) {
        static char line[1 << 20];
        memset(line, 'x', sizeof line);
        ssize_t n = write(reports, line, sizeof line);
        (void)n;
        wait_for(SIGTERM);
    }
    return 9;
}

/* Until one of the clients has hung up. */
static void wait_for_loss(const int *client, int clients) {
    struct pollfd wait[CLIENTS_MAX];
    for (int i = 0; i < clients; i++)
        wait[i] = (struct pollfd){.fd = client[i], .events = POLLIN};
    while (poll(wait, (nfds_t)clients, -1) < 0)
        ;
}

static int server(const char *behaviour, const char *script, int reports, const char *folder) {
    char count[32];
    int clients = atoi(role(script, "clients", count)), client[CLIENTS_MAX];
    struct tw_report report = {.kind = TW_REPORT_LISTENING, .host = "127.0.0.1"};
    if (strcmp(behaviour, "deaf") == 0)
        signal(SIGTERM, SIG_IGN);
    else
        block(SIGTERM);
    if (strcmp(behaviour, "stillborn") == 0) {
        fprintf(stderr, "the server cannot start\n");
        return 3;
    }
    int listener = listen_on_loopback(&report.port);
    send_report(reports, &report);
    for (int i = 0; i < clients; i++) {
        client[i] = accept(listener, NULL, NULL);
        fcntl(client[i], F_SETFD, FD_CLOEXEC);
    }
    send_report(reports, &(struct tw_report){.kind = TW_REPORT_STARTED});
    for (int i = 0; i < clients; i++)
        send(client[i], "", 1, MSG_NOSIGNAL);
    if (strcmp(behaviour, "lose") == 0) {
        wait_for_loss(client, clients);
        behaviour = "train";
    }
    int code = serve(behaviour, reports, folder);
    for (int i = 0; i < clients; i++)
        close(client[i]);
    return code;
}

static int connect_to(const char *address) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    to.sin_port = htons((uint16_t)atoi(strchr(address, ':') + 1));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
        abort();
    return fd;
}

static int worker(const char *behaviour, const char *address) {
    if (strcmp(behaviour, "deaf") == 0)
        signal(SIGTERM, SIG_IGN);
    if (strcmp(behaviour, "stubborn") == 0) /* ends only when the server hangs up */
        block(SIGTERM);
    int fd = connect_to(address);
    if (strcmp(behaviour, "unborn") == 0)
        raise(SIGKILL);
    char byte;
    if (read(fd, &byte, 1) != 1) /* all are there */
        return 98;
    if (strcmp(behaviour, "killed") == 0)
        raise(SIGKILL);
    if (strcmp(behaviour, "exit") == 0) {
        fprintf(stderr, "first line\nworker says: \x1b[2Jno memory\n");
        return 3;
    }
    if (strcmp(behaviour, "flood") == 0) {
        for (int i = 0; i < 100000; i++)
            fprintf(stderr, "line %06d of a flood that nobody wants to read\n", i);
        return 3;
    }
    if (strcmp(behaviour, "deaf") == 0)
        wait_forever();
    while (read(fd, &byte, 1) > 0)
        ;
    return strcmp(behaviour, "badend") == 0 ? 4 : 0;
}

int main(int argc, char **argv) {
    tw_supervised_tie(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    struct tw_supervised supervised;
    const char *tie = argument(argc, argv, "--supervised"), *script = argv[argc - 1];
    char behaviour[32], who[40] = "evaluator";
    if (!tie || !tw_supervised_parse(tie, &supervised))
        return 99;
    if (strcmp(argv[1], "server") == 0) {
        role(script, "server", behaviour);
        return server(behaviour, script, supervised.report_fd, argument(argc, argv, "--out"));
    }
    const char *rank = argument(argc, argv, "--rank");
    if (rank)
        snprintf(who, sizeof who, "worker%.8s", rank);
    return worker(role(script, who, behaviour), argument(argc, argv, "--server"));
}
