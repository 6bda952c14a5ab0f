// bench_output.c: see bench_output.h.
#include "cli/bench_output.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"

// Mean and standard deviation (of a sample) of tokens/s.
void bench_summarize(struct bench_result *result, const double *seconds, int n) {
    double sum = 0, squares = 0;
    for (int i = 0; i < n; i++) {
        sum += result->n_processed / seconds[i];
        result->seconds += seconds[i] / n;
    }
    result->mean = sum / n;
    for (int i = 0; i < n; i++) squares += pow(result->n_processed / seconds[i] - result->mean, 2);
    result->sd = n > 1 ? sqrt(squares / (n - 1)) : 0;
}

static const char *kind_name(const struct bench_result *result) {
    static const char *const names[] = {
        [BENCH_PROMPT] = "prompt", [BENCH_GENERATE] = "generate", [BENCH_TRAIN] = "train"};
    return names[result->kind];
}

static double bytes_per_second(const struct bench_result *result) {
    return result->bytes / result->seconds;
}

static double share_of_read(const struct bench_result *result) {
    return result->read > 0 ? bytes_per_second(result) / result->read : 0;
}

static double flops_per_second(const struct bench_result *result) {
    return result->flops / result->seconds;
}

// ---- Markdown -------------------------------------------------------------------------------

static void print_rate(const char *name, const struct llm_machine_rate *rate, const char *unit) {
    printf("| %s | %.1f %s | %.1f %s |\n", name, 1e-9 * rate->one, unit, 1e-9 * rate->all, unit);
}

static void print_name(const struct bench_result *result) {
    if (result->kind == BENCH_GENERATE) {
        printf("| generate %d after %d |", result->n_tokens, result->depth);
    } else if (result->kind == BENCH_TRAIN) {
        printf("| train %d, %.3f s a step |", result->n_tokens, result->seconds);
    } else {
        printf("| prompt %d |", result->n_tokens);
    }
}

void bench_print_markdown(const struct bench_report *report) {
    const struct llm_machine *machine = report->machine;
    printf("my-llm %s: %s, %s, %.1f MB a token, %d thread%s, kernels %s, products in %s\n\n", llm_version(),
           report->model->path, report->model->memory_dtype, 1e-6 * (double)report->model->bytes_step,
           machine->n_threads, machine->n_threads == 1 ? "" : "s", report->model->isa, report->model->compute);
    printf("| machine | 1 thread | all threads |\n| --- | ---: | ---: |\n");
    print_rate("read bandwidth", &machine->read, "GB/s");
    print_rate("sgemm", &machine->sgemm, "GFLOP/s");
    for (int i = 0; i < machine->n_levels; i++) {
        char name[64];
        snprintf(name, sizeof name, "multiply-add peak, %s", machine->levels[i].isa);
        print_rate(name, &machine->levels[i].multiply_add, "GFLOP/s");
    }
    printf("\n| test | batch | tokens/s | GB/s | of read bandwidth | GFLOP/s | of sgemm |\n"
           "| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for (int i = 0; i < report->n_results; i++) {
        const struct bench_result *result = &report->results[i];
        print_name(result);
        printf(" %d | %.2f ± %.2f |", result->batch, result->mean, result->sd);
        if (result->kind == BENCH_TRAIN) {
            printf(" – | – |");
        } else {
            printf(" %.2f | %.1f %% |", 1e-9 * bytes_per_second(result), 100 * share_of_read(result));
        }
        printf(" %.2f | %.1f %% |\n", 1e-9 * flops_per_second(result),
               100 * flops_per_second(result) / machine->sgemm.all);
    }
    printf("\nMean ± standard deviation of %d repetition%s after a warm-up.\n", report->repetitions,
           report->repetitions == 1 ? "" : "s");
}

// ---- CSV ------------------------------------------------------------------------------------

