// error.h: filling in a struct llm_error.
//
// The callee writes one sentence fit to be shown; whoever opened the path puts it in front with
// error_prefix(), nobody else does. The first error wins: a later error_set() on the same struct
// changes nothing, so cleaning up after a failure cannot hide it. Every function takes NULL for err.
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdarg.h>

#include "my_llm.h"

// Sets code and sentence. Always returns false, so that a function can `return error_set(...)`.
bool error_set(struct llm_error *err, enum llm_error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// The same, with ": <text of errno>" behind; the code is NOT_FOUND for ENOENT, MEMORY for ENOMEM, else IO.
bool error_errno(struct llm_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

// "out of memory (<what>)". Always returns false.
bool error_memory(struct llm_error *err, const char *what);

// Puts "<formatted>: " in front of the sentence. When both do not fit, the prefix loses its front, so that
// a long path keeps its tail, and a very long sentence its end.
void error_prefix(struct llm_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
