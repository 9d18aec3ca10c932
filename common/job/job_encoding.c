/* encoding: how tensors are written on the wire. */
#include "common/job/job_read.h"

enum tw_status tw_read_encoding(const struct tw_job_reader *reader) {
    static const char *const keys[] = {"push", "pull", NULL};
    const char *names[TW_ENCODINGS + 1] = {NULL};
    const struct tw_yaml *map = tw_yaml_find(reader->root, "encoding");
    int push = TW_ENCODING_F32, pull = TW_ENCODING_F32;
    if (!map)
        return TW_OK;
    for (int i = 0; i < TW_ENCODINGS; i++)
        names[i] = tw_encodings[i].name;
    enum tw_status status = tw_need_kind(reader, map, TW_YAML_MAP, "{push: bf16, pull: bf16}");
    if (status == TW_OK)
        status = tw_need_keys(reader, map, keys);
    if (status == TW_OK)
        status = tw_read_name(reader, map, "push", names, &push);
    if (status == TW_OK)
        status = tw_read_name(reader, map, "pull", names, &pull);
    reader->job->encoding.push = (uint32_t)push;
    reader->job->encoding.pull = (uint32_t)pull;
    return status;
}
