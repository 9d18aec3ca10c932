#include "worker/data/npy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arith.h"
#include "common/tensor/tensor.h"

#define HEADER_MAX 65536

/* The text of the header: a literal of a Python dictionary. */
struct header {
    const char *name; /* of the file */
    const char *at, *end;
    struct tw_error *error;
};

static enum tw_status bad(const struct header *h, const char *what) {
    return tw_error_set(h->error, TW_DATA, "%s: a header that NumPy would not write: %s", h->name,
                        what);
}

static void skip_blanks(struct header *h) {
    while (h->at < h->end && (*h->at == ' ' || *h->at == '\n' || *h->at == '\t'))
        h->at++;
}

static bool take(struct header *h, const char *word) {
    size_t size = strlen(word);
    skip_blanks(h);
    if ((size_t)(h->end - h->at) < size || memcmp(h->at, word, size) != 0)
        return false;
    h->at += size;
    return true;
}

/* 'text' into out[room]. */
static bool take_quoted(struct header *h, char *out, size_t room) {
    size_t used = 0;
    skip_blanks(h);
    if (h->at == h->end || (*h->at != '\'' && *h->at != '"'))
        return false;
    char quote = *h->at++;
    for (; h->at < h->end && *h->at != quote; h->at++) {
        if (used + 1 == room || (unsigned char)*h->at < 0x20)
            return false;
        out[used++] = *h->at;
    }
    out[used] = '\0';
    return h->at < h->end && *h->at++ == quote;
}

static bool take_size(struct header *h, int64_t *out) {
    bool any = false;
    *out = 0;
    skip_blanks(h);
    for (; h->at < h->end && *h->at >= '0' && *h->at <= '9'; h->at++, any = true)
        if (!tw_i64_multiply(*out, 10, out) || !tw_i64_add(*out, *h->at - '0', out))
            return false;
    (void)take(h, "L"); /* Python 2 wrote it */
    return any;
}

static enum tw_status read_type(struct header *h, struct tw_npy *out) {
    char text[32];
    if (!take_quoted(h, text, sizeof text))
        return bad(h, "descr is no type of numbers (records are not taken)");
    char *end = text;
    char order = *text != '\0' ? text[0] : '\0', kind = order != '\0' ? text[1] : '\0';
    long size = kind != '\0' ? strtol(text + 2, &end, 10) : 0;
    bool whole = (kind == 'i' || kind == 'u') && (size == 1 || size == 2 || size == 4 || size == 8);
    bool real = kind == 'f' && (size == 4 || size == 8);
    if (!strchr("<>|=", order) || *end != '\0' || !(whole || real || (kind == 'b' && size == 1)))
        return tw_error_set(h->error, TW_DATA,
                            "%s: elements of the type %s are not taken; write "
                            "array.astype(\"float32\") instead",
                            h->name, text);
    out->kind = kind;
    out->size = (int)size;
    out->swapped = order == '>' && size > 1;
    return TW_OK;
}

static enum tw_status read_shape(struct header *h, struct tw_npy *out) {
    if (!take(h, "("))
        return bad(h, "shape is no tuple");
    while (!take(h, ")")) {
        if (out->dims == TW_DIMS_MAX)
            return bad(h, "more dimensions than anybody needs");
        if (!take_size(h, &out->shape[out->dims++]))
            return bad(h, "shape is no tuple of whole numbers");
        if (!take(h, ",") && h->at < h->end && *h->at != ')')
            return bad(h, "shape is no tuple of whole numbers");
    }
    return TW_OK;
}

static enum tw_status read_entry(struct header *h, struct tw_npy *out, unsigned *seen) {
    char key[32];
    if (!take_quoted(h, key, sizeof key) || !take(h, ":"))
        return bad(h, "no key");
    unsigned bit = strcmp(key, "descr") == 0           ? 1
                   : strcmp(key, "fortran_order") == 0 ? 2
                   : strcmp(key, "shape") == 0         ? 4
                                                       : 0;
    if (bit == 0 || *seen & bit)
        return bad(h, "a key that is unknown, or stands twice");
    *seen |= bit;
    if (bit == 1)
        return read_type(h, out);
    if (bit == 4)
        return read_shape(h, out);
    out->fortran = take(h, "True");
    return out->fortran || take(h, "False") ? TW_OK : bad(h, "fortran_order is no boolean");
}

static enum tw_status read_header(struct header *h, struct tw_npy *out) {
    unsigned seen = 0;
    if (!take(h, "{"))
        return bad(h, "no dictionary");
    while (!take(h, "}")) {
        enum tw_status status = read_entry(h, out, &seen);
        if (status != TW_OK)
            return status;
        if (!take(h, ",") && (h->at == h->end || *h->at != '}'))
            return bad(h, "no dictionary");
    }
    skip_blanks(h);
    return seen == 7 && h->at == h->end ? TW_OK
                                        : bad(h, "descr, fortran_order or shape is missing");
}

