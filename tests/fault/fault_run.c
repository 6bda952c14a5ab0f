// fault_run.c: see fault_run.h.
#include "fault_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"

static void hear(void *user, const char *sentence) {
    struct fault_run *run = user;
    run->refused |= strstr(sentence, "; there is no picture") != NULL;
}

void fault_run_options(const struct fault_run *run, bool resume, struct llm_train_options *options) {
    options->isa = "ref";
    options->n_threads = 1;
    options->batch_size = 2;
    options->save_every = 1;
    options->resume = resume;
    options->overwrite = !resume;
    options->lora_rank = run->rank;
    options->adapter = run->rank > 0;
    options->callbacks = (struct llm_callbacks){.user = (void *)run, .notice = hear};
}

static bool read_weights(const struct fault_run *run, char **bytes, size_t *size) {
    char path[120];
    snprintf(path, sizeof path, "%s/model/model.safetensors", run->out);
    return file_read(path, 1 << 20, bytes, size, NULL);
}

int fault_run_setup(struct fault_run *run) {
    if (setenv("PATH", "/nonexistent", 1) != 0) return -1; // no gnuplot
    strcpy(run->folder, fault_template());
    if (mkdtemp(run->folder) == NULL) return -1;
    snprintf(run->data, sizeof run->data, "%s/%s", run->folder, run->name);
    snprintf(run->cache, sizeof run->cache, "%s/cache", run->folder);
    snprintf(run->out, sizeof run->out, "%s/run", run->folder);
    struct llm_error err = {0};
    if (file_write(run->data, run->text, strlen(run->text), &err) && run->train(run, false, &err) &&
        read_weights(run, &run->weights, &run->size)) {
        return 0;
    }
    fprintf(stderr, "%s\n", err.text);
    return -1;
}

int fault_run_teardown(void **state) {
    struct fault_run *run = *state;
    directory_remove(run->folder);
    llm_free(run->weights);
    run->weights = NULL;
    return 0;
}

// A picture that the disk refuses is told, and no error of the run's: here it counts as one.
static bool train_body(void *user, struct llm_error *err) {
    struct fault_run *run = user;
    run->refused = false;
    return run->train(run, false, err) && (!run->refused || error_set(err, LLM_ERROR_IO, "a picture was refused"));
}

// Whether there is a model; it must be the undisturbed run's then.
static bool holds_the_model(const struct fault_run *run) {
    char *bytes = NULL;
    size_t size = 0;
    if (!read_weights(run, &bytes, &size)) return false;
    assert_true(size == run->size && memcmp(bytes, run->weights, size) == 0);
    llm_free(bytes);
    return true;
}

static void train_check(void *user, bool succeeded) {
    const struct fault_run *run = user;
    const bool there = holds_the_model(run);
    if (succeeded) assert_true(there);
    struct llm_error err = {0};
    if (run->train(run, true, &err)) {
        assert_true(holds_the_model(run));
        return;
    }
    assert_false(succeeded);
    // It had not begun, or had begun to clear away the run that was there.
    if (strstr(err.text, "there is no run to resume here") == NULL &&
        strstr(err.text, "holds a model and no checkpoint to go on from") == NULL) {
        fail_msg("%s", err.text);
    }
}

int fault_run_loop(unsigned kinds, struct fault_run *run) {
    return fault_loop(kinds, train_body, train_check, run);
}
