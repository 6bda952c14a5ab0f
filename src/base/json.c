// json.c: see json.h.
#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/str.h"
#include "base/utf8.h"

json_t *json_parse(const char *bytes, size_t size, struct llm_error *err) {
    if (size >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0) {
        error_set(err, LLM_ERROR_FORMAT,
                  "begins with a byte order mark, which JSON does not allow; save it as plain UTF-8");
        return NULL;
    }
    json_error_t error;
    json_t *value = json_loadb(bytes, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (value == NULL) {
        // Out of memory while building a value, jansson says nothing at all.
        if (json_error_code(&error) == json_error_out_of_memory || error.text[0] == '\0') {
            error_memory(err, "JSON");
        } else {
            str_clean(error.text); // it may quote half a character
            error_set(err, LLM_ERROR_FORMAT, "not valid JSON: line %d, column %d: %s", error.line, error.column,
                      error.text);
        }
    }
    return value;
}

json_t *json_parse_file(const char *path, size_t max_size, struct llm_error *err) {
    char *bytes = NULL;
    size_t size = 0;
    if (!file_read(path, max_size, &bytes, &size, err)) return NULL;
    json_t *value = json_parse(bytes, size, err);
    free(bytes);
    if (value == NULL) error_prefix(err, "%s", path);
    return value;
}

char *json_dump(const json_t *value, size_t flags) {
    // json_dumpb() writes into memory that is there already, so that nothing can fail on the way.
    const size_t size = json_dumpb(value, NULL, 0, flags);
    char *text = size > 0 ? malloc(size + 1) : NULL;
    if (text == NULL || json_dumpb(value, text, size, flags) != size) {
        free(text);
        return NULL;
    }
    text[size] = '\0';
    return text;
}

json_t *json_text(const char *text, size_t size) {
    struct strbuf buf;
    strbuf_init(&buf, SIZE_MAX / 4);
    for (size_t at = 0; at < size;) {
        int32_t code;
        const size_t length = utf8_decode(text + at, size - at, &code);
        if (code < 0) {
            strbuf_puts(&buf, "\xef\xbf\xbd");
        } else {
            strbuf_append(&buf, text + at, length);
        }
        at += length;
    }
    json_t *string = NULL;
    if (strbuf_ok(&buf)) string = json_stringn(buf.size > 0 ? buf.bytes : "", buf.size);
    strbuf_release(&buf);
    return string;
}

json_t *json_name(const char *name) {
    return name == NULL ? json_null() : json_text(name, strlen(name));
}

// "<key> is <value>, <expected> was expected"; a long value is cut.
static bool json_wrong(const char *key, const json_t *value, const char *expected, struct llm_error *err) {
    char *text = json_dump(value, JSON_ENCODE_ANY | JSON_COMPACT);
    char cut[61] = "?";
    if (text != NULL) snprintf(cut, sizeof cut, "%s", text);
    str_clean(cut);
    error_set(err, LLM_ERROR_FORMAT, "%s is %s%s, %s was expected", key, cut,
              text != NULL && strlen(text) > 60 ? "..." : "", expected);
    free(text);
    return false;
}

// The value of a key that is there and not null, else NULL.
static const json_t *json_find(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

bool json_get_int(const json_t *object, const char *key, int64_t min, int64_t max, int64_t *value,
                  struct llm_error *err) {
    const json_t *found = json_find(object, key);
    if (found == NULL) return true;
    if (!json_is_integer(found)) return json_wrong(key, found, "an integer", err);
    const int64_t number = json_integer_value(found);
    if (number < min || number > max) {
        return error_set(err, LLM_ERROR_FORMAT, "%s is %lld, a number from %lld to %lld was expected", key,
                         (long long)number, (long long)min, (long long)max);
    }
    *value = number;
    return true;
}

bool json_get_double(const json_t *object, const char *key, double *value, struct llm_error *err) {
    const json_t *found = json_find(object, key);
    if (found == NULL) return true;
    if (!json_is_number(found)) return json_wrong(key, found, "a number", err);
    *value = json_number_value(found);
    return true;
}

bool json_get_bool(const json_t *object, const char *key, bool *value, struct llm_error *err) {
    const json_t *found = json_find(object, key);
    if (found == NULL) return true;
    if (!json_is_boolean(found)) return json_wrong(key, found, "true or false", err);
    *value = json_is_true(found);
    return true;
}

bool json_get_string(const json_t *object, const char *key, const char **value, struct llm_error *err) {
    const json_t *found = json_find(object, key);
    if (found == NULL) return true;
    if (!json_is_string(found)) return json_wrong(key, found, "a string", err);
    *value = json_string_value(found);
    return true;
}
