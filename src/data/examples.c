// examples.c: see examples.h.
#include "data/examples.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

void examples_release(struct examples *examples) {
    free(examples->ids);
    free(examples->items);
    *examples = (struct examples){0};
}

// ---- Tokenising -------------------------------------------------------------------------------

static bool append_ids(struct examples *examples, const int32_t *ids, size_t n) {
    if (examples->ids == NULL || examples->capacity - examples->n_ids < n) {
        const size_t capacity = examples->capacity * 2 + n + 4096;
        int32_t *grown = reallocarray(examples->ids, capacity, sizeof *grown);
        if (grown == NULL) return false;
        examples->ids = grown;
        examples->capacity = capacity;
    }
    memcpy(examples->ids + examples->n_ids, ids, n * sizeof *ids);
    examples->n_ids += n;
    return true;
}

// Ids of the text so far; appended to examples->ids when `keep`. Returns how many, -1 after a failure.
static int64_t encode(struct examples *examples, const struct llm_tokenizer *tokenizer, const struct strbuf *text,
                      bool keep, struct llm_error *err) {
    int32_t *ids = NULL;
    size_t n = 0;
    if (!strbuf_ok(text)) {
        error_memory(err, "prompt");
        return -1;
    }
    if (!llm_tokenizer_encode(tokenizer, text->bytes, text->size, false, &ids, &n, err)) return -1;
    const bool ok = !keep || append_ids(examples, ids, n);
    llm_free(ids);
    if (ok) return (int64_t)n;
    error_memory(err, "token ids");
    return -1;
}

static bool encode_item(struct examples *examples, const struct instruction *item, const char *unit,
                        const struct template *template, const struct llm_tokenizer *tokenizer, struct strbuf *text,
                        struct llm_error *err) {
    if (item->input[0] != '\0' && template->input == SIZE_MAX) {
        return error_set(err, LLM_ERROR_FORMAT, "%s %lld has an input, but the template has no {input}", unit,
                         (long long)item->number);
    }
    struct example *example = &examples->items[examples->n];
    strbuf_clear(text);
    template_put_prompt(text, template, item);
    template_put_header(text, template, item);
    const int64_t response = encode(examples, tokenizer, text, false, err);
    if (response < 0) return false;
    template_put_answer(text, template, item);
    example->at = examples->n_ids;
    const int64_t n = encode(examples, tokenizer, text, true, err);
    if (n < 0) return false;
    if (n > INT_MAX / 2) {
        return error_set(err, LLM_ERROR_UNSUPPORTED, "%s %lld has more than %d tokens", unit, (long long)item->number,
                         INT_MAX / 2);
    }
    example->n_ids = (int)n;
    example->response = (int)response;
    examples->n_cut += n > examples->max_length;
    examples->n_no_answer += response > examples->max_length;
    examples->n++;
    return true;
}

bool examples_encode(struct examples *examples, const struct instruction *items, size_t n, const char *unit,
                     const struct template *template, const struct llm_tokenizer *tokenizer, int max_length,
                     struct llm_error *err) {
    *examples = (struct examples){.eot = llm_tokenizer_eot(tokenizer), .max_length = max_length};
    if (examples->eot < 0) {
        return error_set(err, LLM_ERROR_UNSUPPORTED,
                         "the model's vocabulary has no <|endoftext|> to end an answer with");
    }
    examples->items = calloc(n + 1, sizeof *examples->items);
    if (examples->items == NULL) return error_memory(err, "examples");
    struct strbuf text;
    strbuf_init(&text, (size_t)RECORDS_MAX_CELL * 4);
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        ok = encode_item(examples, &items[i], unit, template, tokenizer, &text, err);
    }
    strbuf_release(&text);
    return ok;
}

// ---- Batches ------------------------------------------------------------------------------------

void examples_batch_release(struct examples_batch *batch) {
    free(batch->ids);
    free(batch->targets);
    free(batch->positions);
    free(batch->starts);
    *batch = (struct examples_batch){0};
}

static bool grow(int32_t **array, size_t n) {
    int32_t *grown = reallocarray(*array, n, sizeof *grown);
    if (grown != NULL) *array = grown;
    return grown != NULL;
}

static bool make_room(struct examples_batch *batch, size_t n_tokens, size_t n_sequences, struct llm_error *err) {
    if (n_tokens > INT_MAX || n_sequences > INT_MAX) {
        return error_set(err, LLM_ERROR_ARGUMENT, "a batch of %zu tokens is too large", n_tokens);
    }
    if (n_tokens > batch->token_capacity) {
        if (!grow(&batch->ids, n_tokens) || !grow(&batch->targets, n_tokens) || !grow(&batch->positions, n_tokens)) {
            return error_memory(err, "batch");
        }
        batch->token_capacity = n_tokens;
    }
    if (n_sequences + 1 > batch->sequence_capacity) {
        if (!grow(&batch->starts, n_sequences + 1)) return error_memory(err, "batch");
        batch->sequence_capacity = n_sequences + 1;
    }
    return true;
}

static int shorter(int a, int b) {
    return a < b ? a : b;
}

// One sequence of `length` tokens at the end of the batch.
static void put_sequence(struct examples_batch *batch, const struct examples *examples, const struct example *example,
                         int length, bool response_only) {
    const int32_t *ids = examples->ids + example->at;
    const int ignored = response_only ? example->response - 1 : 0;
    for (int i = 0; i < length; i++) {
        const int at = batch->n_tokens++;
        const bool carries = i >= ignored && i < example->n_ids; // the target behind the last id is the end
        batch->ids[at] = i < example->n_ids ? ids[i] : examples->eot;
        batch->targets[at] = !carries ? EXAMPLES_IGNORE : i + 1 < example->n_ids ? ids[i + 1] : examples->eot;
        batch->positions[at] = i;
        batch->n_targets += carries;
    }
    batch->starts[++batch->n_sequences] = batch->n_tokens;
}

bool examples_batch(struct examples_batch *batch, const struct examples *examples, const int64_t *order, size_t n,
                    bool padded, bool response_only, struct llm_error *err) {
    int longest = 0;
    size_t n_tokens = 0;
    for (size_t i = 0; i < n; i++) {
        const int length = shorter(examples->items[order == NULL ? (int64_t)i : order[i]].n_ids, examples->max_length);
        if (length > longest) longest = length;
        n_tokens += (size_t)length;
    }
    if (padded) n_tokens = n * (size_t)longest;
    if (!make_room(batch, n_tokens, n, err)) return false;
    batch->n_tokens = batch->n_sequences = batch->n_targets = 0;
    batch->starts[0] = 0;
    for (size_t i = 0; i < n; i++) {
        const struct example *example = &examples->items[order == NULL ? (int64_t)i : order[i]];
        const int length = padded ? longest : shorter(example->n_ids, examples->max_length);
        put_sequence(batch, examples, example, length, response_only);
    }
    return true;
}
