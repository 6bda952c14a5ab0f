// pages.c: see pages.h.
#include "base/pages.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const size_t huge_page = (size_t)2 << 20, cache_line = 64;

static size_t round_up(size_t size, size_t unit) {
    return (size + unit - 1) / unit * unit;
}

void *pages_alloc(size_t size) {
    if (size > PTRDIFF_MAX - huge_page) return NULL;
    const bool huge = size >= huge_page / 2;
    const size_t unit = huge ? huge_page : cache_line;
    const size_t rounded = round_up(size, unit);
    void *block = aligned_alloc(unit, rounded);
    if (block == NULL) return NULL;
    if (huge) madvise(block, rounded, MADV_HUGEPAGE);
    memset(block, 0, size);
    return block;
}

void pages_hint(void *block, size_t size) {
    const size_t skipped = round_up((uintptr_t)block, huge_page) - (uintptr_t)block;
    if (size < skipped + huge_page) return;
    madvise((char *)block + skipped, (size - skipped) / huge_page * huge_page, MADV_HUGEPAGE);
}

void pages_touch(void *block, size_t size, int share, int n_shares) {
    const uintptr_t begin = round_up((uintptr_t)block, huge_page);
    for (uintptr_t page = begin; page < (uintptr_t)block + size; page += huge_page) {
        if (page / huge_page % (uintptr_t)n_shares == (uintptr_t)share) *(volatile char *)page = 0;
    }
}
