// crc32c.h: CRC-32C (Castagnoli polynomial 0x1edc6f41, reflected), as in RFC 3720 appendix B.4.
//
// TensorFlow checkpoints carry one for every block and tensor, so whole models go through it: with
// SSE4.2 it runs about as fast as memory delivers. Start with crc 0; what one call returns is the
// `crc` of the next, for data that comes in pieces.
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t crc, const void *bytes, size_t size);

// The same in plain C, eight bytes a step: for CPUs without the instruction, and the test's oracle.
uint32_t crc32c_portable(uint32_t crc, const void *bytes, size_t size);

// Another one, used in the same way: the CRC-32 of zip (polynomial 0x04c11db7 of IEEE 802.3, reflected).
uint32_t crc32_zip(uint32_t crc, const void *bytes, size_t size);

#endif
