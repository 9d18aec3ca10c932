/* model.init: FILE, or {file: FILE, tensors: PATTERN, sha256: ...}. */
#include <string.h>

#include "common/base/file.h"
#include "common/base/text.h"
#include "common/job/job_read.h"

static enum tw_status read_file(const struct tw_job_reader *reader, const struct tw_yaml *node) {
    const char *folder = node->folder ? node->folder : reader->job->folder;
    char path[TW_PATH_MAX];
    struct tw_option option;
    enum tw_status status = tw_need_scalar(reader, node, &option);
    if (status != TW_OK)
        return status;
    if (!*option.text || tw_path_join(path, sizeof path, folder, option.text) != TW_OK ||
        !tw_is_utf8(path))
        return tw_node_error(reader, node,
                             "is no path; give a safetensors file, a run or a checkpoint");
    reader->job->model.init.file = tw_job_memory_copy(reader->memory, path, strlen(path));
    return reader->job->model.init.file ? TW_OK : tw_job_memory_error(reader->error);
}

static enum tw_status read_pattern(const struct tw_job_reader *reader, const struct tw_yaml *node) {
    struct tw_option option;
    enum tw_status status = tw_need_scalar(reader, node, &option);
    if (status != TW_OK)
        return status;
    if (!*option.text || strlen(option.text) > TW_NAME_MAX)
        return tw_node_error(reader, node, "is no pattern of names, such as \"conv*\"");
    reader->job->model.init.pattern = option.text;
    return TW_OK;
}

enum tw_status tw_read_init(const struct tw_job_reader *reader, const struct tw_yaml *node) {
    static const char *const names[] = {"file", "tensors", "sha256", NULL};
    struct tw_job_model *model = &reader->job->model;
    model->init.pattern = "*";
    model->init.where = node->where;
    if (node->kind == TW_YAML_SCALAR)
        return read_file(reader, node);
    enum tw_status status =
        tw_need_kind(reader, node, TW_YAML_MAP, "{file: model.safetensors, tensors: \"conv*\"}");
    if (status == TW_OK)
        status = tw_need_keys(reader, node, names);
    if (status != TW_OK)
        return status;
    const struct tw_yaml *file = tw_yaml_find(node, "file");
    const struct tw_yaml *pattern = tw_yaml_find(node, "tensors");
    if (!file)
        return tw_missing_error(reader, node, "file", "a safetensors file, a run or a checkpoint");
    status = read_file(reader, file);
    if (status == TW_OK && pattern)
        status = read_pattern(reader, pattern);
    return status == TW_OK ? tw_read_sha256(reader, node, model->init.sha256) : status;
}
