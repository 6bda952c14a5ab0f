// pages.h: large blocks of memory in huge pages where the system gives them: one page fault instead of 512, and fewer
// misses of the TLB. All of it is a hint; without huge pages everything works as well.
#ifndef BASE_PAGES_H
#define BASE_PAGES_H

#include <stddef.h>

// A zeroed block, aligned to a cache line; NULL when out of memory. free() frees it.
void *pages_alloc(size_t size);

// Asks for huge pages for what of a block [size] is not touched yet.
void pages_hint(void *block, size_t size);

// Writes a zero to the start of each huge page that begins in a block [size], so that the system gives it now; of all
// of these only what is share `share` of n_shares. (Threads that first write to the same page all clear one, in vain.)
void pages_touch(void *block, size_t size, int share, int n_shares);

#endif
