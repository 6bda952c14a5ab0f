// quantize.c: see quantize.h.
//
// Everything goes into one new block, what is not converted too: then the old weights, wherever they were, can go.
#include "model/quantize.h"

#include <stdlib.h>
#include <string.h>

#include "base/team.h"
#include "model/weights.h"

enum {
    ALIGNMENT = 64, // a cache line
    STRIP = 32      // rows of [out, in] that are put together from columns of [in, out] at once
};

// ---- What becomes of a parameter ------------------------------------------------------------

struct plan {
    enum dtype dtype;
    bool transposed; // the copy is [cols, rows] of param_shape()
};

static bool is_linear(enum param param) {
    return param == PARAM_ATTN_QKV_WEIGHT || param == PARAM_ATTN_PROJ_WEIGHT || param == PARAM_MLP_FC_WEIGHT ||
           param == PARAM_MLP_PROJ_WEIGHT;
}

// Layers may be stored in different dtypes; whether the copy is transposed is the same for all of a parameter, as
// blocks always are.
static struct plan plan_for(const struct weights *weights, enum param param, int layer, enum llm_quantize quantize) {
    const struct plan as_it_is = {weights->tensors[param][layer].dtype, weights->transposed[param]};
    if (!is_linear(param) && param != PARAM_WTE && param != PARAM_HEAD) return as_it_is;
    struct plan plan = {DTYPE_Q8_0, is_linear(param)};
    if (quantize == LLM_QUANTIZE_Q4 && is_linear(param)) plan.dtype = DTYPE_Q4_0;
    if (quantize == LLM_QUANTIZE_BF16) plan = (struct plan){DTYPE_BF16, weights->transposed[param]};
    enum {
        MANY = 4096 // numbers, of which dtypes take different bytes
    };
    return dtype_bytes(plan.dtype, MANY) < dtype_bytes(as_it_is.dtype, MANY) ? plan : as_it_is;
}

