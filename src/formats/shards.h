// shards.h: a model in several files, and the index that lists them ("weight_map"), as Hugging Face has them.
//
// The index says which shard holds which tensor. What it says is checked against the shards in both
// directions, so a tensor can neither go missing nor be taken from a stale file.
#ifndef FORMATS_SHARDS_H
#define FORMATS_SHARDS_H

#include "formats/container.h"

// What a format does with its shards: `add` maps one and adds its tensors, with sentences that begin with its path;
// `finish` is the last step over all of them.
struct shard_kind {
    bool (*add)(struct container *container, const char *path, struct llm_error *err);
    bool (*finish)(struct container *container, struct llm_error *err);
};

// Reads all shards of directory/index_name into a new container.
bool shards_read(struct container *container, const char *directory, const char *index_name,
                 const struct shard_kind *kind, struct llm_error *err);

#endif
