// builder.h: a container while a reader fills it; what the formats share.
//
// A reader makes an empty container, maps its files, adds tensors in any order and finishes. On any
// failure it calls container_free() and returns NULL. Only files of this folder include this header.
#ifndef FORMATS_BUILDER_H
#define FORMATS_BUILDER_H

#include "base/file.h"
#include "formats/container.h"

// `format` is a string constant.
struct container *container_new(const char *format, struct llm_error *err);

// Maps a file and appends it to container->files; *map shows its bytes, which live as long as the container.
bool container_map(struct container *container, const char *path, struct file_map *map, struct llm_error *err);

// Appends bytes in memory, which the container does not own, as a file without a path.
bool container_borrow(struct container *container, const uint8_t *bytes, size_t size, struct llm_error *err);

// Appends a tensor of this name (copied) in the newest file; the rest is zero and for the caller to
// fill. The pointer holds until the next one is added.
struct tensor_view *container_add(struct container *container, const char *name, struct llm_error *err);

// Sets rank, shape and n_elements, and size from `bits` an element; refuses what does not fit.
// The sentence does not name the tensor.
bool tensor_set_shape(struct tensor_view *tensor, const int64_t *shape, int rank, unsigned bits, struct llm_error *err);

// Tells where the tensors of the newest file lie (unless told: all of the file).
void container_set_data(struct container *container, const uint8_t *data, size_t size);

// Tells that each tensor of the newest file begins at a multiple of `alignment` of the data (unless told: 1), behind
// padding.
void container_set_alignment(struct container *container, size_t alignment);

// Gives the container something of the reader's own, freed with it.
void container_set_extra(struct container *container, void *extra, void (*extra_free)(void *extra));
// What a reader of this format put there, or NULL.
void *container_extra(const struct container *container, const char *format);

// The last step: in each file the tensors must tile the data without overlap or any gap but padding, and no name may be
// there twice; then sorts by name. Sentences begin with the file's path.
bool container_finish(struct container *container, struct llm_error *err);

// The last step of a format whose tensors may share their data and have other things between them.
bool container_index(struct container *container, struct llm_error *err);

// Says so when the bytes are a well-known wrong thing in place of weights: a Git LFS pointer, a web page,
// a zip archive. True when there is nothing to say.
bool container_check_foreign(const uint8_t *bytes, size_t size, struct llm_error *err);

#endif
