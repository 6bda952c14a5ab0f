// container.c: see container.h and builder.h.
//
// Divisions: the table of formats; life cycle and look-up; building; the last step; checks that formats share.
#include "formats/container.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "base/str.h"
#include "formats/builder.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"
#include "formats/tensorflow.h"
#include "formats/torch_zip.h"

// ---- The table of formats -------------------------------------------------------------------

static const struct container_format formats[] = {
    {"safetensors", safetensors_probe, safetensors_open},
    {"TensorFlow checkpoint", tensorflow_probe, tensorflow_open},
    {torch_zip_format, torch_zip_probe, torch_zip_open},
    {"GGUF", gguf_probe, gguf_open},
};

struct container *container_open(const char *path, struct llm_error *err) {
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        if (formats[i].probe(path)) return formats[i].open(path, err);
    }
    if (!path_exists(path)) {
        error_set(err, LLM_ERROR_NOT_FOUND, "%s: there is no such file or directory", path);
    } else if (directory_exists(path)) {
        error_set(err, LLM_ERROR_NOT_FOUND,
                  "%s: no weights in this directory; model.safetensors, model.safetensors.index.json, "
                  "pytorch_model.bin or model.ckpt.index was expected",
                  path);
    } else {
        error_set(err, LLM_ERROR_NOT_FOUND,
                  "%s: is not a model; a directory, or a .safetensors, .pth or .gguf file was expected", path);
    }
    return NULL;
}

// ---- Life cycle and look-up -----------------------------------------------------------------

// What a container owns beyond what its struct shows.
struct memory {
    struct memory_file {
        struct file_map map; // zero for borrowed bytes
        const uint8_t *data; // [data_size] where the tensors lie
        size_t data_size;
        size_t alignment; // of each tensor's beginning in the data
    } * files;            // [n_files]
    int tensor_capacity;
    void *extra;
    void (*extra_free)(void *extra);
};

static void memory_free(void *impl) {
    struct memory *memory = impl;
    if (memory->extra != NULL) memory->extra_free(memory->extra);
    free(memory->files);
    free(memory);
}

struct container *container_new(const char *format, struct llm_error *err) {
    struct container *container = calloc(1, sizeof *container);
    struct memory *memory = calloc(1, sizeof *memory);
    if (container == NULL || memory == NULL) {
        free(container);
        free(memory);
        error_memory(err, format);
        return NULL;
    }
    *container = (struct container){.format = format, .impl = memory, .impl_free = memory_free};
    return container;
}

void container_free(struct container *container) {
    if (container == NULL) return;
    struct memory *memory = container->impl;
    for (int i = 0; i < container->n_files; i++) {
        file_map_close(&memory->files[i].map);
        free(container->files[i].path);
    }
    for (int i = 0; i < container->n_tensors; i++) free((char *)container->tensors[i].name);
    free(container->files);
    free(container->tensors);
    container->impl_free(container->impl);
    free(container);
}

void container_forget(struct container *container) {
    const struct memory *memory = container->impl;
    for (int i = 0; i < container->n_files; i++) file_map_forget(&memory->files[i].map);
}

static int compare_name(const void *name, const void *tensor) {
    return strcmp(name, ((const struct tensor_view *)tensor)->name);
}

const struct tensor_view *container_find(const struct container *container, const char *name) {
    if (container->n_tensors == 0) return NULL;
    return bsearch(name, container->tensors, (size_t)container->n_tensors, sizeof *container->tensors, compare_name);
}

char *tensor_shape_text(const struct tensor_view *tensor, char out[160]) {
    size_t used = (size_t)snprintf(out, 160, "[");
    for (int i = 0; i < tensor->rank && used < 160; i++) {
        used += (size_t)snprintf(out + used, 160 - used, "%s%lld", i == 0 ? "" : ", ", (long long)tensor->shape[i]);
    }
    if (used < 160) snprintf(out + used, 160 - used, "]");
    return out;
}

// ---- Building -------------------------------------------------------------------------------

