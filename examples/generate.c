// generate.c: continue a prompt with my-llm's C library.
//
//     cc generate.c $(pkg-config --cflags --libs my-llm) -o generate
//     ./generate bundled "Once upon a time"
#include <my_llm.h>

#include <stdio.h>
#include <string.h>

static bool print_piece(void *user, const struct llm_piece *piece) {
    (void)user;
    fwrite(piece->text, 1, piece->size, stdout);
    return fflush(stdout) == 0; // false would end the text
}

int main(int argc, char **argv) {
    const char *model = argc > 1 ? argv[1] : "bundled";
    const char *prompt = argc > 2 ? argv[2] : "Once upon a time";
    struct llm_error err = {0};
    struct llm_generate_options options;
    llm_generate_options_init(&options);
    options.max_tokens = 40;

    int32_t *ids = NULL;
    size_t n_ids = 0;
    struct llm_session *session = NULL;
    struct llm_engine *engine = llm_engine_open(model, NULL, &err);
    const struct llm_tokenizer *tokenizer = engine != NULL ? llm_engine_tokenizer(engine) : NULL;
    bool ok = tokenizer != NULL && llm_tokenizer_encode(tokenizer, prompt, strlen(prompt), false, &ids, &n_ids, &err) &&
              (session = llm_session_new(engine, 1, &err)) != NULL &&
              llm_session_generate(session, ids, n_ids, &options, print_piece, NULL, NULL, &err);
    puts("");
    if (!ok) fprintf(stderr, "%s\n", err.code != LLM_OK ? err.text : "this model has no vocabulary");
    llm_session_free(session);
    llm_free(ids);
    llm_engine_free(engine);
    return ok ? 0 : 1;
}
