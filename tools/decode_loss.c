// decode_loss.c: what the rounding of activations in products of few rows does to a model's loss (ops/ops.h, struct
// matrix): the mean cross-entropy of a text whose logits are computed as in decoding, 16 tokens at a time on a KV
// cache, beside that of whole windows, where nothing is rounded.
//
//     my-llm tokenize -m bundled TEXT | decode_loss MODEL none|q8|q4
//
// The ids on standard input are cut into windows of the model's context. With F32 weights both are the same number.
// Build: cc -O2 -I include tools/decode_loss.c -o decode_loss -L build -lmy_llm -lm
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "my_llm.h"

static int failed(const char *what) {
    fprintf(stderr, "decode_loss: %s\n", what);
    return 1;
}

static int32_t *read_ids(size_t *n) {
    int32_t *ids = NULL;
    size_t room = 0;
    int id;
    for (*n = 0; scanf("%d", &id) == 1; (*n)++) {
        if (*n == room) ids = realloc(ids, (room = 2 * room + 1024) * sizeof *ids);
        if (ids == NULL) return NULL;
        ids[*n] = id;
    }
    return ids;
}

// -log softmax(logits)[target]
static double loss_of(const float *logits, int n, int32_t target) {
    double largest = logits[0], sum = 0;
    for (int i = 1; i < n; i++) largest = logits[i] > largest ? logits[i] : largest;
    for (int i = 0; i < n; i++) sum += exp(logits[i] - largest);
    return log(sum) + largest - logits[target];
}

int main(int argc, char **argv) {
    static const char *const names[] = {"none", "bf16", "q8", "q4"}; // enum llm_quantize
    if (argc != 3) return failed("MODEL and none, bf16, q8 or q4 were expected");
    struct llm_engine_options options;
    llm_engine_options_init(&options);
    for (int i = 0; i < 4; i++) {
        if (strcmp(argv[2], names[i]) == 0) options.quantize = (enum llm_quantize)i;
    }
    struct llm_error err = {0};
    struct llm_engine *engine = llm_engine_open(argv[1], &options, &err);
    struct llm_session *session = engine != NULL ? llm_session_new(engine, 1, &err) : NULL;
    if (session == NULL) return failed(err.text);
    struct llm_model_info info;
    llm_engine_info(engine, &info);
    const size_t window = (size_t)info.n_ctx, vocab_size = (size_t)info.vocab_size;
    size_t n;
    int32_t *ids = read_ids(&n);
    float *logits = malloc(window * vocab_size * sizeof *logits);
    size_t *starts = malloc((n / window + 2) * sizeof *starts);
    if (n < 2 || ids == NULL || logits == NULL || starts == NULL) return failed("no ids, or no memory for them");

    double sum = 0;
    size_t n_scored = 0, n_windows = 0;
    for (size_t first = 0; first < n; first += window) {
        const size_t length = n - first < window ? n - first : window;
        starts[n_windows++] = first;
        if (!llm_session_logits(session, ids + first, length, logits, &err)) return failed(err.text);
        for (size_t t = 0; t + 1 < length; t++) {
            sum += loss_of(logits + t * vocab_size, info.vocab_size, ids[first + t + 1]);
            n_scored++;
        }
    }
    starts[n_windows] = n;
    struct llm_evaluate_options evaluate;
    llm_evaluate_options_init(&evaluate);
    struct llm_evaluation whole;
    if (!llm_evaluate(engine, ids, starts, n_windows, &evaluate, &whole, &err)) return failed(err.text);
    const double loss = sum / (double)n_scored;
    printf("%s %s: perplexity as in decoding %.5f, of whole windows %.5f (%+.5f %%), %zu tokens\n", argv[2], info.isa,
           exp(loss), whole.perplexity, 100 * (exp(loss) / whole.perplexity - 1), n_scored);
    llm_session_free(session);
    llm_engine_free(engine);
    free(ids);
    free(logits);
    free(starts);
    return 0;
}
