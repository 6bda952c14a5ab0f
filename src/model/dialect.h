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
    LAYOUT_SAME,       // [rows, cols], a vector [cols]
    LAYOUT_CONV_1D,    // [1, rows, cols]: OpenAI's 1-wide convolution kernels
    LAYOUT_TRANSPOSED, // [cols, rows]: the weight of torch.nn.Linear
};

// Which columns of the parameter a tensor holds.
enum piece {
    PIECE_WHOLE,
    PIECE_QUERY, // the first third, of c_attn
    PIECE_KEY,
    PIECE_VALUE
};
enum {
    MAX_PIECES = 3
};

struct dialect_row {
    const char *pattern; // "h.%d.ln_1.weight": %d is the layer, in decimal without leading zeros
    enum param param;    // present when param_present() says so; PARAM_COUNT: known, but no parameter (mask buffers)
    enum layout layout;
    enum piece piece;
};

struct dialect {
    const char *name;   // for sentences: "Hugging Face", "OpenAI", "the book", "llama.cpp"
    const char *prefix; // may stand before any name; NULL: none
    const struct dialect_row *rows;
    int n_rows;
};

// Hugging Face's GPT2LMHeadModel, GPT2Model and GPT2ForSequenceClassification. Directories are written in this one.
extern const struct dialect dialect_hf;
// OpenAI's TensorFlow variables.
extern const struct dialect dialect_openai;
// GPTModel of "Build a Large Language Model (From Scratch)". Files of PyTorch's are written in this one.
extern const struct dialect dialect_book;
// llama.cpp's architecture "gpt2". GGUF files are written in this one.
extern const struct dialect dialect_gguf;

// A parameter as a file stores it: [rows, cols], whatever the tensors in the file look like.
struct param_view {
    int rows, cols;
    enum dtype dtype;
    int64_t n_elements;
    size_t size;         // bytes
    const uint8_t *data; // [rows, cols] where it lies so in the file; else NULL: read it with param_view_rows()
    int n_parts;         // tensors that stand side by side; 0: the file has none, and all numbers are zero
    const struct tensor_view *parts[MAX_PIECES];
    bool transposed[MAX_PIECES]; // the part's data is [its cols, rows]
};

// What the two functions below give numbers in: the stored dtype, or F32 where that is one of blocks, which lie in the
// file's direction only.
static inline enum dtype param_view_dtype(const struct param_view *view) {
    return dtype_info(view->dtype)->block > 1 ? DTYPE_F32 : view->dtype;
}
// Rows [first, first + n) as [n, cols]: in the file, or put together in `memory`.
const void *param_view_rows(const struct param_view *view, int first, int n, void *memory);
// Columns [first, first + n) as [n, rows], put into `memory`.
void param_view_columns(const struct param_view *view, int first, int n, void *memory);

// Which tensors are which parameter. They are borrowed from the container.
struct tensor_map {
    const struct dialect *dialect;
    struct param_view *views[PARAM_COUNT]; // [param_count] each, into `block`
    void *block;
};

// Maps all of a container, and settles config->tied_head as transformers does: where the config ties the
// head but the file holds an lm_head.weight that differs from wte.weight, the head is not tied.
// A classifier has a bias (config->score_bias) when the file has one. Where the config says qkv_bias false, the file
// may hold that bias nevertheless (for transformers), if it is zero; the book's files may lack it whatever the config
// says. Error sentences begin with the file that holds the tensor, or with `path` when none does.
bool tensor_map_init(struct tensor_map *map, const struct container *container, struct config *config, const char *path,
                     struct llm_error *err);
void tensor_map_release(struct tensor_map *map);

// For a container without a config: reads the sizes off the shapes, and takes the rest as GPT-2 has it. Heads cannot be
// seen: n_head 0 means 64 numbers each. Error sentences begin with `path`.
bool dialect_infer_config(struct config *config, const struct container *container, int n_head, const char *path,
                          struct llm_error *err);

// The dialect that knows most of the container's names; NULL when none knows any. Error sentences begin with `path`.
const struct dialect *dialect_detect(const struct container *container, const char *path, struct llm_error *err);
// The row of `dialect` that knows `name`, or NULL; *layer receives its number (0 without %d). With a config, only
// parameters that such a model may have.
const struct dialect_row *dialect_match(const struct dialect *dialect, const struct config *config, const char *name,
                                        int *layer);
// Writes the name of a tensor; false when it does not fit.
bool dialect_row_name(const struct dialect_row *row, int layer, char *name, size_t size);
// Writes the name of a parameter, or of its first piece; false when the dialect has none or it does not fit.
bool dialect_tensor_name(const struct dialect *dialect, enum param param, int layer, char *name, size_t size);

#endif
