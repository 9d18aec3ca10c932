/* A stack of corrections as words: tw_test_corrections("staleness_power power=.5",
 * "staleness_limit most=3", NULL). Fails the test when one is wrong. */
#ifndef TW_TESTS_CORRECTIONS_TEXT_H
#define TW_TESTS_CORRECTIONS_TEXT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/core/correction.h"
#include "tests/lib/variant_text.h"

static inline struct tw_corrections tw_test_corrections(const char *line, ...) {
    struct tw_corrections out = {.count = 0};
    struct tw_error error;
    va_list lines;
    va_start(lines, line);
    for (; line; line = va_arg(lines, const char *)) {
        const struct tw_variant *variant = tw_test_variant(line);
        const struct tw_correction *kind;
        if (tw_correction_need(&kind, variant, &error) ||
            tw_options_read(variant, kind->rules, kind->rule_count, &out.at[out.count].options,
                            &error))
            fail_msg("%s", error.text);
        out.at[out.count++].kind = kind;
    }
    va_end(lines);
    return out;
}

#endif
