// fuzz_plot_log.c: any bytes as log.csv. What is accepted has finite numbers, or none, in every field.
#include <math.h>
#include <stdlib.h>

#include "plot/plot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct llm_error err = {0};
    struct plot_log log;
    const bool ok = plot_log_parse(&log, (const char *)data, size, &err);
    if (ok != (err.code == LLM_OK)) abort();
    for (size_t i = 0; ok && i < log.n_columns; i++) {
        const double *values = plot_log_column(&log, log.names[i]);
        if (values == NULL) abort();
        for (size_t row = 0; row < log.n_rows; row++) {
            if (isinf(values[row])) abort();
        }
    }
    if (ok) plot_log_release(&log);
    return 0;
}
