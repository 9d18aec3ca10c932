/* Log lines of a process, for people: "14:03:07 server: rank 1 joined".
 *
 * Who uses it: the shells (server/io, worker/io, cli). Cores never do; they return
 * what happened. Lines go to stderr with the local time, each in a single write,
 * so that lines of several processes on one pipe or file do not mix. A line is cut
 * at TW_SAY_BYTES; control characters become '?', also a newline in the middle.
 *
 * Any thread may call tw_say(). It allocates nothing, keeps errno, and cannot fail:
 * a line that stderr does not take is lost. Ignoring SIGPIPE is the program's job.
 */
#ifndef TW_BASE_SAY_H
#define TW_BASE_SAY_H

#define TW_SAY_BYTES 2048 /* of a line, with its newline: below PIPE_BUF */
#define TW_SAY_NAME 32

/* Who speaks, e.g. "worker 1"; "talweg" unless set. Copied, cut at TW_SAY_NAME - 1
 * bytes. Before other threads begin to speak. */
void tw_say_name(const char *who);

/* One line; without a newline at the end of `format`. */
void tw_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