// Appends a file; `path` may be NULL. The mapping in `file` becomes the container's, also on failure.
static bool add_file(struct container *container, const char *path, struct memory_file file, struct llm_error *err) {
    struct memory *memory = container->impl;
    const size_t n = (size_t)container->n_files + 1;
    struct memory_file *hidden = realloc(memory->files, n * sizeof *hidden);
    if (hidden != NULL) memory->files = hidden;
    struct container_file *shown = realloc(container->files, n * sizeof *shown);
    if (shown != NULL) container->files = shown;
    char *copy = path == NULL ? NULL : strdup(path);
    if (hidden == NULL || shown == NULL || (path != NULL && copy == NULL)) {
        free(copy);
        file_map_close(&file.map);
        return error_memory(err, "list of files");
    }
    hidden[n - 1] = file;
    shown[n - 1] = (struct container_file){copy, (int64_t)file.data_size};
    container->n_files++;
    return true;
}

bool container_map(struct container *container, const char *path, struct file_map *map, struct llm_error *err) {
    return file_map_open(map, path, err) &&
           add_file(container, path, (struct memory_file){*map, map->bytes, map->size, 1}, err);
}

bool container_borrow(struct container *container, const uint8_t *bytes, size_t size, struct llm_error *err) {
    return add_file(container, NULL, (struct memory_file){{0}, bytes, size, 1}, err);
}

void container_set_data(struct container *container, const uint8_t *data, size_t size) {
    struct memory *memory = container->impl;
    memory->files[container->n_files - 1].data = data;
    memory->files[container->n_files - 1].data_size = size;
}

void container_set_alignment(struct container *container, size_t alignment) {
    struct memory *memory = container->impl;
    memory->files[container->n_files - 1].alignment = alignment;
}

void container_set_extra(struct container *container, void *extra, void (*extra_free)(void *extra)) {
    struct memory *memory = container->impl;
    memory->extra = extra;
    memory->extra_free = extra_free;
}

void *container_extra(const struct container *container, const char *format) {
    return strcmp(container->format, format) == 0 ? ((struct memory *)container->impl)->extra : NULL;
}

struct tensor_view *container_add(struct container *container, const char *name, struct llm_error *err) {
    struct memory *memory = container->impl;
    if (container->n_tensors == memory->tensor_capacity) {
        const int capacity = memory->tensor_capacity == 0 ? 64 : memory->tensor_capacity * 2;
        struct tensor_view *tensors = memory->tensor_capacity > INT_MAX / 2
                                          ? NULL
                                          : realloc(container->tensors, (size_t)capacity * sizeof *container->tensors);
        if (tensors == NULL) {
            error_memory(err, "list of tensors");
            return NULL;
        }
        container->tensors = tensors;
        memory->tensor_capacity = capacity;
    }
    char *copy = strdup(name);
    if (copy == NULL) {
        error_memory(err, "tensor name");
        return NULL;
    }
    struct tensor_view *tensor = &container->tensors[container->n_tensors++];
    *tensor = (struct tensor_view){.name = copy, .file = container->n_files - 1};
    return tensor;
}

bool tensor_set_shape(struct tensor_view *tensor, const int64_t *shape, int rank, unsigned bits,
                      struct llm_error *err) {
    if (rank > TENSOR_MAX_RANK) {
        return error_set(err, LLM_ERROR_UNSUPPORTED, "has %d dimensions, at most %d are supported", rank,
                         TENSOR_MAX_RANK);
    }
    tensor->rank = rank;
    if (rank > 0) memcpy(tensor->shape, shape, (size_t)rank * sizeof *shape); // a scalar may come without a shape
    // The product without the zeros must fit too: [2^62, 4, 0] is no honest way to write an empty tensor.
    uint64_t n = 1;
    bool empty = false;
    bool fits = true;
    for (int i = 0; i < rank; i++) {
        if (shape[i] < 0) {
            return error_set(err, LLM_ERROR_FORMAT, "dimension %d of its shape is %lld, which is negative", i,
                             (long long)shape[i]);
        }
        empty |= shape[i] == 0;
        if (shape[i] != 0) fits &= size_mul(n, (uint64_t)shape[i], &n);
    }
    uint64_t n_bits = 0;
    if (!empty) fits &= size_mul(n, bits, &n_bits) && n_bits <= INT64_MAX;
    if (!fits) {
        char text[160];
        return error_set(err, LLM_ERROR_FORMAT, "shape %s has more elements than 64-bit sizes can count",
                         tensor_shape_text(tensor, text));
    }
    tensor->n_elements = empty ? 0 : (int64_t)n;
    if (n_bits % 8 != 0) {
        return error_set(err, LLM_ERROR_FORMAT, "its %lld elements of %u bits do not fill whole bytes",
                         (long long)tensor->n_elements, bits);
    }
    tensor->size = (size_t)(n_bits / 8);
    return true;
}

