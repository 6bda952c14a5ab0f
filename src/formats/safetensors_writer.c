// safetensors_writer.c: writing; see safetensors.h. The reader is in safetensors.c.
//
// Every tensor is declared before the first byte of data comes, so headers and the number of shards are
// known up front and data streams straight through. The same declarations give the same bytes.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/size.h"
#include "base/str.h"
#include "formats/builder.h"
#include "formats/safetensors.h"
#include "formats/writer.h"

enum {
    DATA_ALIGNMENT = 64, // the header is padded so that data begins on a cache line; the format asks for 8
};

// One file to be written: tensors [first, end) one after another.
struct shard {
    int first;
    int end;
    uint64_t size; // bytes of data
};

struct safetensors_writer {
    char *directory;
    uint64_t shard_size;         // 0: everything in one file
    struct tensor_view *tensors; // [n_tensors] names are owned, data and file unused
    int n_tensors;
    int tensor_capacity;
    struct shard *shards; // [n_shards]
    int n_shards;
    int shard_capacity;
    json_t *weight_map; // name: number of its shard, later the shard's file name
    uint64_t declared;  // bytes of data over all tensors
    uint64_t given;     // of these, so far

    int shard;                // being written, or the next one
    struct file_writer *file; // NULL between shards
    uint64_t left;            // bytes of data still to come for `file`
    bool failed;
};

struct safetensors_writer *safetensors_writer_new(const char *directory, int64_t shard_size, struct llm_error *err) {
    struct safetensors_writer *writer = calloc(1, sizeof *writer);
    if (writer != NULL) {
        writer->directory = strdup(directory);
        writer->weight_map = json_object();
        writer->shard_size = shard_size > 0 ? (uint64_t)shard_size : 0;
        if (writer->directory != NULL && writer->weight_map != NULL) return writer;
        safetensors_writer_free(writer);
    }
    error_memory(err, "safetensors writer");
    return NULL;
}

void safetensors_writer_free(struct safetensors_writer *writer) {
    if (writer == NULL) return;
    file_writer_abort(writer->file);
    for (int i = 0; i < writer->n_tensors; i++) free((char *)writer->tensors[i].name);
    free(writer->tensors);
    free(writer->shards);
    json_decref(writer->weight_map);
    free(writer->directory);
    free(writer);
}

// ---- Declaring ------------------------------------------------------------------------------

// The shard that a tensor of `size` bytes goes to: the newest one, or another when that gets too big.
static struct shard *choose_shard(struct safetensors_writer *writer, uint64_t size, struct llm_error *err) {
    if (writer->n_shards > 0) {
        struct shard *newest = &writer->shards[writer->n_shards - 1];
        if (writer->shard_size == 0 || newest->size == 0 || newest->size + size <= writer->shard_size) return newest;
    }
    if (!writer_grow((void **)&writer->shards, writer->n_shards, &writer->shard_capacity, sizeof *writer->shards,
                     err)) {
        return NULL;
    }
    struct shard *shard = &writer->shards[writer->n_shards++];
    *shard = (struct shard){.first = writer->n_tensors, .end = writer->n_tensors};
    return shard;
}

