/* Memory for unpacking one message: taken piece by piece from one block, given back all at
 * once. Private to proto/. */
#ifndef TW_PROTO_ARENA_H
#define TW_PROTO_ARENA_H

#include <stddef.h>

/* `size` bytes of bytes[room], aligned for anything if `bytes` is; NULL when it is used up. */
static inline void *tw_arena_take(unsigned char *bytes, size_t room, size_t *used, size_t size) {
    size_t left = room - *used;
    if (size > left || (size + 15) / 16 * 16 > left)
        return NULL;
    void *at = bytes + *used;
    *used += (size + 15) / 16 * 16;
    return at;
}

#endif
