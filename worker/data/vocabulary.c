#include "worker/data/vocabulary.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool tw_parse_number(const char *text, float *out) {
    char *end;
    if (strspn(text, "0123456789+-.eE") != strlen(text) || !*text)
        return false;
    *out = strtof(text, &end);
    return *end == '\0' && end != text && isfinite(*out);
}

/* FNV-1a. Who writes words that collide makes his own reading slow, within the limits. */
static uint32_t hash_of(const char *word) {
    uint32_t hash = 2166136261u;
    for (; *word; word++)
        hash = (hash ^ (uint8_t)*word) * 16777619u;
    return hash;
}

/* Where the word is, or would be. */
static uint32_t *slot_of(const struct tw_vocabulary *v, const char *word) {
    uint32_t at = hash_of(word) & (v->room - 1);
    while (v->slots[at] != 0 && strcmp(v->words[v->slots[at] - 1], word) != 0)
        at = (at + 1) & (v->room - 1);
    return &v->slots[at];
}

static void fill_slots(struct tw_vocabulary *v) {
    memset(v->slots, 0, v->room * sizeof *v->slots);
    for (uint32_t i = 0; i < v->count; i++)
        *slot_of(v, v->words[i]) = i + 1;
}

/* Twice the room of both tables. */
static bool grow(struct tw_vocabulary *v) {
    uint32_t room = v->room == 0 ? 16 : 2 * v->room;
    char **words = realloc(v->words, room / 2 * sizeof *words);
    if (words == NULL)
        return false;
    v->words = words;
    uint32_t *slots = realloc(v->slots, room * sizeof *slots);
    if (slots == NULL)
        return false;
    v->slots = slots;
    v->room = room;
    fill_slots(v);
    return true;
}

enum tw_status tw_vocabulary_add(struct tw_vocabulary *v, const char *word, uint32_t *number,
                                 struct tw_error *error) {
    if (strlen(word) > TW_WORD_MAX)
        return tw_error_set(error, TW_LIMIT, "is a word of more than %d bytes", TW_WORD_MAX);
    if (2 * v->count == v->room && !grow(v))
        return tw_error_set(error, TW_NO_MEMORY, "out of memory for words");
    uint32_t *slot = slot_of(v, word);
    if (*slot == 0) {
        if (v->count == TW_VOCABULARY_MAX)
            return tw_error_set(error, TW_LIMIT, "is one more than %d different words",
                                TW_VOCABULARY_MAX);
        v->words[v->count] = strdup(word);
        if (v->words[v->count] == NULL)
            return tw_error_set(error, TW_NO_MEMORY, "out of memory for words");
        *slot = ++v->count;
    }
    *number = *slot - 1;
    return TW_OK;
}

uint32_t tw_vocabulary_find(const struct tw_vocabulary *v, const char *word) {
    return v->count == 0 ? UINT32_MAX : *slot_of(v, word) - 1;
}

/* ---- order ---- */

struct entry {
    char *word;
    float value; /* of a number */
    uint32_t before;
};

static int by_bytes(const void *a, const void *b) {
    return strcmp(((const struct entry *)a)->word, ((const struct entry *)b)->word);
}

static int by_value(const void *a, const void *b) {
    const struct entry *x = a, *y = b;
    int order = (x->value > y->value) - (x->value < y->value);
    return order != 0 ? order : by_bytes(a, b);
}

uint32_t *tw_vocabulary_sort(struct tw_vocabulary *v) {
    struct entry *entries = calloc(v->count + 1, sizeof *entries);
    uint32_t *now = calloc(v->count + 1, sizeof *now);
    bool numbers = true;
    if (entries == NULL || now == NULL) {
        free(entries);
        free(now);
        return NULL;
    }
    for (uint32_t i = 0; i < v->count; i++) {
        entries[i] = (struct entry){.word = v->words[i], .before = i};
        numbers = tw_parse_number(v->words[i], &entries[i].value) && numbers;
    }
    qsort(entries, v->count, sizeof *entries, numbers ? by_value : by_bytes);
    for (uint32_t i = 0; i < v->count; i++) {
        v->words[i] = entries[i].word;
        now[entries[i].before] = i;
    }
    if (v->count > 0)
        fill_slots(v);
    free(entries);
    return now;
}

int32_t *tw_vocabulary_labels(const float *numbers, uint32_t count, const uint32_t *now) {
    int32_t *labels = malloc(count * sizeof *labels);
    for (uint32_t i = 0; labels != NULL && i < count; i++) {
        uint32_t number = (uint32_t)numbers[i];
        labels[i] = (int32_t)(now != NULL ? now[number] : number);
    }
    return labels;
}

struct tw_vocabularies *tw_vocabularies_new(int count) {
    struct tw_vocabularies *v = calloc(1, sizeof *v);
    if (v != NULL)
        v->at = calloc((size_t)count + 1, sizeof *v->at);
    if (v == NULL || v->at == NULL) {
        free(v);
        return NULL;
    }
    v->count = count;
    return v;
}

void tw_vocabularies_free(struct tw_vocabularies *v) {
    if (v == NULL)
        return;
    for (int i = 0; i < v->count; i++) {
        for (uint32_t k = 0; k < v->at[i].count; k++)
            free(v->at[i].words[k]);
        free(v->at[i].words);
        free(v->at[i].slots);
    }
    free(v->at);
    free(v);
}
