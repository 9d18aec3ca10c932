/* The words of a column that holds no numbers: categories, and names of classes. Those of the
 * training data are numbered from 0 in their order (as numbers where all of them are, else by their
 * bytes), and test data is read with the same ones.
 */
#ifndef TW_DATA_VOCABULARY_H
#define TW_DATA_VOCABULARY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/status.h"

#define TW_VOCABULARY_MAX 65536 /* words */
#define TW_WORD_MAX 1024        /* bytes of one */

struct tw_vocabulary {
    uint32_t count;
    char **words;    /* [count] */
    uint32_t *slots; /* [room]: number of a word + 1, by its hash; 0: free */
    uint32_t room;   /* a power of two */
};

/* One for each column of words. */
struct tw_vocabularies {
    int count;
    struct tw_vocabulary *at;
};

/* The number of a word, which is added when it is new: in order of appearance. TW_LIMIT: too many,
 * or too long; TW_NO_MEMORY. */
enum tw_status tw_vocabulary_add(struct tw_vocabulary *vocabulary, const char *word,
                                 uint32_t *number, struct tw_error *error);

/* Likewise of a word that is there; UINT32_MAX: it is not. */
uint32_t tw_vocabulary_find(const struct tw_vocabulary *vocabulary, const char *word);

/* Puts the words into their order; now[number before] = number. From malloc, the caller's;
 * NULL: out of memory. Words may be looked for from here on, not added. */
uint32_t *tw_vocabulary_sort(struct tw_vocabulary *vocabulary);

/* Classes of `count` samples, [count], from the numbers that reading gave their words: `now` of
 * tw_vocabulary_sort(), or NULL where the words were there before. From malloc, the caller's; NULL:
 * out of memory. */
int32_t *tw_vocabulary_labels(const float *numbers, uint32_t count, const uint32_t *now);

struct tw_vocabularies *tw_vocabularies_new(int count);

/* NULL is fine. */
void tw_vocabularies_free(struct tw_vocabularies *vocabularies);

/* A finite decimal number that float32 can hold, with nothing around it; false: it is none. */
bool tw_parse_number(const char *text, float *out);

#endif
