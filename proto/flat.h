/* Messages made of single numbers, packed and unpacked without the detours of protobuf-c:
 * what every push and its answer consist of. Private to proto/.
 *
 * Same bytes and same values as protobuf-c, in a fifth of its time, for the messages that
 * it makes itself; for all others it is asked.
 */
#ifndef TW_PROTO_FLAT_H
#define TW_PROTO_FLAT_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

/* As protobuf_c_message_pack(); with `out` NULL only counts. Returns the bytes. */
size_t tw_flat_pack(const ProtobufCMessage *message, unsigned char *out);

/* Reads the fields of a message into `message`, the generated struct of that descriptor.
 * False: it is not plain (a text, a list, a field twice, out of order, unknown, or not of its
 * type); then protobuf-c says what it means. */
bool tw_flat_unpack(const ProtobufCMessageDescriptor *descriptor, const unsigned char *bytes,
                    size_t size, void *message);

#endif
