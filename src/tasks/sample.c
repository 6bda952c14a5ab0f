// sample.c: see sample.h.
#include "tasks/sample.h"

#include "base/str.h"

enum {
    MAX_SAMPLE = 1 << 24 // bytes of a sample
};

bool sample_text(struct llm_engine *engine, const char *prompt, size_t size, int n_tokens, bool ignore_eos, char **text,
                 size_t *text_size, struct llm_error *err) {
    struct llm_generate_options generate;
    llm_generate_options_init(&generate);
    generate.temperature = 0;
    generate.max_tokens = n_tokens;
    generate.ignore_eos = ignore_eos;
    int32_t *ids = NULL;
    size_t n_ids = 0;
    struct llm_generation generation = {0};
    struct llm_session *session = llm_session_new(engine, 1, err);
    const bool ok = session != NULL &&
                    llm_tokenizer_encode(engine->tokenizer, prompt, size, false, &ids, &n_ids, err) &&
                    llm_session_generate(session, ids, n_ids, &generate, NULL, NULL, &generation, err);
    struct strbuf whole;
    strbuf_init(&whole, MAX_SAMPLE);
    if (ok) {
        strbuf_append(&whole, prompt, size);
        strbuf_append(&whole, generation.samples[0].text, generation.samples[0].size);
        *text_size = whole.size;
        *text = strbuf_take(&whole);
    }
    strbuf_release(&whole);
    llm_generation_release(&generation);
    llm_free(ids);
    llm_session_free(session);
    return ok && (*text != NULL || error_memory(err, "sample"));
}
