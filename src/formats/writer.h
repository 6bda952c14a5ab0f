// writer.h: what the writers of the formats share. Only files of this folder include this header.
#ifndef FORMATS_WRITER_H
#define FORMATS_WRITER_H

#include "base/error.h"
#include "base/str.h"

// Makes room for one more item in a growing array of n.
bool writer_grow(void **items, int n, int *capacity, size_t item_size, struct llm_error *err);

// Appends the lowest n_bytes (8 at most) of a number, little-endian.
void writer_put_number(struct strbuf *out, uint64_t number, size_t n_bytes);

#endif
