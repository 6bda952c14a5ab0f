// fuzz_json.c: any bytes as JSON, and every getter on what comes out. What is accepted must be UTF-8 and
// survive being written and read again.
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use_getters(const json_t *object, const char *key) {
    int64_t number = 0;
    double real = 0;
    bool flag = false;
    const char *text = "";
    struct llm_error err = {0};
    json_get_int(object, key, -10, 10, &number, &err);
    if (number < -10 || number > 10) abort();
    err.code = LLM_OK;
    json_get_double(object, key, &real, &err);
    err.code = LLM_OK;
    json_get_bool(object, key, &flag, &err);
    err.code = LLM_OK;
    json_get_string(object, key, &text, &err);
    if (!utf8_valid(text, strlen(text)) || !utf8_valid(err.text, strlen(err.text))) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct llm_error err = {0};
    json_t *value = json_parse((const char *)data, size, &err);
    if ((value == NULL) != (err.code != LLM_OK)) abort();
    if (!utf8_valid(err.text, strlen(err.text))) abort();
    if (value == NULL) return 0;
    if (!utf8_valid((const char *)data, size)) abort();
    const char *key = NULL;
    json_t *item = NULL;
    json_object_foreach(value, key, item) {
        use_getters(value, key);
    }
    char *text = json_dumps(value, JSON_ENCODE_ANY);
    json_t *again = text == NULL ? NULL : json_parse(text, strlen(text), &err);
    if (again == NULL || !json_equal(value, again)) abort();
    json_decref(again);
    free(text);
    json_decref(value);
    return 0;
}
