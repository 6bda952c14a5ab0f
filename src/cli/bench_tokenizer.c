// bench_tokenizer.c: see bench_tokenizer.h.
#include "cli/bench_tokenizer.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/json.h"
#include "base/threads.h"
#include "cli/command.h"

enum {
    MOST_BYTES = 256 << 20 // of the text
};

// MB/s on so many threads.
struct rates {
    int n_threads;
    double first[2]; // mean and standard deviation, with a tokenizer that has seen nothing yet
    double known[2]; // with one that has seen the text
};

static double seconds_now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

// Up to MOST_BYTES of the file, cut where a text may be cut.
static bool read_text(const char *path, char **text, size_t *size, struct llm_error *err) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return error_errno(err, "%s: cannot open this file", path);
    *text = malloc(MOST_BYTES);
    *size = 0;
    struct llm_text *file = *text == NULL ? NULL : command_open_text(fd, path, 0, err);
    bool ok = *text != NULL || error_memory(err, path);
    ok = ok && file != NULL && llm_text_read(file, *text, MOST_BYTES, size, err);
    llm_text_close(file);
    close(fd);
    if (ok && *size == MOST_BYTES) *size = llm_tokenizer_cut(*text, *size);
    if (ok && *size == 0) ok = error_set(err, LLM_ERROR_ARGUMENT, "%s: has no text to measure with", path);
    if (!ok) free(*text);
    return ok;
}

static bool encode(const struct llm_tokenizer *tokenizer, const char *text, size_t size, int n_threads, double *rate,
                   struct llm_error *err) {
    int32_t *ids = NULL;
    size_t n_ids = 0;
    const double begun = seconds_now();
    if (!llm_tokenizer_encode_parallel(tokenizer, text, size, false, n_threads, &ids, &n_ids, err)) return false;
    *rate = 1e-6 * (double)size / (seconds_now() - begun);
    llm_free(ids);
    return !command_interrupted() || error_set(err, LLM_ERROR_CANCELLED, "measuring was cancelled");
}

static void summarize(const double *values, int n, double summary[2]) {
    double sum = 0, squares = 0;
    for (int i = 0; i < n; i++) sum += values[i];
    summary[0] = sum / n;
    for (int i = 0; i < n; i++) squares += (values[i] - summary[0]) * (values[i] - summary[0]);
    summary[1] = n > 1 ? sqrt(squares / (n - 1)) : 0;
}

// The text twice, by a new tokenizer.
static bool encode_twice(const struct bench_tokenizer_args *args, const char *text, size_t size, int n_threads,
                         double *first, double *known, struct llm_error *err) {
    struct llm_tokenizer *tokenizer = llm_tokenizer_open(args->model, NULL, err);
    const bool ok = tokenizer != NULL && encode(tokenizer, text, size, n_threads, first, err) &&
                    encode(tokenizer, text, size, n_threads, known, err);
    llm_tokenizer_free(tokenizer);
    return ok;
}

static bool measure(const struct bench_tokenizer_args *args, const char *text, size_t size, struct rates *rates,
                    struct llm_error *err) {
    const int n = args->repetitions;
    double *values = calloc(2 * (size_t)n, sizeof *values);
    if (values == NULL) return error_memory(err, "results");
    // A warm-up: memory that no program has had before costs a virtual machine as much as the encoding.
    bool ok = encode_twice(args, text, size, rates->n_threads, &values[0], &values[n], err);
    for (int i = 0; ok && i < n; i++) {
        ok = encode_twice(args, text, size, rates->n_threads, &values[i], &values[n + i], err);
    }
    if (ok) {
        summarize(values, n, rates->first);
        summarize(values + n, n, rates->known);
    }
    free(values);
    return ok;
}

static bool print_json(const struct bench_tokenizer_args *args, size_t size, const struct rates *rates, int n) {
    json_t *results = json_array();
    for (int i = 0; i < n; i++) {
        json_array_append_new(results, json_pack("{s:s, s:i, s:{s:f, s:f}, s:{s:f, s:f}}", "test", "encode",
                                                 "n_threads", rates[i].n_threads, "first_mb_per_second", "mean",
                                                 rates[i].first[0], "sd", rates[i].first[1], "known_mb_per_second",
                                                 "mean", rates[i].known[0], "sd", rates[i].known[1]));
    }
    json_t *object = json_pack("{s:s, s:i, s:s, s:I, s:o}", "version", llm_version(), "repetitions", args->repetitions,
                               "file", args->file, "bytes", (json_int_t)size, "results", results);
    char *text = object == NULL ? NULL : json_dump(object, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    if (text != NULL) puts(text);
    free(text);
    json_decref(object);
    return text != NULL;
}

static void print_table(const struct bench_tokenizer_args *args, size_t size, const struct rates *rates, int n) {
    if (args->csv) printf("test,threads,first_mb_per_second,first_sd,known_mb_per_second,known_sd\n");
    if (!args->csv) {
        printf("my-llm %s: %s, %.1f MB\n\n| encode | MB/s, first time | MB/s, words known |\n| --- | ---: | ---: |\n",
               llm_version(), args->file, 1e-6 * (double)size);
    }
    for (int i = 0; i < n; i++) {
        const char *format =
            args->csv ? "encode,%d%.0s,%.6g,%.6g,%.6g,%.6g\n" : "| %d thread%s | %.1f ± %.1f | %.1f ± %.1f |\n";
        printf(format, rates[i].n_threads, rates[i].n_threads == 1 ? "" : "s", rates[i].first[0], rates[i].first[1],
               rates[i].known[0], rates[i].known[1]);
    }
    if (!args->csv) {
        printf("\nMean ± standard deviation of %d repetition%s.\n", args->repetitions,
               args->repetitions == 1 ? "" : "s");
    }
}

bool bench_tokenizer(const struct bench_tokenizer_args *args, struct llm_error *err) {
    char *text = NULL;
    size_t size = 0;
    struct rates rates[2] = {{.n_threads = 1}};
    if (!threads_choose(args->n_threads, &rates[1].n_threads, err)) return false;
    command_catch_interrupt();
    if (!read_text(args->file, &text, &size, err)) return false;
    const int n = rates[1].n_threads > 1 ? 2 : 1;
    bool ok = true;
    for (int i = 0; i < n && ok; i++) ok = measure(args, text, size, &rates[i], err);
    free(text);
    if (!ok) return false;
    if (args->json) return print_json(args, size, rates, n) || error_memory(err, "JSON");
    print_table(args, size, rates, n);
    return true;
}
