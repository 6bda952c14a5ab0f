// classify.c: train a classifier on a CSV of labelled texts, then label texts with it.
//
//     cc classify.c $(pkg-config --cflags --libs my-llm) -o classify
//     ./classify mails.csv run "It crashed again"
#include <my_llm.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool train(const char *data, const char *out, struct llm_error *err) {
    struct llm_classify_options options;
    llm_classify_options_init(&options);
    options.data.path = data;
    options.model = "bundled";
    options.train.batch_size = 4;
    options.train.lr = 1e-3; // this and many epochs: for a file of a few lines; leave them out for some hundreds
    options.train.epochs = 30;
    struct llm_classify_result result;
    if (!llm_classify_train(out, &options, &result, err)) return false;
    printf("%s after %lld steps, %.1f %% of the test right\n", result.loaded ? "loaded" : "trained",
           (long long)result.train.steps, 100 * result.final_accuracy[2]);
    return true;
}

// Labels texts [n] as one call, which packs them into batches.
static bool label(const char *model, const char *const *texts, size_t n, struct llm_error *err) {
    struct llm_engine *engine = llm_engine_open(model, NULL, err);
    if (engine == NULL) return false;
    size_t *sizes = calloc(n, sizeof *sizes);
    int32_t *labels = calloc(n, sizeof *labels);
    bool ok = sizes != NULL && labels != NULL;
    if (!ok) snprintf(err->text, sizeof err->text, "out of memory");
    for (size_t i = 0; ok && i < n; i++) sizes[i] = strlen(texts[i]);
    ok = ok && llm_classify(engine, texts, sizes, n, labels, NULL, err);
    struct llm_model_info info;
    llm_engine_info(engine, &info);
    for (size_t i = 0; ok && i < n; i++) printf("%s: %s\n", info.labels[labels[i]], texts[i]);
    free(sizes);
    free(labels);
    llm_engine_free(engine);
    return ok;
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: classify FILE DIR TEXT...\n");
        return 2;
    }
    struct llm_error err = {0};
    if (!train(argv[1], argv[2], &err) || !label(argv[2], (const char *const *)argv + 3, (size_t)argc - 3, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    return 0;
}
