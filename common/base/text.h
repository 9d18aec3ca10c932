/* Text that grows on the heap, and small things about characters and numbers.
 *
 * Who uses it: whoever writes JSON, YAML, reports or messages of unknown length.
 * A tw_text of zeros is empty and ready. Running out of memory is remembered in
 * `failed` and makes every later addition a no-op, so that a writer adds
 * everything and checks once, at the end.
 *
 *     struct tw_text text = {0};
 *     tw_text_add(&text, "%d workers\n", workers);
 *     if (text.failed) ...
 *     tw_text_fini(&text);
 */
#ifndef TW_BASE_TEXT_H
#define TW_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

struct tw_text {
    char *at;    /* [size] and a zero behind it; NULL while nothing was added */
    size_t size; /* bytes, without the zero */
    size_t room; /* bytes allocated at `at` */
    bool failed; /* out of memory: something is missing */
};

/* Appends as printf would. */
void tw_text_add(struct tw_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Appends bytes as they are (zeros too). `bytes` may be NULL when size is 0; it
 * may not lie in the text itself. */
void tw_text_add_bytes(struct tw_text *text, const void *bytes, size_t size);

/* Appends a number as tw_real_text() writes it. */
void tw_text_add_real(struct tw_text *text, double value);

/* Empties the text and keeps its memory; `failed` is forgotten. */
void tw_text_clear(struct tw_text *text);

/* Hands the text over: the result is from malloc, ends with a zero, and is the
 * caller's to free; the text is empty again. NULL when it had failed. `size` may
 * be NULL. */
char *tw_text_take(struct tw_text *text, size_t *size);

/* Frees; the text is empty and usable again. Harmless when done twice. */
void tw_text_fini(struct tw_text *text);

/* The shortest decimal that reads back as exactly `value`: "0.001", "1e-08",
 * "nan", "inf", "-inf". With a point whatever the locale is. Returns out. */
#define TW_REAL_TEXT 32
char *tw_real_text(double value, char out[TW_REAL_TEXT]);

/* Bytes of the valid UTF-8 character at the start of `bytes` (1 to 4); 0 when
 * there is none: wrong, cut off, overlong, a surrogate, or size 0. */
size_t tw_utf8_length(const char *bytes, size_t size);

/* Shows that the text in out[room] was cut by snprintf: its end becomes "...",
 * without leaving half a character before it. room >= 8. */
void tw_text_mark_cut(char *out, size_t room);

/* Whether a name fits a pattern: `*` stands for any bytes, `?` for one. */
bool tw_pattern_fits(const char *pattern, const char *name);

/* Replaces each byte of a control character (C0, DEL, and C1 as UTF-8), and each that is no valid
 * UTF-8, by '?', in place: what a peer sent, or a file holds, cannot move the cursor of a terminal,
 * and whoever reads our words as UTF-8 can. */
void tw_text_clean(char *text);

#endif
