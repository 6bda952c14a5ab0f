// fuzz_torch_zip.c: any bytes as one file of PyTorch's, and as the pickle in one. Whatever is accepted must lie inside
// the file. Checksums of 0 are not looked at, which lets the fuzzer change what they cover.
#include <stdlib.h>
#include <string.h>

#include "formats/torch_zip.h"
#include "formats/torch_zip_pickle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool look(void *user, const struct pickled_tensor *tensor, struct llm_error *err) {
    const uint8_t *data = user;
    (void)err;
    if (strlen(tensor->name) > PICKLED_NAME_MAX || tensor->rank < 0 || tensor->rank > TENSOR_MAX_RANK) abort();
    if (tensor->key_size > 0 && (const uint8_t *)tensor->key < data) abort();
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct llm_error err = {0};
    struct container *container = torch_zip_parse(data, size, &err);
    if ((container == NULL) != (err.code != LLM_OK)) abort();
    for (int i = 0; container != NULL && i < container->n_tensors; i++) {
        const struct tensor_view *tensor = &container->tensors[i];
        if (tensor->size > size || tensor->data < data || tensor->data > data + size - tensor->size) abort();
        if (i > 0 && strcmp(container->tensors[i - 1].name, tensor->name) >= 0) abort();
        if (container_find(container, tensor->name) != tensor) abort();
    }
    container_free(container);

    err = (struct llm_error){0};
    if (torch_pickle_read(data, size, look, (void *)data, &err) != (err.code == LLM_OK)) abort();
    return 0;
}
