// tensorflow_index.c: see tensorflow_index.h. The table underneath is read by table.c.
//
// Divisions: dtypes; protocol buffers; header and entries; the table's keys.
#include "formats/tensorflow_index.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "base/str.h"
#include "formats/builder.h"
#include "formats/table.h"

enum {
    VERSION = 1, // of the bundle format that this reader knows
};

// ---- Dtypes ---------------------------------------------------------------------------------

// enum DataType of tensorflow/core/framework/types.proto; bits 0: strings, whose size is not fixed.
static const struct dtype_row {
    const char *name;
    unsigned bits;
    enum dtype dtype;
} dtypes[] = {
    [1] = {"DT_FLOAT", 32, DTYPE_F32},           [2] = {"DT_DOUBLE", 64, DTYPE_OTHER},
    [3] = {"DT_INT32", 32, DTYPE_OTHER},         [4] = {"DT_UINT8", 8, DTYPE_OTHER},
    [5] = {"DT_INT16", 16, DTYPE_OTHER},         [6] = {"DT_INT8", 8, DTYPE_OTHER},
    [7] = {"DT_STRING", 0, DTYPE_OTHER},         [8] = {"DT_COMPLEX64", 64, DTYPE_OTHER},
    [9] = {"DT_INT64", 64, DTYPE_OTHER},         [10] = {"DT_BOOL", 8, DTYPE_OTHER},
    [11] = {"DT_QINT8", 8, DTYPE_OTHER},         [12] = {"DT_QUINT8", 8, DTYPE_OTHER},
    [13] = {"DT_QINT32", 32, DTYPE_OTHER},       [14] = {"DT_BFLOAT16", 16, DTYPE_BF16},
    [15] = {"DT_QINT16", 16, DTYPE_OTHER},       [16] = {"DT_QUINT16", 16, DTYPE_OTHER},
    [17] = {"DT_UINT16", 16, DTYPE_OTHER},       [18] = {"DT_COMPLEX128", 128, DTYPE_OTHER},
    [19] = {"DT_HALF", 16, DTYPE_F16},           [22] = {"DT_UINT32", 32, DTYPE_OTHER},
    [23] = {"DT_UINT64", 64, DTYPE_OTHER},       [24] = {"DT_FLOAT8_E5M2", 8, DTYPE_OTHER},
    [25] = {"DT_FLOAT8_E4M3FN", 8, DTYPE_OTHER},
};

static const struct dtype_row *find_dtype(uint64_t number) {
    if (number >= sizeof dtypes / sizeof *dtypes || dtypes[number].name == NULL) return NULL;
    return &dtypes[number];
}

// ---- Protocol buffers -----------------------------------------------------------------------

enum wire {
    WIRE_VARINT = 0,
    WIRE_FIXED64 = 1,
    WIRE_BYTES = 2,
    WIRE_FIXED32 = 5,
};

// One field of a message. Source: protobuf's "Encoding" page.
struct field {
    uint32_t number;
    enum wire wire;
    uint64_t value;       // of a varint or fixed number
    const uint8_t *bytes; // [size] of bytes: a string or a message
    size_t size;
};

// Reads the next field; false at the end and on failure, which cursor_ok() tells apart.
static bool field_next(struct cursor *cursor, struct field *field) {
    if (!cursor_ok(cursor) || cursor_left(cursor) == 0) return false;
    *field = (struct field){0};
    const uint32_t tag = cursor_varint32(cursor, "field tag");
    field->number = tag >> 3;
    field->wire = (enum wire)(tag & 7);
    switch (field->wire) {
    case WIRE_VARINT:
        field->value = cursor_varint64(cursor, "number");
        break;
    case WIRE_FIXED64:
        field->value = cursor_u64(cursor, "number");
        break;
    case WIRE_FIXED32:
        field->value = cursor_u32(cursor, "number");
        break;
    case WIRE_BYTES: {
        const uint64_t size = cursor_varint64(cursor, "field size");
        field->bytes = cursor_take(cursor, size, "field");
        field->size = (size_t)size;
        break;
    }
    default:
        cursor_fail(cursor, "field %u has the unknown wire type %u", field->number, tag & 7);
    }
    if (cursor_ok(cursor) && field->number == 0) cursor_fail(cursor, "a field has number 0");
    return cursor_ok(cursor);
}

// Whether the field has this wire type; fails the cursor when not.
static bool field_is(struct cursor *cursor, const struct field *field, enum wire wire) {
    return field->wire == wire || cursor_fail(cursor, "field %u has wire type %d, %d was expected", field->number,
                                              (int)field->wire, (int)wire);
}

