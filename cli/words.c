#include "cli/words.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

char *tw_count_words(uint64_t count, char out[TW_WORDS_MAX]) {
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%" PRIu64, count);
    char *to = out;
    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
    return out;
}

char *tw_seconds_words(double seconds, char out[TW_WORDS_MAX]) {
    if (!isfinite(seconds) || seconds < 0 || seconds > 1e9) {
        strcpy(out, "?");
    } else if (seconds < 9.95) {
        snprintf(out, TW_WORDS_MAX, "%.1f s", seconds);
    } else {
        long s = lround(seconds);
        if (s < 60)
            snprintf(out, TW_WORDS_MAX, "%ld s", s);
        else if (s < 3600)
            snprintf(out, TW_WORDS_MAX, "%ld min %02ld s", s / 60, s % 60);
        else
            snprintf(out, TW_WORDS_MAX, "%ld h %02ld min", s / 3600, s % 3600 / 60);
    }
    return out;
}

void tw_add_number(struct tw_text *out, const char *name, double value) {
    if (isfinite(value))
        tw_text_add(out, fabs(value) < 1e6 ? "  %s %.4f" : "  %s %.3e", name, value);
}

void tw_add_rate(struct tw_text *out, double samples_per_second) {
    char rate[TW_WORDS_MAX];
    if (samples_per_second > 0 && samples_per_second < 1e18)
        tw_text_add(out, "  %s samples/s",
                    tw_count_words((uint64_t)llround(samples_per_second), rate));
}
