// dialect.h: what file formats call the parameters: naming schemes over the one table.
//
// A dialect is a list of rows: a name pattern, the parameter it is, and how the tensor is laid out. A container
// (formats/) knows bytes and no meaning; a dialect knows names and no bytes. Which dialect a container speaks is seen
// from the names in it. Mapping a container checks everything: every tensor is known, no parameter comes twice, none is
// missing, every shape and dtype is right.
#ifndef MODEL_DIALECT_H
#define MODEL_DIALECT_H

#include "formats/container.h"
#include "model/params.h"

// How a tensor lies compared with param_shape().
enum layout {
    LAYOUT_SAME,    // [rows, cols], a vector [cols]
    LAYOUT_CONV_1D, // [1, rows, cols]: OpenAI's 1-wide convolution kernels
};

struct dialect_row {
    const char *pattern; // "h.%d.ln_1.weight": %d is the layer, in decimal without leading zeros
    enum param param;    // present when param_present() says so; PARAM_COUNT: known, but no parameter (mask buffers)
    enum layout layout;
};

struct dialect {
    const char *name;   // for sentences: "Hugging Face", "OpenAI"
    const char *prefix; // may stand before any name; NULL: none
    const struct dialect_row *rows;
    int n_rows;
};

// Hugging Face's GPT2LMHeadModel and GPT2Model. This dialect is also the one we write.
extern const struct dialect dialect_hf;
// OpenAI's TensorFlow variables.
extern const struct dialect dialect_openai;

// Which tensor is which parameter. Views are borrowed from the container.
struct tensor_map {
    const struct dialect *dialect;
    const struct tensor_view **views[PARAM_COUNT]; // [param_count] each, into `block`
    void *block;
};

// Maps all of a container, and settles config->tied_head as transformers does: where the config ties the
// head but the file holds an lm_head.weight that differs from wte.weight, the head is not tied. Where the config says
// qkv_bias false, the file may hold the bias nevertheless (for transformers), if it is zero.
// Error sentences begin with the file that holds the tensor, or with `path` when none does.
bool tensor_map_init(struct tensor_map *map, const struct container *container, struct config *config, const char *path,
                     struct llm_error *err);
void tensor_map_release(struct tensor_map *map);

// The row of `dialect` that knows `name`, or NULL; *layer receives its number (0 without %d).
const struct dialect_row *dialect_match(const struct dialect *dialect, const char *name, int *layer);
// Writes the name of a parameter; false when the dialect has none or it does not fit.
bool dialect_tensor_name(const struct dialect *dialect, enum param param, int layer, char *name, size_t size);

#endif
