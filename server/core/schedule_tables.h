/* What the tables of schedules are written with. Included by schedule.c and the files of
 * the schedules (schedule_*.c) only. */
#ifndef TW_CORE_SCHEDULE_TABLES_H
#define TW_CORE_SCHEDULE_TABLES_H

#include <math.h>

#include "common/base/realmath.h"
#include "server/core/schedule.h"

#define TW_SCHEDULE_MEMBER(member)                                                                 \
    .key = #member, .offset = offsetof(struct tw_schedule_options, member)
#define TW_SCHEDULE_POSITIVE                                                                       \
    .type = TW_OPTION_REAL, .min = 0, .min_open = true, .max = INFINITY, .max_open = true
#define TW_SCHEDULE_NOT_NEGATIVE .type = TW_OPTION_REAL, .min = 0, .max = INFINITY, .max_open = true
#define TW_SCHEDULE_SHARE                                                                          \
    .type = TW_OPTION_REAL, .min = 0, .min_open = true, .max = 1, .max_open = true

extern const char *const tw_schedule_units[];
extern const struct tw_schedule tw_schedule_reduce_on_plateau; /* the one that watches a loss */

/* What every schedule has, at the end of its own rules. */
#define TW_SCHEDULE_COMMON                                                                         \
    {TW_SCHEDULE_MEMBER(unit), .type = TW_OPTION_ENUM, .fallback = TW_UNIT_UPDATE,                 \
     .names = tw_schedule_units,                                                                   \
     .text = "what t and all durations count; epochs as a real number"},                           \
        {TW_SCHEDULE_MEMBER(warmup), TW_SCHEDULE_NOT_NEGATIVE, .fallback = 0,                      \
         .text = "so long on a line to the first value; the schedule begins then"},                \
    {                                                                                              \
        TW_SCHEDULE_MEMBER(warmup_from), TW_SCHEDULE_NOT_NEGATIVE,                                 \
            .fallback = 0, .text = "where that line begins"                                        \
    }

#define TW_SCHEDULE_TABLE(table)                                                                   \
    .rules = table, .rule_count = (int)(sizeof(table) / sizeof *(table))

#endif