// ---- The last step --------------------------------------------------------------------------

// By file, then by place; of several at one place the empty ones first.
static int compare_places(const void *a, const void *b) {
    const struct tensor_view *x = a;
    const struct tensor_view *y = b;
    if (x->file != y->file) return x->file < y->file ? -1 : 1;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    return (x->size > y->size) - (x->size < y->size);
}

// Checks tensors [first, end), all those of one file, sorted by place.
static bool check_tiling(const struct tensor_view *tensors, int first, int end, const struct memory_file *file,
                         struct llm_error *err) {
    size_t expected = 0;
    char name[STR_QUOTE_SIZE];
    for (int i = first; i < end; i++) {
        const size_t begin = (size_t)(tensors[i].data - file->data);
        if (begin < expected) {
            char other[STR_QUOTE_SIZE];
            return error_set(err, LLM_ERROR_FORMAT, "tensor %s overlaps tensor %s", str_quote(tensors[i].name, name),
                             str_quote(tensors[i - 1].name, other));
        }
        if (begin > expected) {
            return error_set(err, LLM_ERROR_FORMAT, "tensor %s begins at byte %zu of the data, byte %zu was expected",
                             str_quote(tensors[i].name, name), begin, expected);
        }
        const size_t rest = (begin + tensors[i].size) % file->alignment;
        expected = begin + tensors[i].size;
        // Padding; the last tensor may go without.
        if (rest != 0 && file->data_size - expected >= file->alignment - rest) expected += file->alignment - rest;
    }
    return expected == file->data_size ||
           error_set(err, LLM_ERROR_FORMAT, "has %zu bytes of data, but its tensors end at byte %zu", file->data_size,
                     expected);
}

static int compare_names(const void *a, const void *b) {
    const struct tensor_view *x = a;
    const struct tensor_view *y = b;
    const int order = strcmp(x->name, y->name);
    return order != 0 ? order : (x->file > y->file) - (x->file < y->file);
}

bool container_finish(struct container *container, struct llm_error *err) {
    const struct memory *memory = container->impl;
    struct tensor_view *tensors = container->tensors;
    const int n = container->n_tensors;
    if (n > 0) qsort(tensors, (size_t)n, sizeof *tensors, compare_places);
    int first = 0;
    for (int file = 0; file < container->n_files; file++) {
        int end = first;
        while (end < n && tensors[end].file == file) end++;
        if (!check_tiling(tensors, first, end, &memory->files[file], err)) {
            if (container->files[file].path != NULL) error_prefix(err, "%s", container->files[file].path);
            return false;
        }
        first = end;
    }
    return container_index(container, err);
}

bool container_index(struct container *container, struct llm_error *err) {
    struct tensor_view *tensors = container->tensors;
    const int n = container->n_tensors;
    if (n > 0) qsort(tensors, (size_t)n, sizeof *tensors, compare_names);
    for (int i = 1; i < n; i++) {
        if (strcmp(tensors[i - 1].name, tensors[i].name) != 0) continue;
        char name[STR_QUOTE_SIZE];
        str_quote(tensors[i].name, name);
        const char *path = container->files[tensors[i].file].path;
        if (tensors[i - 1].file != tensors[i].file) {
            const char *other = container->files[tensors[i - 1].file].path;
            return error_set(err, LLM_ERROR_FORMAT, "%s: tensor %s is also in %s", path, name, path_base(other));
        }
        error_set(err, LLM_ERROR_FORMAT, "tensor %s is there twice", name);
        if (path != NULL) error_prefix(err, "%s", path);
        return false;
    }
    return true;
}

// ---- Checks that formats share --------------------------------------------------------------

bool container_check_foreign(const uint8_t *bytes, size_t size, struct llm_error *err) {
    static const struct {
        const char *magic;
        const char *sentence;
    } rows[] = {
        {"version https://git-lfs", "is a Git LFS pointer, not the file itself; fetch it with: git lfs pull"},
        {"<!DOCTYPE", "is a web page, not a model file"},
        {"<!doctype", "is a web page, not a model file"},
        {"<html", "is a web page, not a model file"},
        {"PK\003\004", "is a zip archive (perhaps a PyTorch file), not a model file of the expected format"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const size_t length = strlen(rows[i].magic);
        if (size >= length && memcmp(bytes, rows[i].magic, length) == 0) {
            return error_set(err, LLM_ERROR_FORMAT, "%s", rows[i].sentence);
        }
    }
    return true;
}
