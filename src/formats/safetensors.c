// safetensors.c: reading; see safetensors.h. The writer is in safetensors_writer.c.
//
// Divisions: the dtypes of the format; one tensor of a header; one file; open and probe (files and directories are
// reader.c's).
#include "formats/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "base/json.h"
#include "base/str.h"
#include "formats/builder.h"
#include "formats/reader.h"

enum {
    HEADER_MAX = 100000000, // bytes, the format's own limit
};

// ---- Dtypes ---------------------------------------------------------------------------------

// Every dtype of the format (safetensors/src/tensor.rs, enum Dtype); F32, F16 and BF16 are computed with.
static const struct {
    const char *name;
    unsigned bits;
} dtypes[] = {
    {"F32", 32},    {"F16", 16},    {"BF16", 16},       {"F64", 64},    {"I64", 64},    {"I32", 32},
    {"I16", 16},    {"I8", 8},      {"U64", 64},        {"U32", 32},    {"U16", 16},    {"U8", 8},
    {"BOOL", 8},    {"C64", 64},    {"F8_E4M3", 8},     {"F8_E5M2", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
    {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F8_E5M2FNUZ", 8}, {"F4", 4},
};

// Sets dtype and dtype_name and returns the bits an element; 0 for a name the format does not have.
static unsigned find_dtype(struct tensor_view *tensor, const char *name) {
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        if (strcmp(dtypes[i].name, name) != 0) continue;
        tensor->dtype_name = dtypes[i].name;
        if (!dtype_from_name(name, &tensor->dtype)) tensor->dtype = DTYPE_OTHER;
        return dtypes[i].bits;
    }
    return 0;
}

// ---- One tensor of a header -----------------------------------------------------------------

static bool read_dtype(struct tensor_view *tensor, const json_t *value, unsigned *bits, struct llm_error *err) {
    if (!json_is_string(value)) return error_set(err, LLM_ERROR_FORMAT, "dtype is missing or not a string");
    *bits = find_dtype(tensor, json_string_value(value));
    char name[STR_QUOTE_SIZE];
    return *bits != 0 || error_set(err, LLM_ERROR_FORMAT, "dtype %s is not one that safetensors has",
                                   str_quote(json_string_value(value), name));
}

static bool read_shape(struct tensor_view *tensor, const json_t *value, unsigned bits, struct llm_error *err) {
    if (!json_is_array(value)) return error_set(err, LLM_ERROR_FORMAT, "shape is missing or not an array");
    const size_t rank = json_array_size(value);
    if (rank > TENSOR_MAX_RANK) {
        return error_set(err, LLM_ERROR_UNSUPPORTED, "has %zu dimensions, at most %d are supported", rank,
                         TENSOR_MAX_RANK);
    }
    int64_t shape[TENSOR_MAX_RANK];
    for (size_t i = 0; i < rank; i++) {
        const json_t *dim = json_array_get(value, i);
        if (!json_is_integer(dim)) {
            return error_set(err, LLM_ERROR_FORMAT, "dimension %zu of its shape is not an integer", i);
        }
        shape[i] = json_integer_value(dim);
    }
    return tensor_set_shape(tensor, shape, (int)rank, bits, err);
}

// Checks data_offsets [begin, end] against the data's size and the shape, then sets tensor->data.
static bool read_offsets(struct tensor_view *tensor, const json_t *value, const uint8_t *data, size_t data_size,
                         struct llm_error *err) {
    if (!json_is_array(value) || json_array_size(value) != 2 || !json_is_integer(json_array_get(value, 0)) ||
        !json_is_integer(json_array_get(value, 1))) {
        return error_set(err, LLM_ERROR_FORMAT, "data_offsets is missing or not an array of two integers");
    }
    const long long begin = json_integer_value(json_array_get(value, 0));
    const long long end = json_integer_value(json_array_get(value, 1));
    if (begin < 0 || begin > end) {
        return error_set(err, LLM_ERROR_FORMAT, "data_offsets [%lld, %lld] are not a range", begin, end);
    }
    if ((unsigned long long)end > data_size) {
        return error_set(err, LLM_ERROR_FORMAT,
                         "data_offsets [%lld, %lld] go past the end of the data, which has %zu bytes", begin, end,
                         data_size);
    }
    if ((unsigned long long)(end - begin) != tensor->size) {
        char shape[160];
        return error_set(err, LLM_ERROR_FORMAT,
                         "data_offsets [%lld, %lld] hold %lld bytes, but %s of shape %s needs %zu", begin, end,
                         end - begin, tensor->dtype_name, tensor_shape_text(tensor, shape), tensor->size);
    }
    tensor->data = data + begin;
    return true;
}

static bool read_tensor(struct tensor_view *tensor, const json_t *value, const uint8_t *data, size_t data_size,
                        struct llm_error *err) {
    if (!json_is_object(value)) return error_set(err, LLM_ERROR_FORMAT, "is not described by an object");
    unsigned bits = 0;
    if (!read_dtype(tensor, json_object_get(value, "dtype"), &bits, err)) return false;
    if (!read_shape(tensor, json_object_get(value, "shape"), bits, err)) return false;
    if (!read_offsets(tensor, json_object_get(value, "data_offsets"), data, data_size, err)) return false;
    if (json_object_size(value) != 3) {
        return error_set(err, LLM_ERROR_FORMAT, "has %zu properties; only dtype, shape and data_offsets were expected",
                         json_object_size(value));
    }
    return true;
}

// ---- One file -------------------------------------------------------------------------------

// The header's extent; false when it cannot be one.
static bool read_header_size(const uint8_t *bytes, size_t size, size_t *header_size, struct llm_error *err) {
    if (!container_check_foreign(bytes, size, err)) return false;
    if (size < 8) {
        return error_set(err, LLM_ERROR_FORMAT, "has %zu bytes; a safetensors file begins with 8 bytes of header size",
                         size);
    }
    struct cursor cursor;
    cursor_init(&cursor, bytes, size, err);
    const uint64_t stated = cursor_u64(&cursor, "header size");
    if (stated > HEADER_MAX) {
        return error_set(err, LLM_ERROR_FORMAT, "states a header of %llu bytes, at most %d are allowed",
                         (unsigned long long)stated, HEADER_MAX);
    }
    if (stated > size - 8) {
        return error_set(err, LLM_ERROR_FORMAT, "states a header of %llu bytes, but only %zu follow",
                         (unsigned long long)stated, size - 8);
    }
    if (stated == 0 || bytes[8] != '{') {
        return error_set(err, LLM_ERROR_FORMAT, "its header of %llu bytes does not begin with '{'",
                         (unsigned long long)stated);
    }
    *header_size = (size_t)stated;
    return true;
}

// A parsed "{}," takes 75 times its own size, so that 100 MB of those would take 7 GB. No tensor is described
// by less than `"":{"dtype":"F8","shape":[],"data_offsets":[0,0]},`: 3 brackets in 49 bytes; or has more
// commas than 11 in 66, with all 8 dimensions. What is denser is refused before it is parsed.
static bool check_density(const uint8_t *header, size_t size, struct llm_error *err) {
    size_t n_brackets = 0;
    size_t n_commas = 0;
    bool in_string = false;
    for (size_t i = 0; i < size; i++) {
        const uint8_t c = header[i];
        if (c == '"') in_string = !in_string;
        if (in_string) {
            if (c == '\\') i++;
        } else {
            n_brackets += c == '{' || c == '[';
            n_commas += c == ',';
        }
    }
    return (n_brackets <= 16 + size / 16 && n_commas <= 16 + size / 5) ||
           error_set(err, LLM_ERROR_FORMAT,
                     "its header of %zu bytes has %zu brackets and %zu commas, more than tensors need", size,
                     n_brackets, n_commas);
}

static bool check_metadata(const json_t *metadata, struct llm_error *err) {
    if (!json_is_object(metadata)) return error_set(err, LLM_ERROR_FORMAT, "__metadata__ is not an object");
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach((json_t *)metadata, key, value) {
        char name[STR_QUOTE_SIZE];
        if (!json_is_string(value)) {
            return error_set(err, LLM_ERROR_FORMAT, "__metadata__ entry %s is not a string", str_quote(key, name));
        }
    }
    return true;
}

// Adds the tensors of one file, which is the newest of the container.
static bool add_file(struct container *container, const uint8_t *bytes, size_t size, struct llm_error *err) {
    size_t header_size = 0;
    if (!read_header_size(bytes, size, &header_size, err)) return false;
    if (!check_density(bytes + 8, header_size, err)) return false;
    json_t *header = json_parse((const char *)bytes + 8, header_size, err);
    if (header == NULL) {
        error_prefix(err, "header");
        return false;
    }
    const uint8_t *data = bytes + 8 + header_size;
    const size_t data_size = size - 8 - header_size;
    container_set_data(container, data, data_size);
    bool ok = true;
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(header, key, value) {
        if (strcmp(key, "__metadata__") == 0) {
            ok = check_metadata(value, err);
        } else {
            struct tensor_view *tensor = container_add(container, key, err);
            ok = tensor != NULL && read_tensor(tensor, value, data, data_size, err);
            char name[STR_QUOTE_SIZE];
            if (tensor != NULL && !ok) error_prefix(err, "tensor %s", str_quote(key, name));
        }
        if (!ok) break;
    }
    json_decref(header);
    return ok;
}

// ---- Open and probe -------------------------------------------------------------------------

static const struct reader reader = {
    .format = "safetensors",
    .single_name = "model.safetensors",
    .index_name = "model.safetensors.index.json",
    .add = add_file,
    .finish = container_finish,
};

bool safetensors_probe(const char *path) {
    if (directory_exists(path)) return reader_probe_directory(&reader, path);
    static const char suffix[] = ".safetensors";
    const size_t size = strlen(path);
    const size_t suffix_size = sizeof suffix - 1;
    return size > suffix_size && strcmp(path + size - suffix_size, suffix) == 0 && path_exists(path);
}

struct container *safetensors_open(const char *path, struct llm_error *err) {
    return reader_open(&reader, path, err);
}

struct container *safetensors_parse(const uint8_t *bytes, size_t size, struct llm_error *err) {
    return reader_parse(&reader, bytes, size, err);
}
