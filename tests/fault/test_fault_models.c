// test_fault_models.c: vocabularies, models in every container, generating, and converting, when memory
// or a system call fails. Every reader must end in a sentence and give back what it took; a conversion
// must leave either nothing or a whole model.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "fault.h"
#include "model/engine.h"

#define MODELS MY_LLM_SOURCE_DIR "/tests/fixtures/models/"

static struct llm_engine_options reference_options(void) {
    struct llm_engine_options options;
    llm_engine_options_init(&options);
    options.n_threads = 1; // calls come in the same order every time
    options.isa = "ref";
    options.offline = true;
    return options;
}

// ---- Vocabularies ---------------------------------------------------------------------------

static const char text[] = "Hello, world! It's 2024 <|endoftext|>";

// Encodes, decodes, compares; `tokenizer` may be NULL after a failure.
static bool round_trip(struct llm_tokenizer *tokenizer, struct llm_error *err) {
    int32_t *ids = NULL;
    char *back = NULL;
    size_t n_ids = 0;
    size_t size = 0;
    bool ok = tokenizer != NULL && llm_tokenizer_encode(tokenizer, text, strlen(text), false, &ids, &n_ids, err) &&
              llm_tokenizer_decode(tokenizer, ids, n_ids, &back, &size, err);
    if (ok && (size != strlen(text) || memcmp(back, text, size) != 0)) {
        ok = error_set(err, LLM_ERROR_FORMAT, "decoding gave other bytes");
    }
    llm_free(ids);
    llm_free(back);
    llm_tokenizer_free(tokenizer);
    return ok;
}

static bool built_in_body(void *user, struct llm_error *err) {
    (void)user;
    return round_trip(llm_tokenizer_open(NULL, NULL, err), err);
}

static bool directory_body(void *user, struct llm_error *err) {
    return round_trip(tokenizer_open_directory(user, err), err);
}

static void the_built_in_vocabulary(void **state) {
    (void)state;
    fault_loop(FAULT_MEMORY, built_in_body, NULL, NULL);
}

static void vocabularies_in_files(void **state) {
    (void)state;
    char *small = MY_LLM_SOURCE_DIR "/tests/fixtures/tokenizer/small";
    char *pair = MODELS "text";
    fault_loop(FAULT_MEMORY, directory_body, NULL, small);
    fault_loop(FAULT_FILES, directory_body, NULL, small);
    fault_loop(FAULT_SHORT, directory_body, NULL, small);
    fault_loop(FAULT_MEMORY, directory_body, NULL, pair);
    fault_loop(FAULT_FILES, directory_body, NULL, pair);
}

// ---- Models ---------------------------------------------------------------------------------

static bool open_body(void *user, struct llm_error *err) {
    const struct llm_engine_options options = reference_options();
    struct llm_engine *engine = llm_engine_open(user, &options, err);
    llm_engine_free(engine);
    return engine != NULL;
}

static void models_in_every_container(void **state) {
    (void)state;
    static const char *const names[] = {"plain", "shards", "openai", "text", "f16", "untied"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[512];
        snprintf(path, sizeof path, MODELS "%s", names[i]);
        fault_loop(FAULT_MEMORY, open_body, NULL, path);
        fault_loop(FAULT_FILES, open_body, NULL, path);
        fault_loop(FAULT_SHORT, open_body, NULL, path);
    }
}

static void the_bundled_model(void **state) {
    (void)state;
    char *path = MY_LLM_SOURCE_DIR "/models/bundled";
    fault_loop(FAULT_MEMORY, open_body, NULL, path);
    fault_loop(FAULT_FILES, open_body, NULL, path);
}

static bool generate_body(void *user, struct llm_error *err) {
    const struct llm_engine_options options = reference_options();
    struct llm_engine *engine = llm_engine_open(user, &options, err);
    struct llm_session *session = engine == NULL ? NULL : llm_session_new(engine, 2, err);
    struct llm_generate_options how;
    llm_generate_options_init(&how);
    how.max_tokens = 4;
    how.n_logprobs = 2;
    const int32_t prompt[] = {1, 2, 3};
    struct llm_generation generation = {0};
    const bool ok = session != NULL && llm_session_generate(session, prompt, 3, &how, NULL, NULL, &generation, err);
    llm_generation_release(&generation);
    llm_session_free(session);
    llm_engine_free(engine);
    return ok;
}

static void generating(void **state) {
    (void)state;
    fault_loop(FAULT_MEMORY, generate_body, NULL, MODELS "plain");
    fault_loop(FAULT_MEMORY, generate_body, NULL, MODELS "text");
}

static bool evaluate_body(void *user, struct llm_error *err) {
    const struct llm_engine_options options = reference_options();
    struct llm_engine *engine = llm_engine_open(user, &options, err);
    struct llm_evaluate_options how;
    llm_evaluate_options_init(&how);
    const int32_t ids[] = {1, 2, 3, 4, 5, 6};
    const size_t starts[] = {0, 3, 6};
    struct llm_evaluation evaluation;
    const bool ok = engine != NULL && llm_evaluate(engine, ids, starts, 2, &how, &evaluation, err);
    llm_engine_free(engine);
    return ok;
}

static void evaluating(void **state) {
    (void)state;
    fault_loop(FAULT_MEMORY, evaluate_body, NULL, MODELS "plain");
}

// ---- Converting -----------------------------------------------------------------------------

struct conversion {
    const char *source;
    int64_t shard_size;
    char directory[64];
    char target[128];
};

static bool convert_body(void *user, struct llm_error *err) {
    const struct conversion *conversion = user;
    struct llm_convert_options options;
    llm_convert_options_init(&options);
    options.shard_size = conversion->shard_size;
    return llm_convert(conversion->source, conversion->target, &options, err);
}

// Nothing, or a whole model.
static void convert_check(void *user, bool succeeded) {
    const struct conversion *conversion = user;
    assert_int_equal(directory_exists(conversion->target), succeeded);
    if (succeeded) {
        struct llm_error err = {0};
        if (!open_body((void *)(uintptr_t)conversion->target, &err)) fail_msg("%s", err.text);
    }
    directory_remove(conversion->directory); // with what could not be removed while removing failed
    assert_true(directory_create(conversion->directory, NULL));
}

static void a_conversion_is_whole_or_not_there(void **state) {
    (void)state;
    struct conversion conversions[] = {
        {.source = MODELS "openai"},
        {.source = MODELS "text", .shard_size = 10000},
    };
    for (size_t i = 0; i < sizeof conversions / sizeof conversions[0]; i++) {
        struct conversion *conversion = &conversions[i];
        snprintf(conversion->directory, sizeof conversion->directory, "/tmp/my-llm-fault-XXXXXX");
        assert_non_null(mkdtemp(conversion->directory));
        snprintf(conversion->target, sizeof conversion->target, "%s/model", conversion->directory);
        fault_loop(FAULT_MEMORY, convert_body, convert_check, conversion);
        fault_loop(FAULT_FILES, convert_body, convert_check, conversion);
        fault_loop(FAULT_DISK, convert_body, convert_check, conversion);
        fault_loop(FAULT_SHORT, convert_body, convert_check, conversion);
        directory_remove(conversion->directory);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_built_in_vocabulary),
        cmocka_unit_test(vocabularies_in_files),
        cmocka_unit_test(models_in_every_container),
        cmocka_unit_test(the_bundled_model),
        cmocka_unit_test(generating),
        cmocka_unit_test(evaluating),
        cmocka_unit_test(a_conversion_is_whole_or_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
