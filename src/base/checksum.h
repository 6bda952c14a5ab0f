// checksum.h: SHA-256 as the 64 hexadecimal digits people compare (nettle does the work).
#ifndef BASE_CHECKSUM_H
#define BASE_CHECKSUM_H

#include <nettle/sha2.h>

#include "base/error.h"

enum {
    CHECKSUM_TEXT = 2 * SHA256_DIGEST_SIZE + 1 // digits and the final NUL
};

struct checksum {
    struct sha256_ctx state;
};

void checksum_init(struct checksum *sum);
void checksum_update(struct checksum *sum, const void *bytes, size_t size);
// Writes the digits, lower case, and starts anew.
void checksum_text(struct checksum *sum, char text[CHECKSUM_TEXT]);
// Whether `text` is 64 lower-case hexadecimal digits.
bool checksum_valid(const char *text);

#endif