// A rate of the machine is a row too; only one of bytes and FLOPs is its own.
static void csv_rate(const char *test, const struct llm_machine *machine, const struct llm_machine_rate *rate,
                     bool is_bytes) {
    const char *format = is_bytes ? "%s,,,,%d,,,%.6g,,,\n" : "%s,,,,%d,,,,%.6g,,\n";
    printf(format, test, 1, rate->one);
    if (machine->n_threads > 1) printf(format, test, machine->n_threads, rate->all);
}

void bench_print_csv(const struct bench_report *report) {
    const struct llm_machine *machine = report->machine;
    printf("test,tokens,depth,batch,threads,tokens_per_second,tokens_per_second_sd,bytes_per_second,flops_per_second,"
           "share_of_read,share_of_sgemm\n");
    csv_rate("read", machine, &machine->read, true);
    csv_rate("sgemm", machine, &machine->sgemm, false);
    for (int i = 0; i < machine->n_levels; i++) {
        char test[64];
        snprintf(test, sizeof test, "multiply-add %s", machine->levels[i].isa);
        csv_rate(test, machine, &machine->levels[i].multiply_add, false);
    }
    for (int i = 0; i < report->n_results; i++) {
        const struct bench_result *result = &report->results[i];
        printf("%s,%d,%d,%d,%d,%.6g,%.6g,%.6g,%.6g,%.4g,%.4g\n", kind_name(result), result->n_tokens, result->depth,
               result->batch, machine->n_threads, result->mean, result->sd, bytes_per_second(result),
               flops_per_second(result), share_of_read(result), flops_per_second(result) / machine->sgemm.all);
    }
}

// ---- JSON -----------------------------------------------------------------------------------

static json_t *rate_json(const struct llm_machine_rate *rate) {
    return json_pack("{s:f, s:f}", "one", rate->one, "all", rate->all);
}

static json_t *machine_json(const struct llm_machine *machine) {
    json_t *levels = json_array();
    for (int i = 0; i < machine->n_levels; i++) {
        json_array_append_new(levels, json_pack("{s:s, s:o}", "isa", machine->levels[i].isa, "flops_per_second",
                                                rate_json(&machine->levels[i].multiply_add)));
    }
    return json_pack("{s:i, s:o, s:o, s:o}", "n_threads", machine->n_threads, "read_bytes_per_second",
                     rate_json(&machine->read), "sgemm_flops_per_second", rate_json(&machine->sgemm), "multiply_add",
                     levels);
}

static json_t *model_json(const struct llm_model_info *model) {
    return json_pack("{s:o, s:s, s:s, s:s, s:I, s:I, s:I, s:s, s:s}", "path", json_name(model->path), "format",
                     model->format, "dtype", model->dtype, "memory_dtype", model->memory_dtype, "bytes_step",
                     (json_int_t)model->bytes_step, "n_params", (json_int_t)model->n_params, "bytes_weights",
                     (json_int_t)model->bytes_weights, "isa", model->isa, "compute", model->compute);
}

static json_t *results_json(const struct bench_report *report) {
    json_t *results = json_array();
    for (int i = 0; i < report->n_results; i++) {
        const struct bench_result *result = &report->results[i];
        json_array_append_new(
            results, json_pack("{s:s, s:i, s:i, s:i, s:{s:f, s:f}, s:f, s:f, s:f, s:f, s:f}", "test", kind_name(result),
                               "n_tokens", result->n_tokens, "depth", result->depth, "batch", result->batch,
                               "tokens_per_second", "mean", result->mean, "sd", result->sd, "bytes_per_second",
                               bytes_per_second(result), "flops_per_second", flops_per_second(result),
                               "read_bytes_per_second", result->read, "share_of_read", share_of_read(result),
                               "share_of_sgemm", flops_per_second(result) / report->machine->sgemm.all));
    }
    return results;
}

bool bench_print_json(const struct bench_report *report) {
    json_t *object =
        json_pack("{s:s, s:i, s:o, s:o, s:o}", "version", llm_version(), "repetitions", report->repetitions, "machine",
                  machine_json(report->machine), "model", model_json(report->model), "results", results_json(report));
    char *text = object == NULL ? NULL : json_dump(object, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    if (text != NULL) puts(text);
    free(text);
    json_decref(object);
    return text != NULL;
}
