// torch_zip.h: PyTorch's files of tensors (.pth, .pt, pytorch_model.bin), read and written.
//
// torch.save() writes a zip archive of uncompressed entries under one folder:
//
//     NAME/data.pkl     a pickle of the dict {name: tensor}, whose tensors point to storages
//     NAME/byteorder    "little"
//     NAME/data/KEY     one storage each, on a multiple of 64 bytes, so that it can be used where it lies
//     NAME/version      "3\n"
//
// A pickle is a program. Ours is interpreted by a machine that knows what a state dict is made of and nothing else
// (torch_zip_pickle.h). Shards are listed by pytorch_model.bin.index.json. Sources: torch/serialization.py,
// caffe2/serialize/inline_container.cc of PyTorch; APPNOTE.TXT 6.3.9 of PKWARE.
#ifndef FORMATS_TORCH_ZIP_H
#define FORMATS_TORCH_ZIP_H

#include "formats/container.h"

// The format's name in container->format.
extern const char torch_zip_format[];

// Whether a file's name ends as PyTorch's files do: .pth, .pt or .bin.
bool torch_zip_named(const char *path);
bool torch_zip_probe(const char *path);
struct container *torch_zip_open(const char *path, struct llm_error *err);
// One file in memory. `bytes` must outlive the container.
struct container *torch_zip_parse(const uint8_t *bytes, size_t size, struct llm_error *err);

// Writing one file, as safetensors_writer does: declare every tensor in the order of the dict, then give the data.
// torch.load() reads it, with weights_only=True and mmap=True. The same declarations and data give the same bytes.
struct torch_zip_writer;

struct torch_zip_writer *torch_zip_writer_new(const char *path, struct llm_error *err);
// `shared`: the tensor declared so far, by number, whose storage this one uses, with the same dtype and size; its data
// is not given. -1: it has a storage of its own.
bool torch_zip_writer_declare(struct torch_zip_writer *writer, const char *name, enum dtype dtype, int rank,
                              const int64_t *shape, int shared, struct llm_error *err);
bool torch_zip_writer_data(struct torch_zip_writer *writer, const void *bytes, size_t size, struct llm_error *err);
// Checks that all data was given, puts the file in its place and frees the writer, also on failure.
bool torch_zip_writer_finish(struct torch_zip_writer *writer, struct llm_error *err);
// NULL is allowed.
void torch_zip_writer_free(struct torch_zip_writer *writer);

#endif
