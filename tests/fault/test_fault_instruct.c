// test_fault_instruct.c: answering a file of instructions when memory, calls or the disk fail: a sentence, nothing
// leaked, and what was answered is kept until all are.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "fault.h"

struct place {
    char folder[64]; // holds ask.json, answers.json, style.txt
    char ask[80], answers[80], style[80];
    char *whole; // [size] the answers that nothing disturbed
    size_t size;
};

static bool respond(const struct place *place, struct llm_error *err) {
    struct llm_engine_options opening;
    llm_engine_options_init(&opening);
    opening.isa = "ref";
    opening.n_threads = 1;
    struct llm_engine *engine = llm_engine_open(MY_LLM_SOURCE_DIR "/tests/fixtures/models/text", &opening, err);
    if (engine == NULL) return false;
    struct llm_respond_options options;
    llm_respond_options_init(&options);
    options.generate.max_tokens = 2;
    options.parallel = 2;
    options.template_file = place->style; // shorter than the model's context
    options.overwrite = true;
    const bool ok = llm_instruct_respond_file(engine, place->ask, place->answers, &options, NULL, err);
    llm_engine_free(engine);
    return ok;
}

static int place_setup(void **state) {
    struct place *place = calloc(1, sizeof *place);
    if (place == NULL) return -1;
    strcpy(place->folder, fault_template());
    if (mkdtemp(place->folder) == NULL) return -1;
    snprintf(place->ask, sizeof place->ask, "%s/ask.json", place->folder);
    snprintf(place->answers, sizeof place->answers, "%s/answers.json", place->folder);
    snprintf(place->style, sizeof place->style, "%s/style.txt", place->folder);
    static const char style[] = "{instruction}{input}:{output}";
    static const char ask[] = "{\"instruction\": \"a\"}\n{\"instruction\": \"b\", \"input\": \"c\"}\n"
                              "{\"instruction\": \"d\", \"id\": 7}\n";
    struct llm_error err = {0};
    if (!file_write(place->style, style, strlen(style), &err) || !file_write(place->ask, ask, strlen(ask), &err) ||
        !respond(place, &err) || !file_read(place->answers, 1 << 16, &place->whole, &place->size, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return -1;
    }
    *state = place;
    return strstr(place->whole, "\"model_response\": \"\"") == NULL ? 0 : -1; // else nothing was generated
}

static int place_teardown(void **state) {
    struct place *place = *state;
    directory_remove(place->folder);
    llm_free(place->whole);
    free(place);
    return 0;
}

static bool respond_body(void *user, struct llm_error *err) {
    return respond(user, err);
}

// The file is the old or the new one, which are the same here, and whole.
static void respond_check(void *user, bool succeeded) {
    const struct place *place = user;
    char *bytes = NULL;
    size_t size = 0;
    (void)succeeded;
    assert_true(file_read(place->answers, 1 << 16, &bytes, &size, NULL));
    assert_true(size == place->size && memcmp(bytes, place->whole, size) == 0);
    llm_free(bytes);
}

static void memory(void **state) {
    assert_true(fault_loop(FAULT_MEMORY, respond_body, respond_check, *state) > 50);
}

static void files(void **state) {
    assert_true(fault_loop(FAULT_FILES, respond_body, respond_check, *state) > 5);
}

static void disk(void **state) {
    assert_true(fault_loop(FAULT_DISK, respond_body, respond_check, *state) > 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(memory, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(files, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(disk, place_setup, place_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
