#include "server/core/dial.h"

#include <string.h>

/* Every mode of DESIGN.md §5. `gather` 0 stands for all workers. A preset that
 * is not available yet is known by name, so that it can be refused by name. */
static const struct tw_preset {
    const char *name;
    bool available;
    uint32_t gather;
    bool distinct;
    bool members_known;
    int64_t staleness_bound;
} presets[] = {
    {"sync", true, 0, true, true, 0},
    {"async", true, 1, false, false, -1},
    {.name = "backup"},
    {.name = "k-sync"},
    {.name = "k-batch-sync"},
    {.name = "ssp"},
    {.name = "k-async"},
    {.name = "k-batch-async"},
    {.name = "softsync"},
    {.name = "hogwild"},
};

enum { PRESETS = sizeof(presets) / sizeof(presets[0]) };

static const struct tw_preset *find(const char *name, size_t length) {
    for (int i = 0; i < PRESETS; i++)
        if (strlen(presets[i].name) == length && memcmp(presets[i].name, name, length) == 0)
            return &presets[i];
    return NULL;
}

enum tw_status tw_dial_parse(const char *mode, struct tw_where where, int workers,
                             struct tw_dial *out, struct tw_error *error) {
    size_t length = strcspn(mode, ":");
    const struct tw_preset *preset = find(mode, length);
    if (!preset) {
        const char *near = tw_nearest_name(mode, presets, PRESETS, sizeof(presets[0]));
        if (near)
            return tw_job_error(error, where, "consistency.mode",
                                "unknown mode \"%s\"; did you mean \"%s\"? available: sync, async",
                                mode, near);
        return tw_job_error(error, where, "consistency.mode",
                            "unknown mode \"%s\"; available: sync, async", mode);
    }
    if (!preset->available) {
        tw_job_error(error, where, "consistency.mode",
                     "mode \"%s\" is not available yet; available: sync, async", mode);
        if (error)
            error->status = TW_UNSUPPORTED;
        return TW_UNSUPPORTED;
    }
    if (mode[length] == ':')
        return tw_job_error(error, where, "consistency.mode",
                            "mode \"%s\" takes no number; write \"%s\"", mode, preset->name);
    *out = (struct tw_dial){
        .name = preset->name,
        .gather = preset->gather ? preset->gather : (uint32_t)workers,
        .distinct = preset->distinct,
        .members_known = preset->members_known,
        .staleness_bound = preset->staleness_bound,
        .release = TW_RELEASE_AT_COMMIT,
    };
    return TW_OK;
}
