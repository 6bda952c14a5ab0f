// log.c: see log.h.
#include "train/log.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"

enum {
    MAX_ROW = 512 // bytes; eight numbers have far fewer
};

static bool log_write(struct train_log *log, const char *bytes, size_t size, struct llm_error *err) {
    while (size > 0) {
        const ssize_t n = write(log->fd, bytes, size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return error_errno(err, "%s: cannot write", log->path);
        bytes += n;
        size -= (size_t)n;
        log->size += n;
    }
    return true;
}

static bool log_open(struct train_log *log, const char *path, int flags, struct llm_error *err) {
    *log = (struct train_log){.fd = -1, .path = strdup(path)};
    if (log->path == NULL) return error_memory(err, path);
    log->fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0666);
    if (log->fd < 0) return error_errno(err, "%s: cannot write to this file", path);
    if (flock(log->fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return true; // some file systems have no locks
    return error_set(err, LLM_ERROR_IO, "%s: another run is writing here", path);
}

bool train_log_create(struct train_log *log, const char *path, struct llm_error *err) {
    if (log_open(log, path, O_CREAT | O_APPEND, err)) return true;
    train_log_close(log);
    return false;
}

bool train_log_begin(struct train_log *log, struct llm_error *err) {
    static const char head[] = TRAIN_LOG_COLUMNS "\n";
    if (ftruncate(log->fd, 0) != 0) return error_errno(err, "%s: cannot cut this file", log->path);
    log->size = 0;
    return log_write(log, head, sizeof head - 1, err);
}

bool train_log_resume(struct train_log *log, const char *path, int64_t size, struct llm_error *err) {
    if (!log_open(log, path, O_APPEND, err)) {
        train_log_close(log);
        return false;
    }
    struct stat status;
    bool ok = fstat(log->fd, &status) == 0 || error_errno(err, "%s: cannot examine this file", path);
    if (ok && status.st_size < size) {
        ok = error_set(err, LLM_ERROR_FORMAT, "%s: has %lld bytes, the checkpoint was written after %lld of them", path,
                       (long long)status.st_size, (long long)size);
    }
    ok = ok && (ftruncate(log->fd, size) == 0 || error_errno(err, "%s: cannot cut this file", path));
    log->size = size;
    if (!ok) train_log_close(log);
    return ok;
}

static void put_loss(struct strbuf *row, double loss) {
    if (isnan(loss)) {
        strbuf_puts(row, ",");
    } else {
        strbuf_printf(row, "%.6f,", loss);
    }
}

bool train_log_write(struct train_log *log, const struct train_log_row *row, struct llm_error *err) {
    struct strbuf text;
    strbuf_init(&text, MAX_ROW);
    strbuf_printf(&text, "%lld,%d,%lld,%lld,", (long long)row->step, row->epoch, (long long)row->examples,
                  (long long)row->tokens);
    put_loss(&text, row->train_loss);
    put_loss(&text, row->val_loss);
    strbuf_printf(&text, "%.9g,%.3f\n", row->learning_rate, row->seconds);
    const bool ok = strbuf_ok(&text) ? log_write(log, text.bytes, text.size, err) : error_memory(err, log->path);
    strbuf_release(&text);
    return ok;
}

bool train_log_sync(struct train_log *log, struct llm_error *err) {
    return fsync(log->fd) == 0 || error_errno(err, "%s: cannot write", log->path);
}

void train_log_close(struct train_log *log) {
    if (log->fd >= 0) close(log->fd);
    free(log->path);
    *log = (struct train_log){.fd = -1};
}
