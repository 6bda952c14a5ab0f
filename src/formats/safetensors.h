// safetensors.h: the safetensors container, read and written.
//
// Layout: u64 header size N (little-endian), N bytes of JSON {"name": {"dtype", "shape",
// "data_offsets": [begin, end]}, "__metadata__": {string: string}}, then the data. Tensors tile the
// data without gap or overlap. Shards are listed by model.safetensors.index.json ("weight_map").
// Source: the format's own README (huggingface/safetensors).
#ifndef FORMATS_SAFETENSORS_H
#define FORMATS_SAFETENSORS_H

#include "formats/container.h"

bool safetensors_probe(const char *path);
struct container *safetensors_open(const char *path, struct llm_error *err);
// One file in memory. `bytes` must outlive the container.
struct container *safetensors_parse(const uint8_t *bytes, size_t size, struct llm_error *err);

// Writing. Declare every tensor first (name, dtype, shape), then give each one's data in the same
// order, in as many pieces as is convenient. Files appear under `directory`, which the caller owns
// (usually a directory_writer's): model.safetensors, or with shard_size > 0 and more data than that,
// model-00001-of-0000N.safetensors and the index. Metadata is {"format": "pt"}, as transformers wants.
// The same declarations and data give the same bytes. A file's data begins on a multiple of 64 bytes.
struct safetensors_writer;

struct safetensors_writer *safetensors_writer_new(const char *directory, int64_t shard_size, struct llm_error *err);
bool safetensors_writer_declare(struct safetensors_writer *writer, const char *name, enum dtype dtype, int rank,
                                const int64_t *shape, struct llm_error *err);
bool safetensors_writer_data(struct safetensors_writer *writer, const void *bytes, size_t size, struct llm_error *err);
// Checks that all data was given, finishes every file and frees the writer, also on failure.
bool safetensors_writer_finish(struct safetensors_writer *writer, struct llm_error *err);
// NULL is allowed.
void safetensors_writer_free(struct safetensors_writer *writer);

#endif
