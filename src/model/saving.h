// saving.h: a model's numbers on their way to a file, block by block, whatever the file: what save.c, save_torch.c
// and save_gguf.c have in common.
#ifndef MODEL_SAVING_H
#define MODEL_SAVING_H

#include "model/save.h"

// One model being written. Zeroed but for the first three.
struct saving {
    const struct llm_engine *engine;
    const struct llm_convert_options *options; // dtype and callbacks count here
    struct save_counts *counts;
    void *numbers, *wide, *narrow; // a block: put together, as F32, as the file has it
    int64_t done, total;           // bytes written, for the progress call
};

// Where numbers go: a writer's `data` function.
typedef bool saving_write_fn(void *writer, const void *bytes, size_t size, struct llm_error *err);

// What a parameter becomes where the options say it, or it stays as it is: no blocks.
enum dtype saving_dtype(const struct saving *saving, const struct param_view *view);
// Room for the blocks; given back by saving_release().
bool saving_alloc(struct saving *saving, struct llm_error *err);
void saving_release(struct saving *saving);
// Writes all rows, one after another, as `dtype`.
bool saving_rows(struct saving *saving, const struct param_view *view, enum dtype dtype, saving_write_fn *write,
                 void *writer, struct llm_error *err);
// Writes columns [first, first + n), one after another.
bool saving_columns(struct saving *saving, const struct param_view *view, int first, int n, enum dtype dtype,
                    saving_write_fn *write, void *writer, struct llm_error *err);
// Writes the one tensor that the parameter is in its file, byte for byte.
bool saving_as_stored(struct saving *saving, const struct param_view *view, saving_write_fn *write, void *writer,
                      struct llm_error *err);

#endif