static enum tw_status check_size(struct tw_npy *npy, const char *name, size_t left,
                                 struct tw_error *error) {
    char text[256];
    int64_t bytes = 0;
    bool fits = npy->dims > 0;
    npy->elements = 1;
    for (int i = 0; i < npy->dims; i++)
        fits = fits && npy->shape[i] > 0 &&
               tw_i64_multiply(npy->elements, npy->shape[i], &npy->elements) &&
               npy->elements <= TW_ELEMENTS_MAX;
    (void)tw_shape_text(npy->dims, npy->shape, text, sizeof text);
    if (!fits)
        return tw_error_set(error, TW_DATA,
                            "%s: the shape %s is empty, a single number, or has more than 2^40 "
                            "elements",
                            name, text);
    bytes = npy->elements * npy->size;
    if ((uint64_t)bytes == left)
        return TW_OK;
    return tw_error_set(error, TW_DATA,
                        "%s: %s: the shape %s with elements of %d bytes needs %lld bytes, found "
                        "%zu",
                        name, (uint64_t)bytes > left ? "truncated" : "too long", text, npy->size,
                        (long long)bytes, left);
}

enum tw_status tw_npy_parse(struct tw_npy *out, const char *name, const void *bytes, size_t size,
                            struct tw_error *error) {
    static const char magic[6] = "\x93NUMPY";
    const uint8_t *at = bytes;
    *out = (struct tw_npy){0};
    if (size < 10 || memcmp(at, magic, sizeof magic) != 0)
        return tw_error_set(error, TW_DATA,
                            "%s: not an NPY file: it does not start with \\x93NUMPY (a .npz has to "
                            "be unpacked, a .gz too)",
                            name);
    int version = at[6];
    size_t head = version == 1 ? 10 : 12;
    if (version < 1 || version > 3 || size < head)
        return tw_error_set(error, TW_DATA, "%s: version %d of NPY; known are 1 to 3", name,
                            version);
    size_t length = at[8] | (size_t)at[9] << 8;
    if (version > 1)
        length |= (size_t)at[10] << 16 | (size_t)at[11] << 24;
    if (length > HEADER_MAX || length > size - head)
        return tw_error_set(error, TW_DATA, "%s: truncated: a header of %zu bytes", name, length);
    struct header h = {name, (const char *)at + head, (const char *)at + head + length, error};
    enum tw_status status = read_header(&h, out);
    if (status != TW_OK)
        return status;
    out->bytes = at + head + length;
    return check_size(out, name, size - head - length, error);
}

bool tw_npy_is_plain(const struct tw_npy *npy, char kind, int size) {
    return npy->kind == kind && npy->size == size && !npy->swapped &&
           (!npy->fortran || npy->dims == 1);
}

/* Bits of element `at` in the file, as the lowest ones. */
static uint64_t bits_at(const struct tw_npy *npy, int64_t at) {
    const uint8_t *from = npy->bytes + at * npy->size;
    uint64_t bits = 0;
    for (int i = 0; i < npy->size; i++)
        bits |= (uint64_t)from[npy->swapped ? npy->size - 1 - i : i] << (8 * i);
    return bits;
}

static int64_t signed_of(uint64_t bits, int size) {
    int unused = 64 - 8 * size;
    return (int64_t)(bits << unused) >> unused;
}

static float float_of(const struct tw_npy *npy, uint64_t bits) {
    uint32_t low = (uint32_t)bits;
    double wide;
    float narrow;
    if (npy->kind == 'i')
        return (float)signed_of(bits, npy->size);
    if (npy->kind != 'f')
        return (float)bits;
    memcpy(&narrow, &low, sizeof narrow);
    memcpy(&wide, &bits, sizeof wide);
    return npy->size == 4 ? narrow : (float)wide;
}

/* Where element `at` of the C order stands in the file. */
static int64_t place_of(const struct tw_npy *npy, int64_t at) {
    int64_t place = 0, stride = npy->elements;
    if (!npy->fortran)
        return at;
    for (int i = npy->dims - 1; i >= 0; i--) {
        stride /= npy->shape[i];
        place += at % npy->shape[i] * stride;
        at /= npy->shape[i];
    }
    return place;
}

void tw_npy_floats(const struct tw_npy *npy, float *out) {
    for (int64_t i = 0; i < npy->elements; i++)
        out[i] = float_of(npy, bits_at(npy, place_of(npy, i)));
}

bool tw_npy_labels(const struct tw_npy *npy, int32_t *out, int64_t *at) {
    for (*at = 0; *at < npy->elements; ++*at) {
        uint64_t bits = bits_at(npy, place_of(npy, *at));
        if (bits > INT32_MAX || (npy->kind == 'i' && signed_of(bits, npy->size) < 0))
            return false;
        out[*at] = (int32_t)bits;
    }
    return true;
}
