// gguf.c: reading; see gguf.h. The writer is in gguf_writer.c.
//
// Divisions: metadata; tensors; one file; open and probe.
#include "formats/gguf.h"

#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "base/str.h"
#include "formats/builder.h"
#include "formats/reader.h"

enum {
    KEY_MAX = 65535, // bytes of a key: the format's own limit
    MIN_ENTRY = 13,  // bytes of the smallest metadata entry: empty key, type, one byte
    MIN_TENSOR = 24  // and of the smallest tensor description: empty name, no dimension, type, offset
};

static const char format_name[] = "GGUF";

// ---- Metadata -------------------------------------------------------------------------------

struct entry {
    char *key;
    struct gguf_value value;
};

struct gguf_metadata {
    struct entry *entries; // [n] sorted by key
    size_t n;
};

static void metadata_free(void *memory) {
    struct gguf_metadata *metadata = memory;
    for (size_t i = 0; i < metadata->n; i++) free(metadata->entries[i].key);
    free(metadata->entries);
    free(metadata);
}

static int compare_key(const void *key, const void *entry) {
    return strcmp(key, ((const struct entry *)entry)->key);
}

static int compare_entries(const void *a, const void *b) {
    return strcmp(((const struct entry *)a)->key, ((const struct entry *)b)->key);
}

const struct gguf_value *gguf_find(const struct container *container, const char *key) {
    const struct gguf_metadata *metadata = container_extra(container, format_name);
    if (metadata == NULL || metadata->n == 0) return NULL;
    const struct entry *entry = bsearch(key, metadata->entries, metadata->n, sizeof *metadata->entries, compare_key);
    return entry != NULL ? &entry->value : NULL;
}

