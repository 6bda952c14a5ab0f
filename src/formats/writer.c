// writer.c: see writer.h.
#include "formats/writer.h"

#include <limits.h>
#include <stdlib.h>

bool writer_grow(void **items, int n, int *capacity, size_t item_size, struct llm_error *err) {
    if (n < *capacity) return true;
    const int wanted = *capacity == 0 ? 16 : *capacity * 2;
    void *moved = *capacity > INT_MAX / 2 ? NULL : realloc(*items, (size_t)wanted * item_size);
    if (moved == NULL) return error_memory(err, "tensors to write");
    *items = moved;
    *capacity = wanted;
    return true;
}

void writer_put_number(struct strbuf *out, uint64_t number, size_t n_bytes) {
    uint8_t bytes[sizeof number];
    for (size_t b = 0; b < n_bytes; b++) bytes[b] = (uint8_t)(number >> (8 * b));
    strbuf_append(out, bytes, n_bytes);
}
