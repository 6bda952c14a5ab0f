// container.h: a file of named tensors, whatever its format.
//
// A container knows bytes, not meaning: names, dtypes, shapes and where the data lies in the mapped
// file(s). Which tensor is which parameter is the business of model/dialect.h. Nothing is copied;
// the views live as long as the container. Every reader is a parse(bytes, size) under an open(path):
// parse checks all sizes, offsets and overflows before it believes anything, and is a fuzz target.
#ifndef FORMATS_CONTAINER_H
#define FORMATS_CONTAINER_H

#include "base/dtype.h"
#include "base/error.h"

enum {
    TENSOR_MAX_RANK = 8
};

struct tensor_view {
    const char *name;
    enum dtype dtype;
    const char *dtype_name; // as the file spells it, for sentences ("I64")
    int rank;               // 0 .. TENSOR_MAX_RANK
    int64_t shape[TENSOR_MAX_RANK];
    int64_t n_elements;  // product of shape; 1 for rank 0
    const uint8_t *data; // [size] little-endian, any alignment
    bool transposed;     // rank 2: data is [shape[1], shape[0]], as of a matrix that PyTorch only turned in its strides
    size_t size;
    int file; // index into container.files
};

struct container_file {
    char *path;
    int64_t size;
};

struct container {
    const char *format;          // "safetensors", "TensorFlow checkpoint", "PyTorch", "GGUF"
    struct tensor_view *tensors; // [n_tensors] sorted by name (strcmp), names are unique
    int n_tensors;
    struct container_file *files; // [n_files] the files that hold tensors
    int n_files;
    void *impl; // the format's own: mappings, name storage
    void (*impl_free)(void *impl);
};

// A container format: one row of the table that container_open() goes through.
struct container_format {
    const char *name;
    // Whether `path` (a directory or a file) looks like this format by what is there. Cheap.
    bool (*probe)(const char *path);
    struct container *(*open)(const char *path, struct llm_error *err);
};

// Opens whatever lies at `path`: a directory with model.safetensors, model.safetensors.index.json, a
// TensorFlow `checkpoint`/model.ckpt.index, pytorch_model.bin or pytorch_model.bin.index.json, or a single
// .safetensors, .pth, .pt, .bin or .gguf file. NOT_FOUND when no format fits.
struct container *container_open(const char *path, struct llm_error *err);
void container_free(struct container *container);

// Gives back the memory of its files; tensors are read again when they are looked at.
void container_forget(struct container *container);

// The tensor of this name, or NULL.
const struct tensor_view *container_find(const struct container *container, const char *name);

// "[3, 4]" into out, for sentences; returns out.
char *tensor_shape_text(const struct tensor_view *tensor, char out[160]);

#endif
