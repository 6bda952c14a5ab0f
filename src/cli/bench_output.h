// bench_output.h: what `my-llm bench` measured, as Markdown, CSV or JSON.
#ifndef CLI_BENCH_OUTPUT_H
#define CLI_BENCH_OUTPUT_H

#include "my_llm.h"

enum bench_kind {
    BENCH_PROMPT,
    BENCH_GENERATE,
    BENCH_TRAIN
};

// One measurement: a prompt, generation after one, or a step of training.
struct bench_result {
    enum bench_kind kind;
    int n_tokens;       // of the prompt, generated in each sequence, or of each example
    int depth;          // tokens in the context before
    int batch;          // sequences side by side
    double n_processed; // tokens of one repetition, all sequences
    double bytes;       // read in one repetition: weights in use, and keys and values
    double flops;       // floating-point operations of one repetition
    double read;        // bytes/s that the machine read meanwhile; 0: reading is no limit here
    double mean, sd;    // tokens/s over the repetitions; sd is 0 when there is only one
    double seconds;     // mean of the repetitions
};

struct bench_report {
    const struct llm_model_info *model;
    const struct llm_machine *machine;
    const struct bench_result *results; // [n_results]
    int n_results;
    int repetitions;
};

// Fills in mean, sd and seconds from what n repetitions took.
void bench_summarize(struct bench_result *result, const double *seconds, int n);

void bench_print_markdown(const struct bench_report *report);
void bench_print_csv(const struct bench_report *report);
// false: out of memory.
bool bench_print_json(const struct bench_report *report);

#endif