static bool declare(struct safetensors_writer *writer, const char *name, enum dtype dtype, int rank,
                    const int64_t *shape, struct llm_error *err) {
    if (writer->given > 0 || writer->file != NULL) {
        return error_set(err, LLM_ERROR_ARGUMENT, "is declared after the first data");
    }
    if (dtype == DTYPE_OTHER || strcmp(name, "__metadata__") == 0) {
        return error_set(err, LLM_ERROR_ARGUMENT, "has a dtype or name that cannot be written");
    }
    if (json_object_get(writer->weight_map, name) != NULL) {
        return error_set(err, LLM_ERROR_ARGUMENT, "is declared twice");
    }
    struct tensor_view tensor = {.dtype = dtype, .dtype_name = dtype_info(dtype)->name};
    const unsigned bits = (unsigned)(8 * dtype_info(dtype)->block_bytes);
    uint64_t declared = 0;
    if (!tensor_set_shape(&tensor, shape, rank, bits, err)) return false;
    if (!size_add(writer->declared, tensor.size, &declared) || declared > INT64_MAX) {
        return error_set(err, LLM_ERROR_ARGUMENT, "makes the file larger than 64-bit sizes can count");
    }
    if (!writer_grow((void **)&writer->tensors, writer->n_tensors, &writer->tensor_capacity, sizeof tensor, err)) {
        return false;
    }
    struct shard *shard = choose_shard(writer, tensor.size, err);
    if (shard == NULL) return false;
    if (json_object_set_new(writer->weight_map, name, json_integer(writer->n_shards - 1)) != 0) {
        return error_set(err, LLM_ERROR_ARGUMENT, "has a name that is not UTF-8");
    }
    tensor.name = strdup(name);
    if (tensor.name == NULL) return error_memory(err, "tensor name");
    writer->tensors[writer->n_tensors++] = tensor;
    writer->declared = declared;
    shard->end++;
    shard->size += tensor.size;
    return true;
}

bool safetensors_writer_declare(struct safetensors_writer *writer, const char *name, enum dtype dtype, int rank,
                                const int64_t *shape, struct llm_error *err) {
    if (declare(writer, name, dtype, rank, shape, err)) return true;
    char quoted[STR_QUOTE_SIZE];
    error_prefix(err, "tensor %s", str_quote(name, quoted));
    writer->failed = true;
    return false;
}

// ---- Files ----------------------------------------------------------------------------------

// A shard's file name as transformers spells it: "model.safetensors" or "model-00001-of-00003.safetensors".
static void shard_name(const struct safetensors_writer *writer, int shard, char out[64]) {
    if (writer->n_shards <= 1) {
        snprintf(out, 64, "model.safetensors");
    } else {
        snprintf(out, 64, "model-%05d-of-%05d.safetensors", shard + 1, writer->n_shards);
    }
}

// {"dtype": ..., "shape": [...], "data_offsets": [begin, begin + size]}; NULL when out of memory.
static json_t *tensor_to_json(const struct tensor_view *tensor, uint64_t begin) {
    json_t *shape = json_array();
    for (int i = 0; i < tensor->rank; i++) {
        if (json_array_append_new(shape, json_integer(tensor->shape[i])) != 0) {
            json_decref(shape);
            return NULL;
        }
    }
    const uint64_t end = begin + tensor->size;
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", tensor->dtype_name, "shape", shape, "data_offsets",
                     (json_int_t)begin, (json_int_t)end);
}

// The header of a shard, padded; NULL when out of memory.
static char *header_text(const struct safetensors_writer *writer, const struct shard *shard) {
    json_t *header = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
    uint64_t begin = 0;
    bool ok = header != NULL;
    for (int i = shard->first; ok && i < shard->end; i++) {
        const struct tensor_view *tensor = &writer->tensors[i];
        ok = json_object_set_new(header, tensor->name, tensor_to_json(tensor, begin)) == 0;
        begin += tensor->size;
    }
    char *json = ok ? json_dump(header, JSON_COMPACT) : NULL;
    json_decref(header);
    if (json == NULL) return NULL;
    char *text = NULL;
    const size_t size = strlen(json);
    const size_t padding = DATA_ALIGNMENT - 1 - (8 + size + DATA_ALIGNMENT - 1) % DATA_ALIGNMENT;
    if (asprintf(&text, "%s%*s", json, (int)padding, "") < 0) text = NULL;
    free(json);
    return text;
}

static bool write_header(struct safetensors_writer *writer, const struct shard *shard, struct llm_error *err) {
    char *text = header_text(writer, shard);
    if (text == NULL) return error_memory(err, "safetensors header");
    const size_t size = strlen(text);
    uint8_t prefix[8];
    for (int b = 0; b < 8; b++) prefix[b] = (uint8_t)((uint64_t)size >> (8 * b));
    const bool ok =
        file_writer_write(writer->file, prefix, sizeof prefix, err) && file_writer_write(writer->file, text, size, err);
    free(text);
    return ok;
}

