// instruct_data.c: instructions, split in file order, as ids; see instruct.h.
#include <stdlib.h>

#include "base/crc32c.h"
#include "infer/session.h"
#include "tasks/dataset.h"
#include "tasks/instruct.h"

void instruct_data_release(struct instruct_data *data) {
    free(data->path);
    instructions_release(&data->instructions);
    template_release(&data->template);
    examples_release(&data->examples);
    examples_batch_release(&data->batch);
    *data = (struct instruct_data){0};
}

bool instruct_data_read(struct instruct_data *data, const struct llm_instruct_options *options, struct llm_error *err) {
    const char *template = options->template_file;
    if (!(template == NULL ? template_alpaca(&data->template, err) : template_read(&data->template, template, err))) {
        return false;
    }
    data->path = dataset_path(options->data, &options->train.callbacks, err);
    if (data->path == NULL || !instructions_read(&data->instructions, data->path, true, err)) return false;
    data->split = split_in_order(data->instructions.n, options->train_share, options->test_share);
    data->response_only = options->loss == LLM_LOSS_RESPONSE;
    if (data->split.train > 0) return true;
    return error_set(err, LLM_ERROR_ARGUMENT, "%s: of %zu entries none is left to learn from", data->path,
                     data->instructions.n);
}

size_t instruct_data_side(const struct instruct_data *data, enum train_side side, size_t *n) {
    const struct split *split = &data->split;
    const size_t first[TRAIN_SIDES] = {0, split->validation, split->train};
    const size_t end[TRAIN_SIDES] = {split->train, split->n, split->validation};
    *n = end[side] - first[side];
    return first[side];
}

// ---- Ids ------------------------------------------------------------------------------------------

static uint32_t checksum(const struct instruct_data *data) {
    const struct examples *examples = &data->examples;
    const uint64_t parts[] = {data->split.train, data->split.validation, data->split.n, (uint64_t)examples->max_length};
    uint32_t crc = crc32c(0, parts, sizeof parts);
    crc = crc32c(crc, examples->ids, examples->n_ids * sizeof *examples->ids);
    for (size_t i = 0; i < examples->n; i++) {
        const int32_t shape[] = {examples->items[i].n_ids, examples->items[i].response};
        crc = crc32c(crc, shape, sizeof shape);
    }
    return crc;
}

// What the cuts have left, told or refused.
static bool check_lengths(const struct instruct_data *data, const struct llm_instruct_options *options,
                          struct llm_error *err) {
    const struct examples *examples = &data->examples;
    size_t n_train;
    const size_t first = instruct_data_side(data, TRAIN_LEARN, &n_train);
    size_t n_useless = 0;
    for (size_t i = first; i < first + n_train; i++) {
        n_useless += data->response_only && examples->items[i].response > examples->max_length;
    }
    if (n_useless == n_train) {
        return error_set(err, LLM_ERROR_ARGUMENT,
                         "%s: no prompt leaves room for an answer within %d tokens, so there is nothing to learn",
                         data->path, examples->max_length);
    }
    if (examples->n_cut > 0) {
        engine_notice(&options->train.callbacks,
                      "%zu entries are longer than %d tokens; what follows is left out, of %zu the whole answer",
                      examples->n_cut, examples->max_length, examples->n_no_answer);
    }
    return true;
}

bool instruct_data_encode(struct instruct_data *data, const struct llm_engine *engine,
                          const struct llm_instruct_options *options, struct llm_error *err) {
    const int n_ctx = engine->config.n_ctx;
    const int usual = n_ctx < EXAMPLES_MAX_LENGTH ? n_ctx : EXAMPLES_MAX_LENGTH;
    const int limit = options->max_length > 0 ? options->max_length : usual;
    const struct instructions *instructions = &data->instructions;
    struct examples *examples = &data->examples;
    if (limit > n_ctx) {
        return error_set(err, LLM_ERROR_ARGUMENT, "max-length is %d, and the model has a context of %d", limit, n_ctx);
    }
    struct llm_error wrong = {0};
    if (!examples_encode(examples, instructions->items, instructions->n, instructions->records.unit, &data->template,
                         engine->tokenizer, limit, &wrong) ||
        !check_ids(&engine->config, examples->ids, examples->n_ids, "the instructions", &wrong)) {
        error_prefix(&wrong, "%s", data->path);
        return error_set(err, wrong.code, "%s", wrong.text);
    }
    for (size_t i = 0; i < examples->n; i++) {
        const int n = examples->items[i].n_ids < limit ? examples->items[i].n_ids : limit;
        if (n > data->max_tokens) data->max_tokens = n;
    }
    data->checksum = checksum(data);
    return check_lengths(data, options, err);
}

bool instruct_data_example(struct instruct_data *data, enum train_side side, int64_t number,
                           struct train_example *example, struct llm_error *err) {
    size_t n;
    const int64_t item = (int64_t)instruct_data_side(data, side, &n) + number;
    struct examples_batch *batch = &data->batch;
    if (!examples_batch(batch, &data->examples, &item, 1, false, data->response_only, err)) return false;
    for (int i = 0; i < batch->n_tokens; i++) {
        if (batch->targets[i] == EXAMPLES_IGNORE) batch->targets[i] = NO_TARGET;
    }
    *example = (struct train_example){.ids = batch->ids, .targets = batch->targets, .n = batch->n_tokens};
    return true;
}
