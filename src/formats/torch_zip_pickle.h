// torch_zip_pickle.h: the pickle of a state dict, interpreted.
//
// Pickle is the language of a stack machine that can import and call anything. This machine has the part of it that
// state dicts use: numbers, texts, tuples, lists, dicts, collections.OrderedDict, torch's storages by name, and
// _rebuild_tensor_v2 and _rebuild_parameter, which become a description. Anything else is refused by its name, and
// nothing that a file says is ever called. Sources: Lib/pickle.py and pickletools.py of CPython, protocols 2 to 5;
// torch/_utils.py and torch/_weights_only_unpickler.py.
#ifndef FORMATS_TORCH_ZIP_PICKLE_H
#define FORMATS_TORCH_ZIP_PICKLE_H

#include "formats/container.h"

enum {
    PICKLED_NAME_MAX = 256 // bytes; a short pickle can name many tensors by one long text
};

struct pickled_tensor {
    char name[PICKLED_NAME_MAX + 1];
    const char *dtype_name; // "F32"
    unsigned bits;          // an element
    const char *key;        // [key_size] of its storage
    size_t key_size;
    int64_t storage_size; // elements
    int64_t offset;       // of the first element in the storage
    int rank;
    int64_t shape[TENSOR_MAX_RANK];
    int64_t strides[TENSOR_MAX_RANK]; // in elements
};

typedef bool pickled_tensor_fn(void *user, const struct pickled_tensor *tensor, struct llm_error *err);

// Calls `entry` for every tensor of the state dict that the pickle holds, in its order, until it returns false. The
// dict is the whole pickle, or what lies under model_state_dict, state_dict or model in a dict without tensors.
bool torch_pickle_read(const uint8_t *bytes, size_t size, pickled_tensor_fn *entry, void *user, struct llm_error *err);

#endif