// Opens the next shard's file and writes its header.
static bool open_shard(struct safetensors_writer *writer, struct llm_error *err) {
    const struct shard *shard = &writer->shards[writer->shard];
    char name[64];
    shard_name(writer, writer->shard, name);
    char *path = path_join(writer->directory, name);
    if (path == NULL) return error_memory(err, "path");
    writer->file = file_writer_open(path, err);
    free(path);
    writer->left = shard->size;
    return writer->file != NULL && write_header(writer, shard, err);
}

// Puts the finished shard in place and goes to the next.
static bool close_shard(struct safetensors_writer *writer, struct llm_error *err) {
    struct file_writer *file = writer->file;
    writer->file = NULL;
    writer->shard++;
    return file_writer_commit(file, err);
}

static bool write_data(struct safetensors_writer *writer, const uint8_t *bytes, size_t size, struct llm_error *err) {
    if (size > writer->declared - writer->given) {
        return error_set(err, LLM_ERROR_ARGUMENT, "more tensor data was given than was declared");
    }
    writer->given += size;
    while (size > 0) {
        if (writer->file == NULL && !open_shard(writer, err)) return false;
        const size_t n = size < writer->left ? size : (size_t)writer->left;
        if (!file_writer_write(writer->file, bytes, n, err)) return false;
        bytes += n;
        size -= n;
        writer->left -= n;
        if (writer->left == 0 && !close_shard(writer, err)) return false;
    }
    return true;
}

bool safetensors_writer_data(struct safetensors_writer *writer, const void *bytes, size_t size, struct llm_error *err) {
    if (!writer->failed && !write_data(writer, bytes, size, err)) writer->failed = true;
    return !writer->failed || error_set(err, LLM_ERROR_IO, "writing failed before");
}

// Writes model.safetensors.index.json, laid out as transformers does.
static bool write_index(struct safetensors_writer *writer, struct llm_error *err) {
    bool ok = true;
    for (int i = 0; ok && i < writer->n_tensors; i++) {
        const char *tensor = writer->tensors[i].name;
        char name[64];
        shard_name(writer, (int)json_integer_value(json_object_get(writer->weight_map, tensor)), name);
        ok = json_object_set_new(writer->weight_map, tensor, json_string(name)) == 0;
    }
    json_t *index = !ok ? NULL
                        : json_pack("{s:{s:I}, s:O}", "metadata", "total_size", (json_int_t)writer->declared,
                                    "weight_map", writer->weight_map);
    char *text = index == NULL ? NULL : json_dump(index, JSON_INDENT(2) | JSON_SORT_KEYS);
    json_decref(index);
    char *path = path_join(writer->directory, "model.safetensors.index.json");
    if (text == NULL || path == NULL) {
        ok = error_memory(err, "safetensors index");
    } else {
        ok = file_write(path, text, strlen(text), err);
    }
    free(path);
    free(text);
    return ok;
}

static bool finish(struct safetensors_writer *writer, struct llm_error *err) {
    if (writer->failed) return error_set(err, LLM_ERROR_IO, "writing failed before");
    if (writer->given != writer->declared) {
        return error_set(err, LLM_ERROR_ARGUMENT, "%llu of %llu declared bytes of tensor data were given",
                         (unsigned long long)writer->given, (unsigned long long)writer->declared);
    }
    if (writer->n_shards == 0 && choose_shard(writer, 0, err) == NULL) return false;
    // What is left are files without data: no tensors, or empty ones only.
    while (writer->shard < writer->n_shards) {
        if (writer->file == NULL && !open_shard(writer, err)) return false;
        if (!close_shard(writer, err)) return false;
    }
    return writer->n_shards == 1 || write_index(writer, err);
}

bool safetensors_writer_finish(struct safetensors_writer *writer, struct llm_error *err) {
    const bool ok = finish(writer, err);
    safetensors_writer_free(writer);
    return ok;
}
