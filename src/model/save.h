// save.h: writing a model, wherever its weights are: in files or in memory, trained a moment ago.
//
// Numbers go to the file in blocks, so saving takes little memory, whatever the model.
#ifndef MODEL_SAVE_H
#define MODEL_SAVE_H

#include "model/engine.h"

// One model being written. Zeroed but for the first three, which the caller sets.
struct saving {
    const struct llm_engine *engine; // config, container and map suffice; engine->callbacks are called
    int dtype;                       // enum llm_dtype, or -1: as stored
    const char *what;                // for the progress call: "converting"
    void *numbers, *wide, *narrow;   // a block of numbers: put together, as F32, as the file has them
    int64_t done, total;             // bytes written, for the progress call
    int64_t n_nonfinite;             // weights that are NaN or infinite
    int64_t n_overflowed;            // finite ones that became infinite
};

// Fills a directory, which the caller owns, in Hugging Face layout: model.safetensors, or shards of at most shard_size
// bytes (0: one file), config.json and the vocabulary.
bool save_directory(struct saving *saving, const char *directory, int64_t shard_size, struct llm_error *err);

// Writes the weights as the state dict of the book's GPTModel, as torch.save() would. A model with what that class has
// not (another activation, say) is refused. A notice says with what settings the class takes it.
bool save_torch(struct saving *saving, const char *path, struct llm_error *err);

// Notices about numbers that are no numbers, or became so.
void saving_notices(const struct saving *saving);

// ---- For the formats ------------------------------------------------------------------------

// Where numbers go: a writer's `data` function.
typedef bool saving_write_fn(void *writer, const void *bytes, size_t size, struct llm_error *err);

enum dtype saving_dtype(const struct saving *saving, const struct param_view *view);
// Room for the blocks; given back by saving_release().
bool saving_alloc(struct saving *saving, struct llm_error *err);
void saving_release(struct saving *saving);
// Writes rows [0, view->rows) one after another; with `transposed`, columns [first, first + n).
bool saving_rows(struct saving *saving, const struct param_view *view, saving_write_fn *write, void *writer,
                 struct llm_error *err);
bool saving_columns(struct saving *saving, const struct param_view *view, int first, int n, saving_write_fn *write,
                    void *writer, struct llm_error *err);

#endif
