// full_size.c: what tools/check_full_size.py runs: logits and greedy ids of a model through the public API.
//
//     full_size MODEL N_GREEDY LOGITS ID...
//
// Continues the ids greedily by N_GREEDY tokens (with the KV cache), prints these, and writes the logits after
// each of prompt and continuation (one batch, no cache) to LOGITS: float32 [n, vocab_size]. Times on stderr.
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "my_llm.h"

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int failed(const struct llm_error *err) {
    fprintf(stderr, "full_size: %s\n", err->text);
    return 1;
}

static int run(struct llm_engine *engine, int32_t *ids, size_t n_prompt, int n_greedy, const char *path,
               struct llm_error *err) {
    struct llm_model_info info;
    llm_engine_info(engine, &info);
    struct llm_session *session = llm_session_new(engine, 1, err);
    if (session == NULL) return failed(err);
    struct llm_generate_options options;
    llm_generate_options_init(&options);
    options.temperature = 0;
    options.max_tokens = n_greedy;
    options.ignore_eos = true;
    struct llm_generation generation = {0};
    if (!llm_session_generate(session, ids, n_prompt, &options, NULL, NULL, &generation, err)) return failed(err);
    const struct llm_sample *sample = &generation.samples[0];
    for (size_t i = 0; i < sample->n_ids; i++) {
        printf("%d ", (int)sample->ids[i]);
        ids[n_prompt + i] = sample->ids[i];
    }
    putchar('\n');
    fprintf(stderr, "prompt %.2f s, %zu tokens %.2f s", generation.prompt_seconds, sample->n_ids,
            generation.generate_seconds);
    const size_t n_ids = n_prompt + sample->n_ids;
    llm_generation_release(&generation);

    const size_t n = n_ids * (size_t)info.vocab_size;
    float *logits = malloc(n * sizeof *logits);
    const double start = seconds();
    if (logits == NULL || !llm_session_logits(session, ids, n_ids, logits, err)) return failed(err);
    fprintf(stderr, ", all logits %.2f s (%s, %d threads)\n", seconds() - start, info.isa, info.n_threads);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(logits, sizeof *logits, n, file) != n || fclose(file) != 0) {
        perror(path);
        return 1;
    }
    free(logits);
    llm_session_free(session);
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 5) {
        fprintf(stderr, "usage: full_size MODEL N_GREEDY LOGITS ID...\n");
        return 2;
    }
    const int n_greedy = atoi(argv[2]);
    const size_t n_prompt = (size_t)argc - 4;
    int32_t *ids = calloc(n_prompt + (size_t)n_greedy, sizeof *ids);
    struct llm_error err = {0};
    const double start = seconds();
    struct llm_engine *engine = llm_engine_open(argv[1], NULL, &err);
    if (ids == NULL || engine == NULL) return failed(&err);
    fprintf(stderr, "open %.3f s, ", seconds() - start);
    for (size_t i = 0; i < n_prompt; i++) ids[i] = (int32_t)atoi(argv[4 + i]);
    const int result = run(engine, ids, n_prompt, n_greedy, argv[3], &err);
    llm_engine_free(engine);
    free(ids);
    return result;
}
