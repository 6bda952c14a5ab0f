// fuzz_dialect.c: any bytes as a safetensors file that claims to be a tiny GPT-2. When the file is
// accepted, every parameter has its tensor, of the right size, and all of its bytes can be read.
#include <stdlib.h>

#include "formats/safetensors.h"
#include "model/engine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// The shape of the corpus's models (tests/e2e/tiny.py).
static const struct config tiny = {.n_layer = 1,
                                   .n_head = 2,
                                   .n_embd = 4,
                                   .n_inner = 16,
                                   .n_ctx = 3,
                                   .vocab_size = 5,
                                   .activation = ACTIVATION_GELU_TANH,
                                   .layer_norm_epsilon = 1e-5F};

static void check_map(const struct tensor_map *map, const struct config *config) {
    for (int p = 0; p < PARAM_COUNT; p++) {
        for (int layer = 0; layer < param_count(config, (enum param)p); layer++) {
            const struct param_view *view = &map->views[p][layer];
            const size_t n = (size_t)param_size(config, (enum param)p);
            if (view->data == NULL || view->size != dtype_bytes(view->dtype, n)) abort();
            (void)count_nonfinite(view->data, view->dtype, n);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct container *container = safetensors_parse(data, size, NULL);
    for (int choice = 0; container != NULL && choice < 4; choice++) {
        struct config config = tiny;
        config.tied_head = (choice & 1) != 0;
        config.qkv_bias = (choice & 2) == 0;
        struct tensor_map map;
        struct llm_error err = {0};
        if (tensor_map_init(&map, container, &config, "fuzz", &err)) {
            check_map(&map, &config);
            tensor_map_release(&map);
        } else if (err.code == LLM_OK || err.text[0] == '\0') {
            abort();
        }
    }
    container_free(container);
    return 0;
}
