// dataset.h: from what a user calls --data to the file it means.
#ifndef TASKS_DATASET_H
#define TASKS_DATASET_H

#include "data/rows.h"

// The path of the file that `data` means, allocated (free): `data` itself if there is such a file, else a data set that
// llm_download() knows ("sms-spam", "instructions"), fetched if it is not there yet. NULL with an error.
char *dataset_path(const char *data, const struct llm_callbacks *callbacks, struct llm_error *err);

// Reads the labelled texts of `data`. The SMS Spam Collection may also be the zip archive that it comes in.
bool dataset_rows(struct rows *rows, const char *data, const struct rows_options *options,
                  const struct llm_callbacks *callbacks, struct llm_error *err);

#endif
