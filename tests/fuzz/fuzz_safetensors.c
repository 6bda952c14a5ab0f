// fuzz_safetensors.c: any bytes as one safetensors file. Whatever is accepted must lie inside the file.
#include <stdlib.h>
#include <string.h>

#include "formats/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct llm_error err = {0};
    struct container *container = safetensors_parse(data, size, &err);
    if ((container == NULL) != (err.code != LLM_OK)) abort();
    for (int i = 0; container != NULL && i < container->n_tensors; i++) {
        const struct tensor_view *tensor = &container->tensors[i];
        if (tensor->size > size || tensor->data < data || tensor->data > data + size - tensor->size) abort();
        if (i > 0 && strcmp(container->tensors[i - 1].name, tensor->name) >= 0) abort();
        if (container_find(container, tensor->name) != tensor) abort();
        char shape[160];
        tensor_shape_text(tensor, shape);
    }
    container_free(container);
    return 0;
}
