// fuzz_gguf.c: any bytes as a GGUF file: whatever is accepted must lie inside the file, and all of it can be read. Then
// as a model: config, tensors, vocabulary.
#include <stdlib.h>
#include <string.h>

#include "formats/gguf.h"
#include "model/dialect.h"
#include "model/gguf_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_container(const struct container *container, const uint8_t *data, size_t size) {
    for (int i = 0; i < container->n_tensors; i++) {
        const struct tensor_view *tensor = &container->tensors[i];
        if (tensor->size > size || tensor->data < data || tensor->data > data + size - tensor->size) abort();
        if (tensor->size != dtype_bytes(tensor->dtype, (size_t)tensor->n_elements)) abort();
        if (i > 0 && strcmp(container->tensors[i - 1].name, tensor->name) >= 0) abort();
        if (container_find(container, tensor->name) != tensor) abort();
    }
}

// Every number of every parameter, as rows and as columns.
static void check_map(const struct tensor_map *map, const struct config *config) {
    for (int p = 0; p < PARAM_COUNT; p++) {
        for (int layer = 0; layer < param_count(config, (enum param)p); layer++) {
            const struct param_view *view = &map->views[p][layer];
            void *numbers = malloc((size_t)view->n_elements * sizeof(float));
            if (numbers == NULL) return;
            const uint8_t *rows = param_view_rows(view, 0, view->rows, numbers);
            const size_t bytes = dtype_bytes(param_view_dtype(view), (size_t)view->n_elements);
            volatile uint8_t last = rows[bytes - 1];
            (void)last;
            param_view_columns(view, 0, view->cols, numbers);
            free(numbers);
        }
    }
}

static void check_model(const struct container *container) {
    struct config config;
    struct llm_error err = {0};
    struct tensor_map map;
    if (gguf_config(&config, container, &err)) {
        err = (struct llm_error){0};
        if (tensor_map_init(&map, container, &config, "fuzz", &err)) {
            check_map(&map, &config);
            tensor_map_release(&map);
        } else if (err.code == LLM_OK) {
            abort();
        }
    } else if (err.code == LLM_OK) {
        abort();
    }
    err = (struct llm_error){0};
    struct llm_tokenizer *tokenizer = gguf_tokenizer(container, &err);
    if ((tokenizer == NULL) != (err.code != LLM_OK)) abort();
    llm_tokenizer_free(tokenizer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct llm_error err = {0};
    struct container *container = gguf_parse(data, size, &err);
    if ((container == NULL) != (err.code != LLM_OK)) abort();
    if (container == NULL) return 0;
    check_container(container, data, size);
    check_model(container);
    container_free(container);
    return 0;
}
