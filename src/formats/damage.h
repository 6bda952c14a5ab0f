// damage.h: the checksums of a container's tensors, each thread taking the next one. Only files of this folder include
// this header.
#ifndef FORMATS_DAMAGE_H
#define FORMATS_DAMAGE_H

#include "base/error.h"

// Whether piece number i matches its checksum; called on several threads.
typedef bool damage_check(const void *user, int i);

// *bad is the lowest i below n that does not match (whatever thread finds one first, the sentence is the same), or n.
// `n_bytes` of all pieces decide whether threads are worth starting. False when that fails.
bool damage_find(int n, uint64_t n_bytes, damage_check *check, const void *user, int *bad, struct llm_error *err);

#endif