// Bytes of a value of this type; 0 for those that have no fixed size.
static size_t type_bytes(enum gguf_type type) {
    static const uint8_t bytes[GGUF_TYPES] = {
        [GGUF_U8] = 1,  [GGUF_I8] = 1,   [GGUF_U16] = 2, [GGUF_I16] = 2, [GGUF_U32] = 4, [GGUF_I32] = 4,
        [GGUF_F32] = 4, [GGUF_BOOL] = 1, [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8,
    };
    return bytes[type];
}

static bool read_type(struct cursor *cursor, enum gguf_type *type) {
    const uint32_t number = cursor_u32(cursor, "value type");
    if (!cursor_ok(cursor)) return false;
    if (number >= GGUF_TYPES) return cursor_fail(cursor, "there is no value type %u", number);
    *type = (enum gguf_type)number;
    return true;
}

static bool read_string(struct cursor *cursor, const char *what, const uint8_t **bytes, size_t *size) {
    const uint64_t stated = cursor_u64(cursor, what);
    *bytes = cursor_take(cursor, stated, what);
    *size = (size_t)stated;
    return cursor_ok(cursor);
}

// Walks over an array's elements, so that its extent is known and every string in it is whole.
static bool read_array(struct cursor *cursor, struct gguf_value *value) {
    if (!read_type(cursor, &value->element)) return false;
    value->n = cursor_u64(cursor, "array size");
    if (!cursor_ok(cursor)) return false;
    if (value->element == GGUF_ARRAY) return cursor_fail(cursor, "an array of arrays is not supported");
    const size_t begin = cursor->offset;
    value->data = cursor->bytes + begin;
    if (value->element == GGUF_STRING) {
        const uint8_t *bytes;
        size_t size;
        for (uint64_t i = 0; i < value->n; i++) {
            if (!read_string(cursor, "string of an array", &bytes, &size)) return false;
        }
    } else {
        const size_t bytes = type_bytes(value->element);
        if (value->n > cursor_left(cursor) / bytes) {
            return cursor_fail(cursor, "an array of %llu elements of %zu bytes, but only %zu bytes follow",
                               (unsigned long long)value->n, bytes, cursor_left(cursor));
        }
        cursor_take(cursor, value->n * bytes, "array");
    }
    value->size = cursor->offset - begin;
    return cursor_ok(cursor);
}

static double f32_of(uint32_t bits) {
    float number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

static double f64_of(uint64_t bits) {
    double number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

static bool read_value(struct cursor *cursor, struct gguf_value *value) {
    if (!read_type(cursor, &value->type)) return false;
    switch (value->type) {
    case GGUF_U8:
        value->integer = cursor_u8(cursor, "value");
        break;
    case GGUF_I8:
        value->integer = cursor_u8(cursor, "value");
        if (value->integer > INT8_MAX) value->integer -= UINT8_MAX + 1;
        break;
    case GGUF_U16:
        value->integer = cursor_u16(cursor, "value");
        break;
    case GGUF_I16:
        value->integer = (int16_t)cursor_u16(cursor, "value");
        break;
    case GGUF_U32:
        value->integer = cursor_u32(cursor, "value");
        break;
    case GGUF_I32:
        value->integer = (int32_t)cursor_u32(cursor, "value");
        break;
    case GGUF_F32:
        value->real = f32_of(cursor_u32(cursor, "value"));
        break;
    case GGUF_BOOL:
        value->integer = cursor_u8(cursor, "value");
        if (value->integer > 1) return cursor_fail(cursor, "a truth value is %d", (int)value->integer);
        break;
    case GGUF_STRING:
        return read_string(cursor, "string", &value->data, &value->size);
    case GGUF_ARRAY:
        return read_array(cursor, value);
    case GGUF_U64: {
        const uint64_t number = cursor_u64(cursor, "value");
        if (number > INT64_MAX) return cursor_fail(cursor, "the value %llu is too large", (unsigned long long)number);
        value->integer = (int64_t)number;
        break;
    }
    case GGUF_I64:
        value->integer = (int64_t)cursor_u64(cursor, "value");
        break;
    default:
        value->real = f64_of(cursor_u64(cursor, "value"));
        break;
    }
    return cursor_ok(cursor);
}

// A name or key as a string of C; NULL when it is too long, has a NUL in it, or memory is out.
static char *read_name(struct cursor *cursor, const char *what, size_t longest) {
    const uint8_t *bytes;
    size_t size;
    if (!read_string(cursor, what, &bytes, &size)) return NULL;
    if (size == 0 || size > longest || memchr(bytes, '\0', size) != NULL) {
        cursor_fail(cursor, "a %s of %zu bytes; 1 to %zu without a NUL were expected", what, size, longest);
        return NULL;
    }
    char *name = strndup((const char *)bytes, size);
    if (name == NULL) error_memory(cursor->err, what);
    return name;
}

// Reads n entries; they are the container's at once, also those before one that is bad.
static bool read_metadata(struct container *container, struct cursor *cursor, uint64_t n, struct llm_error *err) {
    if (n > cursor_left(cursor) / MIN_ENTRY) {
        return error_set(err, LLM_ERROR_FORMAT, "states %llu metadata entries, but only %zu bytes follow",
                         (unsigned long long)n, cursor_left(cursor));
    }
    struct gguf_metadata *metadata = calloc(1, sizeof *metadata);
    struct entry *entries = calloc(n + 1, sizeof *entries);
    if (metadata == NULL || entries == NULL) {
        free(metadata);
        free(entries);
        return error_memory(err, "metadata");
    }
    metadata->entries = entries;
    container_set_extra(container, metadata, metadata_free);
    for (uint64_t i = 0; i < n; i++) {
        entries[i].key = read_name(cursor, "metadata key", KEY_MAX);
        if (entries[i].key == NULL) return false;
        metadata->n = i + 1;
        if (read_value(cursor, &entries[i].value)) continue;
        char quoted[STR_QUOTE_SIZE];
        error_prefix(err, "metadata %s", str_quote(entries[i].key, quoted));
        return false;
    }
    qsort(entries, n, sizeof *entries, compare_entries);
    for (uint64_t i = 1; i < n; i++) {
        if (strcmp(entries[i - 1].key, entries[i].key) != 0) continue;
        char quoted[STR_QUOTE_SIZE];
        return error_set(err, LLM_ERROR_FORMAT, "metadata %s is there twice", str_quote(entries[i].key, quoted));
    }
    return true;
}

// ---- Tensors --------------------------------------------------------------------------------

// The types of tensors by number (enum ggml_type); those we compute with have a dtype.
static const struct {
    uint32_t number;
    const char *name;
    enum dtype dtype;
} tensor_types[] = {
    {0, "F32", DTYPE_F32},     {1, "F16", DTYPE_F16},     {30, "BF16", DTYPE_BF16},  {8, "Q8_0", DTYPE_Q8_0},
    {2, "Q4_0", DTYPE_Q4_0},   {3, "Q4_1", DTYPE_OTHER},  {6, "Q5_0", DTYPE_OTHER},  {7, "Q5_1", DTYPE_OTHER},
    {9, "Q8_1", DTYPE_OTHER},  {10, "Q2_K", DTYPE_OTHER}, {11, "Q3_K", DTYPE_OTHER}, {12, "Q4_K", DTYPE_OTHER},
    {13, "Q5_K", DTYPE_OTHER}, {14, "Q6_K", DTYPE_Q6_K},  {15, "Q8_K", DTYPE_OTHER}, {20, "IQ4_NL", DTYPE_OTHER},
};

bool gguf_type_of(enum dtype dtype, uint32_t *number) {
    for (size_t i = 0; i < sizeof tensor_types / sizeof *tensor_types && dtype != DTYPE_OTHER; i++) {
        if (tensor_types[i].dtype != dtype) continue;
        *number = tensor_types[i].number;
        return true;
    }
    return false;
}

static bool read_tensor_type(struct cursor *cursor, struct tensor_view *tensor) {
    const uint32_t number = cursor_u32(cursor, "tensor type");
    if (!cursor_ok(cursor)) return false;
    for (size_t i = 0; i < sizeof tensor_types / sizeof *tensor_types; i++) {
        if (tensor_types[i].number != number) continue;
        tensor->dtype_name = tensor_types[i].name;
        tensor->dtype = tensor_types[i].dtype;
        return tensor->dtype != DTYPE_OTHER ||
               error_set(cursor->err, LLM_ERROR_UNSUPPORTED,
                         "is stored as %s; F32, F16, BF16, Q8_0, Q4_0 and Q6_K are supported", tensor->dtype_name);
    }
    return cursor_fail(cursor, "there is no tensor type %u", number);
}

// Dimensions come innermost first.
static bool read_shape(struct cursor *cursor, int64_t shape[GGUF_MAX_RANK], int *rank) {
    const uint32_t n = cursor_u32(cursor, "number of dimensions");
    if (!cursor_ok(cursor)) return false;
    if (n == 0 || n > GGUF_MAX_RANK)
        return cursor_fail(cursor, "%u dimensions; 1 to %d were expected", n, GGUF_MAX_RANK);
    *rank = (int)n;
    for (uint32_t i = 0; i < n; i++) {
        const uint64_t dimension = cursor_u64(cursor, "dimension");
        if (!cursor_ok(cursor)) return false;
        if (dimension == 0 || dimension > INT64_MAX) {
            return cursor_fail(cursor, "a dimension is %llu", (unsigned long long)dimension);
        }
        shape[n - 1 - i] = (int64_t)dimension;
    }
    return true;
}

bool gguf_set_shape(struct tensor_view *tensor, const int64_t *shape, int rank, struct llm_error *err) {
    const struct dtype_info *info = dtype_info(tensor->dtype);
    if (rank < 1) return error_set(err, LLM_ERROR_FORMAT, "has no dimensions");
    if (shape[rank - 1] % (int64_t)info->block != 0) {
        return error_set(err, LLM_ERROR_FORMAT, "has rows of %lld elements; %s comes in blocks of %zu",
                         (long long)shape[rank - 1], info->name, info->block);
    }
    // Bits an element are whole numbers for all but the blocks' scales: count blocks, then put the elements back.
    int64_t blocks[GGUF_MAX_RANK];
    memcpy(blocks, shape, (size_t)rank * sizeof *blocks);
    blocks[rank - 1] /= (int64_t)info->block;
    if (!tensor_set_shape(tensor, blocks, rank, 8 * (unsigned)info->block_bytes, err)) return false;
    tensor->shape[rank - 1] = shape[rank - 1];
    tensor->n_elements *= (int64_t)info->block; // no overflow: a block has no more elements than bits
    return true;
}

// Everything but the place of the data, whose offset goes to *offset.
static bool read_tensor(struct cursor *cursor, struct tensor_view *tensor, uint64_t *offset) {
    int64_t shape[GGUF_MAX_RANK];
    int rank = 0;
    if (!read_shape(cursor, shape, &rank) || !read_tensor_type(cursor, tensor)) return false;
    *offset = cursor_u64(cursor, "offset");
    if (!cursor_ok(cursor)) return false;
    return gguf_set_shape(tensor, shape, rank, cursor->err);
}

static bool read_tensors(struct container *container, struct cursor *cursor, uint64_t n, uint64_t *offsets,
                         struct llm_error *err) {
    for (uint64_t i = 0; i < n; i++) {
        char *name = read_name(cursor, "tensor name", GGUF_NAME_MAX);
        if (name == NULL) return false;
        struct tensor_view *tensor = container_add(container, name, err);
        const bool ok = tensor != NULL && read_tensor(cursor, tensor, &offsets[i]);
        char quoted[STR_QUOTE_SIZE];
        if (tensor != NULL && !ok) error_prefix(err, "tensor %s", str_quote(name, quoted));
        free(name);
        if (!ok) return false;
    }
    return true;
}

// What the beginnings of the data and of its tensors are multiples of.
static bool read_alignment(const struct container *container, size_t *alignment, struct llm_error *err) {
    *alignment = GGUF_ALIGNMENT;
    const struct gguf_value *value = gguf_find(container, "general.alignment");
    if (value == NULL) return true;
    const int64_t stated = value->integer;
    if (value->type != GGUF_U32 || stated < 1 || stated > 65536 || (stated & (stated - 1)) != 0) {
        return error_set(err, LLM_ERROR_FORMAT,
                         "general.alignment is %lld; a power of two up to 65536 (of type u32) was expected",
                         (long long)stated);
    }
    *alignment = (size_t)stated;
    return true;
}

// Points the tensors into the data, which begins behind the descriptions.
static bool place_tensors(struct container *container, const struct cursor *cursor, const uint64_t *offsets,
                          struct llm_error *err) {
    size_t alignment;
    if (!read_alignment(container, &alignment, err)) return false;
    const size_t padding = (alignment - cursor->offset % alignment) % alignment;
    const size_t begin = cursor->size - cursor->offset < padding ? cursor->size : cursor->offset + padding;
    const uint8_t *data = cursor->bytes + begin;
    const size_t size = cursor->size - begin;
    container_set_data(container, data, size);
    container_set_alignment(container, alignment);
    for (int i = 0; i < container->n_tensors; i++) {
        struct tensor_view *tensor = &container->tensors[i];
        char quoted[STR_QUOTE_SIZE];
        if (offsets[i] % alignment != 0) {
            return error_set(err, LLM_ERROR_FORMAT, "tensor %s begins at byte %llu of the data, no multiple of %zu",
                             str_quote(tensor->name, quoted), (unsigned long long)offsets[i], alignment);
        }
        if (offsets[i] > size || tensor->size > size - offsets[i]) {
            return error_set(err, LLM_ERROR_FORMAT,
                             "tensor %s needs %zu bytes from byte %llu of the data, which has %zu",
                             str_quote(tensor->name, quoted), tensor->size, (unsigned long long)offsets[i], size);
        }
        tensor->data = data + offsets[i];
    }
    return true;
}

// ---- One file -------------------------------------------------------------------------------

static bool read_header(struct cursor *cursor, uint64_t *n_tensors, uint64_t *n_entries, struct llm_error *err) {
    if (!container_check_foreign(cursor->bytes, cursor->size, err)) return false;
    const uint8_t *magic = cursor_take(cursor, 4, "magic");
    if (magic == NULL || memcmp(magic, "GGUF", 4) != 0) {
        return error_set(err, LLM_ERROR_FORMAT, "does not begin with \"GGUF\"");
    }
    const uint32_t version = cursor_u32(cursor, "version");
    *n_tensors = cursor_u64(cursor, "number of tensors");
    *n_entries = cursor_u64(cursor, "number of metadata entries");
    if (!cursor_ok(cursor)) return false;
    if (version != 2 && version != 3) {
        const char *hint = (version & 0xffff) == 0 && version != 0 ? " (a big-endian file?)" : "";
        return error_set(err, LLM_ERROR_UNSUPPORTED, "is GGUF version %u%s; 2 and 3 are supported", version, hint);
    }
    if (*n_tensors > cursor_left(cursor) / MIN_TENSOR) {
        return error_set(err, LLM_ERROR_FORMAT, "states %llu tensors, but only %zu bytes follow",
                         (unsigned long long)*n_tensors, cursor_left(cursor));
    }
    return true;
}

// Adds the tensors and metadata of one file, which is the newest of the container.
static bool add_file(struct container *container, const uint8_t *bytes, size_t size, struct llm_error *err) {
    struct cursor cursor;
    cursor_init(&cursor, bytes, size, err);
    uint64_t n_tensors = 0;
    uint64_t n_entries = 0;
    if (!read_header(&cursor, &n_tensors, &n_entries, err)) return false;
    if (!read_metadata(container, &cursor, n_entries, err)) return false;
    if (n_tensors > cursor_left(&cursor) / MIN_TENSOR) {
        return error_set(err, LLM_ERROR_FORMAT, "states %llu tensors, but only %zu bytes follow its metadata",
                         (unsigned long long)n_tensors, cursor_left(&cursor));
    }
    uint64_t *offsets = calloc(n_tensors + 1, sizeof *offsets);
    if (offsets == NULL) return error_memory(err, "tensor offsets");
    const bool ok =
        read_tensors(container, &cursor, n_tensors, offsets, err) && place_tensors(container, &cursor, offsets, err);
    free(offsets);
    return ok;
}

// ---- Open and probe -------------------------------------------------------------------------

bool gguf_named(const char *path) {
    static const char suffix[] = ".gguf";
    const size_t size = strlen(path);
    const size_t suffix_size = sizeof suffix - 1;
    return size > suffix_size && strcmp(path + size - suffix_size, suffix) == 0;
}

bool gguf_probe(const char *path) {
    return gguf_named(path) && !directory_exists(path) && path_exists(path);
}

static const struct reader reader = {.format = format_name, .add = add_file, .finish = container_finish};

struct container *gguf_open(const char *path, struct llm_error *err) {
    return reader_open(&reader, path, err);
}

struct container *gguf_parse(const uint8_t *bytes, size_t size, struct llm_error *err) {
    return reader_parse(&reader, bytes, size, err);
}
