// checksum.c: see checksum.h.
#include "base/checksum.h"

#include <string.h>

void checksum_init(struct checksum *sum) {
    sha256_init(&sum->state);
}

void checksum_update(struct checksum *sum, const void *bytes, size_t size) {
    sha256_update(&sum->state, size, bytes);
}

void checksum_text(struct checksum *sum, char text[CHECKSUM_TEXT]) {
    static const char digits[] = "0123456789abcdef";
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_digest(&sum->state, sizeof digest, digest); // which also starts anew
    for (size_t i = 0; i < sizeof digest; i++) {
        text[2 * i] = digits[digest[i] >> 4];
        text[2 * i + 1] = digits[digest[i] & 15];
    }
    text[CHECKSUM_TEXT - 1] = '\0';
}

bool checksum_valid(const char *text) {
    return strlen(text) == CHECKSUM_TEXT - 1 && strspn(text, "0123456789abcdef") == CHECKSUM_TEXT - 1;
}
