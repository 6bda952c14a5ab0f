// tensorflow.h: TensorFlow's checkpoint V2 ("tensor bundle"), read only.
//
// model.ckpt.index is a LevelDB table of protocol-buffer BundleEntry values, one a tensor;
// model.ckpt.data-0000i-of-0000n hold the raw tensors. Every block's and every tensor's CRC-32C is
// checked. Sources: tensorflow/core/util/tensor_bundle, tensorflow/core/protobuf/tensor_bundle.proto,
// LevelDB doc/table_format.md.
#ifndef FORMATS_TENSORFLOW_H
#define FORMATS_TENSORFLOW_H

#include "formats/container.h"

bool tensorflow_probe(const char *path);
// `path` is a directory; the text file `checkpoint` names the prefix (model.ckpt when it is missing).
struct container *tensorflow_open(const char *path, struct llm_error *err);
// The index and its data shards in memory; all must outlive the container.
struct container *tensorflow_parse(const uint8_t *index, size_t index_size, const uint8_t *const *shards,
                                   const size_t *shard_sizes, int n_shards, struct llm_error *err);

#endif
