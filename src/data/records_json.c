// records_json.c: records from JSON: a list of objects, or one object a line. See records.h.
#include <string.h>

#include "base/json.h"
#include "data/records.h"

static const char *type_name(const json_t *value) {
    static const char *const names[] = {"an object", "a list", "a string", "a number",
                                        "a number",  "true",   "false",    "null"};
    return names[json_typeof(value)];
}

// One key of an object. Null is as good as missing; numbers and truth values become their text.
static bool add_value(struct records *records, const char *key, json_t *value, int64_t number, struct llm_error *err) {
    if (json_is_null(value)) return true;
    const int column = records_column(records, key, number, err);
    if (column < 0) return false;
    if (json_is_string(value)) {
        return records_add(records, column, json_string_value(value), json_string_length(value), CELL_STRING, number,
                           err);
    }
    const bool scalar = !json_is_object(value) && !json_is_array(value);
    char text[64];
    const size_t size = scalar ? json_dumpb(value, text, sizeof text, JSON_ENCODE_ANY) : 0;
    if (size > 0 && size <= sizeof text) return records_add(records, column, text, size, CELL_SCALAR, number, err);
    const char *type = type_name(value);
    return records_add(records, column, type, strlen(type), CELL_OTHER, number, err);
}

static bool add_object(struct records *records, json_t *object, int64_t number, struct llm_error *err) {
    if (!json_is_object(object)) {
        return records_fail(records, number, err,
                            "is %s, an object such as {\"text\": ..., \"label\": ...} was expected", type_name(object));
    }
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(object, key, value) {
        if (!add_value(records, key, value, number, err)) return false;
    }
    return records_end(records, number, err);
}

bool records_add_object(struct records *records, const char *text, size_t size, int64_t number, struct llm_error *err) {
    struct llm_error wrong = {0};
    json_t *object = json_parse(text, size, &wrong);
    if (object == NULL) return error_set(err, wrong.code, "%s %lld: %s", records->unit, (long long)number, wrong.text);
    const bool ok = add_object(records, object, number, err);
    json_decref(object);
    return ok;
}

bool records_add_list(struct records *records, const char *text, size_t size, struct llm_error *err) {
    json_t *list = json_parse(text, size, err);
    if (list == NULL) return false;
    bool ok = json_is_array(list);
    if (!ok) error_set(err, LLM_ERROR_FORMAT, "is %s, a list of objects was expected", type_name(list));
    for (size_t i = 0; ok && i < json_array_size(list); i++) {
        ok = add_object(records, json_array_get(list, i), (int64_t)i + 1, err);
    }
    json_decref(list);
    return ok;
}
