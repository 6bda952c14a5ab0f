// info.c: what there is to know about a loaded model: its shape, its parts, the memory it takes, and
// whether all its weights are numbers.
#include <string.h>

#include "model/forward.h"
#include "model/pass.h"

// A sentence about NaN costs reading every weight, so it is not part of opening: `my-llm info` asks.
// Counted in the file's own bytes, not in what put() made of them, block by block for the progress call.
enum {
    BLOCK = 1 << 20 // elements between two progress calls
};

// A number is NaN or infinite when all bits of its exponent are set.
static int64_t nonfinite_u16(const uint8_t *bytes, size_t n, uint16_t exponent) {
    int64_t count = 0;
    for (size_t i = 0; i < n; i++) {
        uint16_t bits;
        memcpy(&bits, bytes + 2 * i, sizeof bits);
        count += (bits & exponent) == exponent;
    }
    return count;
}

static int64_t nonfinite_u32(const uint8_t *bytes, size_t n, uint32_t exponent) {
    int64_t count = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, bytes + 4 * i, sizeof bits);
        count += (bits & exponent) == exponent;
    }
    return count;
}

// A block whose scale is no number has none.
static int64_t nonfinite_blocks(const uint8_t *bytes, enum dtype dtype, size_t n) {
    const struct dtype_info *info = dtype_info(dtype);
    int64_t count = 0;
    const size_t scale = dtype == DTYPE_Q6_K ? info->block_bytes - 2 : 0; // where it lies
    for (size_t i = 0; i < n; i += info->block, bytes += info->block_bytes) {
        if (nonfinite_u16(bytes + scale, 1, 0x7c00) > 0) count += (int64_t)info->block;
    }
    return count;
}

int64_t count_nonfinite(const void *data, enum dtype dtype, size_t n) {
    switch (dtype) {
    case DTYPE_F32:
        return nonfinite_u32(data, n, 0x7f800000);
    case DTYPE_F16:
        return nonfinite_u16(data, n, 0x7c00);
    case DTYPE_BF16:
        return nonfinite_u16(data, n, 0x7f80);
    case DTYPE_Q8_0:
    case DTYPE_Q4_0:
    case DTYPE_Q6_K:
        return nonfinite_blocks(data, dtype, n);
    default:
        return 0;
    }
}

// Bytes of all parameters as stored.
static int64_t stored_bytes(const struct llm_engine *engine) {
    int64_t bytes = 0;
    for (int p = 0; p < PARAM_COUNT; p++) {
        for (int layer = 0; layer < param_count(&engine->config, (enum param)p); layer++) {
            bytes += (int64_t)engine_stored(engine, (enum param)p, layer).size;
        }
    }
    return bytes;
}

static bool report(struct llm_engine *engine, int64_t done, int64_t total) {
    const struct llm_callbacks *callbacks = &engine->callbacks;
    const struct llm_progress progress = {"checking weights", "bytes", done, total};
    return callbacks->progress == NULL || callbacks->progress(callbacks->user, &progress);
}

struct check {
    int64_t count, done, total; // NaN and infinite; bytes
};

static bool check_numbers(struct llm_engine *engine, const uint8_t *data, enum dtype dtype, size_t n,
                          struct check *check) {
    for (size_t first = 0; first < n; first += BLOCK) {
        const size_t length = n - first < BLOCK ? n - first : BLOCK;
        check->count += count_nonfinite(data + dtype_bytes(dtype, first), dtype, length);
        check->done += (int64_t)dtype_bytes(dtype, length);
        if (!report(engine, check->done, check->total)) return false;
    }
    return true;
}

// The order of numbers does not matter here, so a parameter in several tensors is read where they lie.
static bool check_view(struct llm_engine *engine, const struct param_view *view, struct check *check) {
    if (view->data != NULL) return check_numbers(engine, view->data, view->dtype, (size_t)view->n_elements, check);
    for (int part = 0; part < view->n_parts; part++) {
        const struct tensor_view *tensor = view->parts[part];
        if (!check_numbers(engine, tensor->data, tensor->dtype, (size_t)tensor->n_elements, check)) return false;
    }
    return true;
}

int64_t llm_engine_check(struct llm_engine *engine) {
    if (engine->n_nonfinite >= 0) return engine->n_nonfinite;
    struct check check = {.total = stored_bytes(engine)};
    for (int p = 0; p < PARAM_COUNT; p++) {
        for (int layer = 0; layer < param_count(&engine->config, (enum param)p); layer++) {
            const struct param_view view = engine_stored(engine, (enum param)p, layer);
            if (!check_view(engine, &view, &check)) return -1;
        }
    }
    engine->n_nonfinite = check.count;
    return check.count;
}

static int64_t matrix_bytes(const struct matrix *matrix) {
    return (int64_t)dtype_bytes(matrix->dtype, (size_t)matrix->rows * (size_t)matrix->cols);
}

