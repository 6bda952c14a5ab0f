// classify_seeds.c: see classify_seeds.h.
#include "cli/classify_seeds.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/train_options.h"

static const char *const sides[] = {"train", "validation", "test"};
static const char *const titles[] = {"Training", "Validation", "Test"};

// Final accuracies by seed.
struct seeds {
    uint64_t first;
    int n;
    double (*accuracy)[3]; // [n] NaN where a part has no texts
};

// ---- Mean and spread ------------------------------------------------------------------------

static double mean_of(const struct seeds *seeds, int side) {
    double sum = 0;
    for (int i = 0; i < seeds->n; i++) sum += seeds->accuracy[i][side];
    return sum / seeds->n;
}

// Of a sample: over n - 1.
static double deviation_of(const struct seeds *seeds, int side) {
    const double mean = mean_of(seeds, side);
    double squares = 0;
    for (int i = 0; i < seeds->n; i++) squares += (seeds->accuracy[i][side] - mean) * (seeds->accuracy[i][side] - mean);
    return sqrt(squares / (seeds->n - 1));
}

// The seed with the best accuracy on the validation part; the first of several. The test part has no say in it.
static uint64_t best_of(const struct seeds *seeds) {
    int best = 0;
    for (int i = 1; i < seeds->n; i++) {
        if (seeds->accuracy[i][1] > seeds->accuracy[best][1]) best = i;
    }
    return seeds->first + (uint64_t)best;
}

static bool write_json(const struct seeds *seeds, const char *out, struct llm_error *err) {
    json_t *object = json_pack("{s:I, s:i, s:I}", "first_seed", (json_int_t)seeds->first, "n_seeds", seeds->n, "best",
                               (json_int_t)best_of(seeds));
    bool ok = object != NULL;
    for (int side = 0; side < 3 && ok; side++) {
        if (isnan(mean_of(seeds, side))) continue;
        json_t *values = json_array();
        for (int i = 0; i < seeds->n && ok; i++) {
            ok = json_array_append_new(values, json_real(seeds->accuracy[i][side])) == 0;
        }
        json_t *part = json_pack("{s:f, s:f, s:o}", "mean", mean_of(seeds, side), "sd", deviation_of(seeds, side),
                                 "accuracy", values);
        ok = json_object_set_new(object, sides[side], part) == 0 && ok;
    }
    char *text = ok ? json_dump(object, JSON_INDENT(2)) : NULL;
    char *path = path_join(out, "seeds.json");
    if (text == NULL || path == NULL) {
        ok = error_memory(err, "seeds.json");
    } else {
        ok = file_write(path, text, strlen(text), err);
    }
    free(path);
    free(text);
    json_decref(object);
    return ok;
}

static void show(const struct seeds *seeds, const char *out) {
    printf("\n%d seeds\n", seeds->n);
    for (int i = 0; i < seeds->n; i++) {
        printf("seed %" PRIu64 ":", seeds->first + (uint64_t)i);
        for (int side = 0; side < 3; side++) {
            if (!isnan(seeds->accuracy[i][side])) printf(" %s %.2f%%", sides[side], 100 * seeds->accuracy[i][side]);
        }
        printf("\n");
    }
    printf("\nMean ± standard deviation\n");
    for (int side = 0; side < 3; side++) {
        if (isnan(mean_of(seeds, side))) continue;
        printf("%s accuracy: %.2f%% ± %.2f\n", titles[side], 100 * mean_of(seeds, side),
               100 * deviation_of(seeds, side));
    }
    printf("The best on the validation part is in %s/seed-%" PRIu64 "\n", out, best_of(seeds));
}

// ---- Training -------------------------------------------------------------------------------

// With one seed; *code gets what the command ends with unless it was trained to the end.
static bool train_one(const char *out, const struct llm_classify_options *options, uint64_t seed, double *accuracy,
                      int *code) {
    struct llm_classify_options own = *options;
    struct llm_error err = {0};
    char name[32];
    snprintf(name, sizeof name, "seed-%" PRIu64, seed);
    own.train.seed = seed;
    char *path = path_join(out, name);
    char *checkpoint = path != NULL ? path_join(path, "checkpoint") : NULL;
    struct llm_classify_result result = {0};
    bool ok = checkpoint != NULL || error_memory(&err, "path");
    // One that was not begun, or is finished, has nothing to resume.
    own.train.resume = ok && options->train.resume && path_exists(checkpoint);
    if (ok && !own.train.dry_run) printf("\nseed %" PRIu64 "\n", seed);
    ok = ok && llm_classify_train(path, &own, &result, &err);
    *code = train_ended(ok, path != NULL ? path : out, &own.train, &result.train, &err);
    for (int side = 0; side < 3; side++) accuracy[side] = result.final_accuracy[side];
    free(checkpoint);
    free(path);
    return ok && result.train.finished && *code == 0;
}

int classify_seeds(const char *out, const struct llm_classify_options *options, int n) {
    struct llm_error err = {0};
    struct seeds seeds = {.first = options->train.seed, .n = n};
    if (!options->train.dry_run && !directory_create(out, &err)) return command_failed(&err);
    seeds.accuracy = calloc((size_t)n, sizeof *seeds.accuracy);
    if (seeds.accuracy == NULL) {
        error_memory(&err, "accuracies");
        return command_failed(&err);
    }
    int code = 0;
    bool ok = true;
    for (int i = 0; i < n && ok; i++) {
        ok = train_one(out, options, seeds.first + (uint64_t)i, seeds.accuracy[i], &code);
    }
    if (ok) {
        show(&seeds, out);
        if (!write_json(&seeds, out, &err)) code = command_failed(&err);
    }
    free(seeds.accuracy);
    return code;
}