// ---- Header and entries ---------------------------------------------------------------------

// VersionDef: producer = 1, min_consumer = 2, bad_consumers = 3.
static bool read_version(const uint8_t *bytes, size_t size, struct llm_error *err) {
    struct cursor cursor;
    cursor_init(&cursor, bytes, size, err);
    struct field field;
    uint64_t min_consumer = 0;
    while (field_next(&cursor, &field)) {
        if (field.number == 2 && field_is(&cursor, &field, WIRE_VARINT)) min_consumer = field.value;
    }
    if (cursor_ok(&cursor) && min_consumer > VERSION) {
        return error_set(err, LLM_ERROR_UNSUPPORTED, "needs a reader of version %llu, this one has version %d",
                         (unsigned long long)min_consumer, VERSION);
    }
    return cursor_ok(&cursor);
}

// BundleHeaderProto: num_shards = 1, endianness = 2 (0 little, 1 big), version = 3.
static bool read_header(struct tensorflow_index *index, const uint8_t *bytes, size_t size, struct llm_error *err) {
    struct cursor cursor;
    cursor_init(&cursor, bytes, size, err);
    struct field field;
    uint64_t n_shards = 0;
    uint64_t endianness = 0;
    while (field_next(&cursor, &field)) {
        if (field.number == 1 && field_is(&cursor, &field, WIRE_VARINT)) n_shards = field.value;
        if (field.number == 2 && field_is(&cursor, &field, WIRE_VARINT)) endianness = field.value;
        if (field.number == 3 && field_is(&cursor, &field, WIRE_BYTES) && !read_version(field.bytes, field.size, err)) {
            return false;
        }
    }
    if (!cursor_ok(&cursor)) return false;
    if (endianness != 0) {
        return error_set(err, LLM_ERROR_UNSUPPORTED, "its numbers are big-endian, which is not supported");
    }
    if (n_shards < 1 || n_shards > TENSORFLOW_SHARDS_MAX) {
        return error_set(err, LLM_ERROR_FORMAT, "states %llu data files, 1 to %d were expected",
                         (unsigned long long)n_shards, TENSORFLOW_SHARDS_MAX);
    }
    index->n_shards = (uint32_t)n_shards;
    return true;
}

// TensorShapeProto.Dim: size = 1, name = 2. A size of 0 is not written.
static bool read_dim(const uint8_t *bytes, size_t size, int64_t *dim, struct llm_error *err) {
    struct cursor cursor;
    cursor_init(&cursor, bytes, size, err);
    struct field field;
    *dim = 0;
    while (field_next(&cursor, &field)) {
        if (field.number == 1 && field_is(&cursor, &field, WIRE_VARINT)) *dim = (int64_t)field.value;
    }
    return cursor_ok(&cursor);
}

// TensorShapeProto: dim = 2, unknown_rank = 3. *rank counts on beyond what shape can hold.
static bool read_shape(const uint8_t *bytes, size_t size, int64_t shape[TENSOR_MAX_RANK], int *rank,
                       struct llm_error *err) {
    struct cursor cursor;
    cursor_init(&cursor, bytes, size, err);
    struct field field;
    *rank = 0;
    while (field_next(&cursor, &field)) {
        if (field.number == 2 && field_is(&cursor, &field, WIRE_BYTES)) {
            int64_t dim = 0;
            if (!read_dim(field.bytes, field.size, &dim, err)) return false;
            if (*rank < TENSOR_MAX_RANK) shape[*rank] = dim;
            ++*rank;
        }
        if (field.number == 3 && field_is(&cursor, &field, WIRE_VARINT) && field.value != 0) {
            cursor_fail(&cursor, "its rank is unknown");
        }
    }
    return cursor_ok(&cursor);
}

