/* CRC-32C (Castagnoli; RFC 3720, appendix B.4): whether bytes on a disk are still those that
 * were written. Not against somebody who changes them on purpose.
 *
 * Used by checkpoints, for each block of a file. With the processor's own instruction where it
 * has one, else byte by byte; the result is the same.
 */
#ifndef TW_BASE_CRC32C_H
#define TW_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The sum of `before` (0 at the start) and these bytes: in pieces it is the same as in one. */
uint32_t tw_crc32c(uint32_t before, const void *bytes, size_t size);

#endif
