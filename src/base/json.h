// json.h: JSON from strangers through jansson: strict, duplicate keys refused, depth bounded.
//
// The getters say what is wrong in one sentence that names the key; the caller puts the path in front.
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <jansson.h>

#include "base/error.h"

// Parses one JSON value that fills all of `bytes` (white space around it allowed). The sentence of a
// failure has line and column. The result is freed with json_decref().
json_t *json_parse(const char *bytes, size_t size, struct llm_error *err);

// Reads and parses a file of at most max_size bytes; error sentences begin with the path.
json_t *json_parse_file(const char *path, size_t max_size, struct llm_error *err);

// The value as text, allocated with malloc; NULL when memory ran out. `flags` are jansson's (JSON_INDENT(2), ...).
// Use this and not json_dumps(), which leaves a key out, and says nothing, when memory runs out right there.
char *json_dump(const json_t *value, size_t flags);

// Text that may not be UTF-8, which JSON must be, as a string: what is none becomes U+FFFD. NULL when memory ran out.
json_t *json_text(const char *text, size_t size);
// A file, a folder or a model, whose name may be any bytes on Linux, for a record that people read: never compare it
// with the name itself. null for NULL.
json_t *json_name(const char *name);

// Each looks `key` up in `object`. A missing or null key leaves *value alone and is fine; a value of
// the wrong type, or out of range, is an error: "n_layer is "12", an integer was expected".
bool json_get_int(const json_t *object, const char *key, int64_t min, int64_t max, int64_t *value,
                  struct llm_error *err);
bool json_get_double(const json_t *object, const char *key, double *value, struct llm_error *err);
bool json_get_bool(const json_t *object, const char *key, bool *value, struct llm_error *err);
// *value is borrowed from the object.
bool json_get_string(const json_t *object, const char *key, const char **value, struct llm_error *err);

#endif