// BundleEntryProto: dtype = 1, shape = 2, shard_id = 3, offset = 4, size = 5, crc32c = 6, slices = 7.
static bool read_entry(const struct tensorflow_index *index, struct tensor_view *tensor, struct tensorflow_entry *entry,
                       const uint8_t *bytes, size_t size, struct llm_error *err) {
    struct cursor cursor;
    cursor_init(&cursor, bytes, size, err);
    struct field field;
    uint64_t dtype = 0;
    uint64_t shard = 0;
    int64_t shape[TENSOR_MAX_RANK];
    int rank = 0;
    while (field_next(&cursor, &field)) {
        if (field.number == 1 && field_is(&cursor, &field, WIRE_VARINT)) dtype = field.value;
        if (field.number == 2 && field_is(&cursor, &field, WIRE_BYTES) &&
            !read_shape(field.bytes, field.size, shape, &rank, err)) {
            return false;
        }
        if (field.number == 3 && field_is(&cursor, &field, WIRE_VARINT)) shard = field.value;
        if (field.number == 4 && field_is(&cursor, &field, WIRE_VARINT)) entry->offset = field.value;
        if (field.number == 5 && field_is(&cursor, &field, WIRE_VARINT)) entry->size = field.value;
        if (field.number == 6 && field_is(&cursor, &field, WIRE_FIXED32)) entry->crc = (uint32_t)field.value;
        if (field.number == 7) {
            return error_set(err, LLM_ERROR_UNSUPPORTED,
                             "is stored in slices (a partitioned variable), which is not supported");
        }
    }
    if (!cursor_ok(&cursor)) return false;
    if (shard >= index->n_shards) {
        return error_set(err, LLM_ERROR_FORMAT, "lies in data file %llu, but there are %u (counted from 0)",
                         (unsigned long long)shard, index->n_shards);
    }
    entry->shard = (uint32_t)shard;
    const struct dtype_row *row = find_dtype(dtype);
    if (row == NULL) {
        return error_set(err, LLM_ERROR_FORMAT, "has the unknown dtype number %llu", (unsigned long long)dtype);
    }
    tensor->dtype = row->dtype;
    tensor->dtype_name = row->name;
    tensor->file = (int)shard;
    if (!tensor_set_shape(tensor, shape, rank, row->bits, err)) return false;
    entry->strings = row->bits == 0;
    if (entry->strings) {
        if (entry->size > SIZE_MAX / 2) return error_set(err, LLM_ERROR_FORMAT, "states a negative size");
        tensor->size = (size_t)entry->size;
    }
    if (entry->size == tensor->size) return true;
    char text[160];
    return error_set(err, LLM_ERROR_FORMAT, "states %llu bytes, but %s of shape %s needs %zu",
                     (unsigned long long)entry->size, row->name, tensor_shape_text(tensor, text), tensor->size);
}

// ---- The table's keys -----------------------------------------------------------------------

// Appends the entry that goes with a view.
static struct tensorflow_entry *add_entry(struct tensorflow_index *index, const struct tensor_view *tensor,
                                          struct llm_error *err) {
    if (index->n_entries == index->capacity) {
        const int capacity = index->capacity == 0 ? 64 : index->capacity * 2;
        struct tensorflow_entry *entries =
            index->capacity > INT_MAX / 2 ? NULL : realloc(index->entries, (size_t)capacity * sizeof *entries);
        if (entries == NULL) {
            error_memory(err, "index entries");
            return NULL;
        }
        index->entries = entries;
        index->capacity = capacity;
    }
    struct tensorflow_entry *entry = &index->entries[index->n_entries++];
    *entry = (struct tensorflow_entry){.name = tensor->name};
    return entry;
}

// One key of the table: "" is the header and comes first, any other names a tensor.
static bool on_key(void *user, const char *key, size_t key_size, const uint8_t *value, size_t value_size,
                   struct llm_error *err) {
    struct tensorflow_index *index = user;
    if (key_size == 0) {
        if (read_header(index, value, value_size, err)) return true;
        error_prefix(err, "header");
        return false;
    }
    if (index->n_shards == 0) {
        return error_set(err, LLM_ERROR_FORMAT, "does not begin with a header, so it is not the index of a checkpoint");
    }
    if (key[0] == '\0') {
        // TensorFlow's key of a slice (tensor_slice_util: EncodeTensorNameSlice) begins with an encoded 0.
        return error_set(err, LLM_ERROR_UNSUPPORTED,
                         "holds slices of tensors (partitioned variables), which are not supported");
    }
    if (strlen(key) != key_size) return error_set(err, LLM_ERROR_FORMAT, "a tensor's name holds a NUL byte");
    struct tensor_view *tensor = container_add(index->container, key, err);
    struct tensorflow_entry *entry = tensor == NULL ? NULL : add_entry(index, tensor, err);
    if (entry != NULL && read_entry(index, tensor, entry, value, value_size, err)) return true;
    char name[STR_QUOTE_SIZE];
    error_prefix(err, "tensor %s", str_quote(key, name));
    return false;
}

bool tensorflow_index_read(struct tensorflow_index *index, const uint8_t *bytes, size_t size, struct llm_error *err) {
    if (!container_check_foreign(bytes, size, err)) return false;
    if (!table_read(bytes, size, on_key, index, err)) return false;
    return index->n_shards > 0 || error_set(err, LLM_ERROR_FORMAT, "has no header, its table is empty");
}
