// fuzz_config.c: any bytes as config.json and as hparams.json. What is accepted must pass config_check(),
// and what we write for it must be read back as the same config.
#include <stdlib.h>
#include <string.h>

#include "model/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round_trip(const struct config *config) {
    struct config again;
    if (!config_check(config, NULL)) abort();
    char *text = config_json(config, DTYPE_F32);
    if (text == NULL || !config_parse(&again, text, strlen(text), NULL)) abort();
    free(text);
    if (again.n_layer != config->n_layer || again.n_head != config->n_head || again.n_embd != config->n_embd ||
        again.n_inner != config->n_inner || again.n_ctx != config->n_ctx || again.vocab_size != config->vocab_size ||
        again.activation != config->activation || again.layer_norm_epsilon != config->layer_norm_epsilon ||
        again.scale_attn_weights != config->scale_attn_weights ||
        again.scale_attn_by_layer != config->scale_attn_by_layer || again.tied_head != config->tied_head ||
        again.qkv_bias != config->qkv_bias || again.eos != config->eos) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct config config;
    struct llm_error err = {0};
    if (config_parse(&config, (const char *)data, size, &err)) {
        check_round_trip(&config);
    } else if (err.code == LLM_OK || err.text[0] == '\0') {
        abort(); // a failure without a sentence
    }
    err = (struct llm_error){0};
    if (config_parse_hparams(&config, (const char *)data, size, &err)) {
        check_round_trip(&config);
    } else if (err.code == LLM_OK || err.text[0] == '\0') {
        abort();
    }
    return 0;
}
