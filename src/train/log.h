// log.h: log.csv, a row an evaluation, written as the run goes on and cut back to a checkpoint when it is resumed.
//
// It is locked as long as it is open, so that no two runs write to one directory.
#ifndef TRAIN_LOG_H
#define TRAIN_LOG_H

#include "base/error.h"

#define TRAIN_LOG_COLUMNS "step,epoch,examples,tokens,train_loss,val_loss,learning_rate,seconds"

struct train_log {
    int fd; // -1: closed
    char *path;
    int64_t size; // bytes so far
};

struct train_log_row {
    int64_t step;
    int epoch;
    int64_t examples, tokens;
    double train_loss, val_loss; // NaN: left empty
    double learning_rate, seconds;
};

// Opens the log at `path`, made when missing, for a run that begins; nothing in it is touched until train_log_begin().
bool train_log_create(struct train_log *log, const char *path, struct llm_error *err);
// Empties it and writes the head line.
bool train_log_begin(struct train_log *log, struct llm_error *err);
// Goes on with the log at `path` behind its first `size` bytes; what follows them goes.
bool train_log_resume(struct train_log *log, const char *path, int64_t size, struct llm_error *err);
bool train_log_write(struct train_log *log, const struct train_log_row *row, struct llm_error *err);
// What was written is on the disk afterwards.
bool train_log_sync(struct train_log *log, struct llm_error *err);
void train_log_close(struct train_log *log);

#endif