static size_t instance_bytes(const struct config *config, enum param param, enum dtype dtype) {
    const size_t bytes = dtype_bytes(dtype, (size_t)param_size(config, param));
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

// Rows must be whole blocks.
static bool check_rows(const struct llm_engine *engine, enum dtype dtype, int width, const char *name,
                       struct llm_error *err) {
    const int block = (int)dtype_info(dtype)->block;
    if (width % block == 0) return true;
    return error_set(err, LLM_ERROR_UNSUPPORTED,
                     "%s: %s is %d, but %s stores blocks of %d numbers, so a multiple of %d was expected", engine->path,
                     name, width, dtype_info(dtype)->name, block, block);
}

// ---- Converting -----------------------------------------------------------------------------

// One matrix, strip by strip, each on the thread that comes free.
struct convert_job {
    const struct matrix *from;
    const struct matrix *to; // to->data is written
    bool turn;               // to is the transpose of from
    float *strips;           // [n_threads, STRIP, to->cols]
    struct team_counter counter;
};

// Rows first .. first + n - 1 of the copy as F32 [n, to->cols].
static void read_strip(const struct convert_job *job, float *strip, float *line, int first, int n) {
    const struct matrix *from = job->from;
    const char *data = from->data;
    const size_t cols = (size_t)from->cols;
    if (!job->turn) {
        dtype_to_f32(strip, data + dtype_bytes(from->dtype, (size_t)first * cols), from->dtype, (size_t)n * cols);
        return;
    }
    for (int row = 0; row < from->rows; row++) {
        const size_t at = (size_t)row * cols + (size_t)first;
        dtype_to_f32(line, data + dtype_bytes(from->dtype, at), from->dtype, (size_t)n);
        for (int i = 0; i < n; i++) strip[(size_t)i * (size_t)from->rows + (size_t)row] = line[i];
    }
}

static void convert_work(void *memory, int thread, int n_threads) {
    (void)n_threads;
    struct convert_job *job = memory;
    const size_t cols = (size_t)job->to->cols;
    const int n_strips = (job->to->rows + STRIP - 1) / STRIP;
    float line[STRIP];
    float *strip = job->strips + (size_t)thread * STRIP * cols;
    for (int64_t i = team_take(&job->counter); i < n_strips; i = team_take(&job->counter)) {
        const int first = (int)i * STRIP;
        const int n = job->to->rows - first < STRIP ? job->to->rows - first : STRIP;
        read_strip(job, strip, line, first, n);
        char *to = (char *)job->to->data + dtype_bytes(job->to->dtype, (size_t)first * cols);
        dtype_from_f32(to, job->to->dtype, strip, (size_t)n * cols);
    }
}

static bool convert(struct team *team, int n_threads, const struct matrix *from, const struct matrix *to, bool turn,
                    struct llm_error *err) {
    if (from->dtype == to->dtype) {
        memcpy((void *)to->data, from->data, dtype_bytes(to->dtype, (size_t)to->rows * (size_t)to->cols));
        return true;
    }
    struct convert_job job = {.from = from, .to = to, .turn = turn};
    job.strips = malloc((size_t)n_threads * STRIP * (size_t)to->cols * sizeof *job.strips);
    if (job.strips == NULL) return error_memory(err, "weights");
    team_run(team, convert_work, &job);
    free(job.strips);
    return true;
}

// ---- The engine's weights -------------------------------------------------------------------

// Shapes and places of the new matrices, in one block.
static bool weights_plan(struct weights *to, const struct llm_engine *engine, enum llm_quantize quantize,
                         struct llm_error *err) {
    const struct config *config = &engine->config;
    size_t bytes = 0;
    for (int p = 0; p < PARAM_COUNT; p++) {
        const bool wide = p == PARAM_MLP_PROJ_WEIGHT;
        for (int layer = 0; layer < param_count(config, (enum param)p); layer++) {
            const struct plan plan = plan_for(&engine->weights, (enum param)p, layer, quantize);
            to->transposed[p] = plan.transposed;
            bytes += instance_bytes(config, (enum param)p, plan.dtype);
            if (!check_rows(engine, plan.dtype, wide ? config->n_inner : config->n_embd, wide ? "n_inner" : "n_embd",
                            err)) {
                return false;
            }
        }
    }
    to->owned = aligned_alloc(ALIGNMENT, bytes);
    to->bytes_owned = (int64_t)bytes;
    if (to->owned == NULL) return error_memory(err, "weights");
    if (!weights_shape(to, config, err)) return false;
    char *next = to->owned;
    for (int p = 0; p < PARAM_COUNT; p++) {
        for (int layer = 0; layer < param_count(config, (enum param)p); layer++) {
            const struct plan plan = plan_for(&engine->weights, (enum param)p, layer, quantize);
            to->tensors[p][layer].dtype = plan.dtype;
            to->tensors[p][layer].data = next;
            next += instance_bytes(config, (enum param)p, plan.dtype);
        }
    }
    return true;
}

static bool weights_convert(struct weights *to, const struct llm_engine *engine, struct llm_error *err) {
    const struct weights *from = &engine->weights;
    struct team *team = team_new(engine->ops->n_threads, err);
    bool ok = team != NULL;
    for (int p = 0; p < PARAM_COUNT; p++) {
        for (int layer = 0; ok && layer < param_count(&engine->config, (enum param)p); layer++) {
            struct matrix *matrix = &to->tensors[p][layer];
            ok = convert(team, engine->ops->n_threads, weights_get(from, (enum param)p, layer), matrix,
                         from->transposed[p] != to->transposed[p], err);
            if (!ok) break;
            matrix->data =
                engine->ops->put(engine->ops, matrix->data,
                                 dtype_bytes(matrix->dtype, (size_t)param_size(&engine->config, (enum param)p)));
            if (matrix->data == NULL) ok = error_memory(err, "weights");
        }
        if (engine->container != NULL) container_forget(engine->container); // so that there never are both in whole
    }
    if (team != NULL) team_free(team);
    return ok;
}

bool engine_quantize(struct llm_engine *engine, enum llm_quantize quantize, struct llm_error *err) {
    if (quantize == LLM_QUANTIZE_NONE) return true;
    struct weights quantized = {0};
    if (!weights_plan(&quantized, engine, quantize, err) || !weights_convert(&quantized, engine, err)) {
        weights_release(&quantized, &engine->config, engine->ops);
        return false;
    }
    weights_release(&engine->weights, &engine->config, engine->ops);
    if (engine->own.data != NULL) param_block_release(&engine->own, engine->ops);
    engine->weights = quantized;
    return true;
}