// Weights in memory: what is mapped and what was copied.
static int64_t weight_bytes(const struct llm_engine *engine) {
    int64_t bytes = 0;
    for (int p = 0; p < PARAM_COUNT; p++) {
        for (int layer = 0; layer < param_count(&engine->config, (enum param)p); layer++) {
            bytes += matrix_bytes(weights_get(&engine->weights, (enum param)p, layer));
        }
    }
    return bytes;
}

// The dtype of most weights in memory.
static enum dtype memory_dtype(const struct llm_engine *engine) {
    int64_t n[DTYPE_COUNT] = {0};
    enum dtype most = DTYPE_F32;
    for (int p = 0; p < PARAM_COUNT; p++) {
        for (int layer = 0; layer < param_count(&engine->config, (enum param)p); layer++) {
            const enum dtype dtype = weights_get(&engine->weights, (enum param)p, layer)->dtype;
            n[dtype] += param_size(&engine->config, (enum param)p);
            if (n[dtype] > n[most]) most = dtype;
        }
    }
    return most;
}

// What one step of decoding reads of the weights, whatever the number of sequences: an embedding that is not the
// head is read by the row, which counts as nothing.
static int64_t step_bytes(const struct llm_engine *engine) {
    int64_t bytes = 0;
    for (int p = 0; p < PARAM_COUNT; p++) {
        if (p == PARAM_WPE ||
            (p == PARAM_WTE && param_count(&engine->config, PARAM_HEAD) + engine->config.n_labels > 0))
            continue;
        for (int layer = 0; layer < param_count(&engine->config, (enum param)p); layer++) {
            bytes += matrix_bytes(weights_get(&engine->weights, (enum param)p, layer));
        }
    }
    return bytes;
}

// Training all of it in F32 with batches of TRAINING_BATCH full contexts: weights, gradients, AdamW's two moments, and
// what a pass keeps. INT64_MAX when that does not fit.
static int64_t training_bytes(const struct config *config) {
    enum {
        TRAINING_BATCH = 4
    };
    const struct pass_options options = {
        .trainable = trainable_all(),
        .max_tokens = TRAINING_BATCH * config->n_ctx,
        .max_rows = TRAINING_BATCH * config->n_ctx,
        .max_sequences = TRAINING_BATCH,
    };
    const int64_t params_bytes = 4 * param_block_bytes(config, NULL);
    const int64_t bytes = pass_bytes(config, &options);
    return bytes > INT64_MAX - params_bytes ? INT64_MAX : bytes + params_bytes;
}

static void fill_parts(const struct config *config, struct llm_model_info *info) {
    for (int part = 0; part < PART_COUNT; part++) {
        int64_t n = 0;
        for (int p = 0; p < PARAM_COUNT; p++) {
            if ((int)params[p].part == part)
                n += param_count(config, (enum param)p) * param_size(config, (enum param)p);
        }
        if (n == 0) continue;
        info->parts[info->n_parts++] = (struct llm_model_part){param_part_name((enum param_part)part), n};
        info->n_params += n;
    }
}

void llm_engine_info(const struct llm_engine *engine, struct llm_model_info *info) {
    const struct config *config = &engine->config;
    *info = (struct llm_model_info){
        .path = engine->path,
        .format = engine->container != NULL ? engine->container->format : "memory",
        .dtype = dtype_info(engine->dtype)->name,
        .memory_dtype = dtype_info(memory_dtype(engine))->name,
        .n_layer = config->n_layer,
        .n_head = config->n_head,
        .n_embd = config->n_embd,
        .n_inner = config->n_inner,
        .n_ctx = config->n_ctx,
        .vocab_size = config->vocab_size,
        .activation = activation_name(config->activation),
        .layer_norm_epsilon = config_epsilon(config),
        .tied_head = config->tied_head && config->n_labels == 0,
        .n_labels = config->n_labels,
        .labels = config->labels,
        .scale_attn_weights = config->scale_attn_weights,
        .scale_attn_by_layer = config->scale_attn_by_layer,
        .qkv_bias = config->qkv_bias,
        .files = engine->files,
        .n_files = engine->n_files,
        .n_nonfinite = engine->n_nonfinite,
        .has_tokenizer = engine->tokenizer != NULL,
        .isa = ops_level_name(engine->ops->level),
        .compute = engine->ops->compute == OPS_COMPUTE_BF16 ? "BF16" : "F32",
        .n_threads = engine->ops->n_threads,
    };
    fill_parts(config, info);
    info->bytes_weights = weight_bytes(engine);
    info->bytes_step = step_bytes(engine);
    info->bytes_kv_cache = kv_cache_bytes(config, 1);
    // A prompt that fills the context is processed as one batch.
    info->bytes_inference =
        info->bytes_weights + info->bytes_kv_cache + activations_bytes(config, config->n_ctx, 1, true);
    info->bytes_training = training_bytes(config);
}
