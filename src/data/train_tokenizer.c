// train_tokenizer.c: llm_tokenizer_train(): files to a vocabulary.
//
// One thread reads and decompresses, cutting the text into blocks; each block becomes a task that counts its
// pieces. When enough text waits, the reader counts a block itself, so memory stays bounded and every core works
// whether reading or counting is the slower part.
#include <omp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/threads.h"
#include "data/text.h"
#include "tokenizer/train.h"

enum {
    BLOCK = 1 << 20, // bytes
    BLOCKS_PER_THREAD = 4,
    // A stretch without a place to cut that is longer than this is no text. Learning takes up to nine times its bytes,
    // and a small .xz can claim any size.
    LONGEST_BLOCK = 64 << 20
};

void llm_tokenizer_train_options_init(struct llm_tokenizer_train_options *options) {
    *options = (struct llm_tokenizer_train_options){.vocab_size = 8192};
}

struct job {
    const struct text_paths *paths;
    const struct llm_callbacks *callbacks;
    struct bpe_trainer *trainer;
    int n_threads;
    int64_t position;       // bytes of the files before the present one
    atomic_size_t waiting;  // bytes of the blocks not yet counted
    atomic_bool failed;     // in a task
    struct llm_error error; // of the first task that failed, written by it alone
};

// The end of the text read so far that is not yet cut off.
struct pending {
    char *text; // [capacity]
    size_t size, capacity;
};

static void count_block(struct job *job, char *text, size_t size) {
    struct llm_error error = {0};
    if (!atomic_load(&job->failed) && !bpe_trainer_count(job->trainer, omp_get_thread_num(), text, size, &error)) {
        if (!atomic_exchange(&job->failed, true)) job->error = error;
    }
    free(text);
    atomic_fetch_sub(&job->waiting, size);
}

// Makes a task of text [size], which the task frees.
static void submit(struct job *job, char *text, size_t size) {
    const size_t most = (size_t)BLOCKS_PER_THREAD * BLOCK * (size_t)job->n_threads;
    const bool later = atomic_fetch_add(&job->waiting, size) < most;
#pragma omp task default(none) firstprivate(job, text, size) if (later)
    count_block(job, text, size);
}

// Cuts a block off `pending` and submits it; the whole at the end of a file. Without a place to cut, the block grows.
static bool cut_block(struct job *job, struct pending *pending, bool at_end, struct llm_error *err) {
    const size_t size = at_end ? pending->size : llm_tokenizer_cut(pending->text, pending->size);
    if (size == 0 && !at_end) return true;
    struct pending rest = {.size = pending->size - size};
    rest.capacity = rest.size + BLOCK;
    rest.text = malloc(rest.capacity);
    if (rest.text == NULL) return error_memory(err, "block of text");
    if (rest.size > 0) memcpy(rest.text, pending->text + size, rest.size);
    submit(job, pending->text, size);
    *pending = rest;
    return true;
}

static bool read_block(struct text_file *file, const char *path, struct pending *pending, bool *at_end,
                       struct llm_error *err) {
    if (pending->size > LONGEST_BLOCK) {
        return error_set(err, LLM_ERROR_UNSUPPORTED,
                         "%s: has more than %d bytes on end in which no white space follows a word; is it text? Break "
                         "it into lines",
                         path, LONGEST_BLOCK);
    }
    if (pending->capacity - pending->size < BLOCK) {
        size_t capacity = pending->capacity * 2 + BLOCK;
        if (capacity > LONGEST_BLOCK + BLOCK) capacity = LONGEST_BLOCK + BLOCK;
        char *text = realloc(pending->text, capacity);
        if (text == NULL) return error_memory(err, "block of text");
        pending->text = text;
        pending->capacity = capacity;
    }
    const size_t room = pending->capacity - pending->size;
    size_t n = 0;
    if (!text_file_read(file, pending->text + pending->size, room, &n, err)) return false;
    pending->size += n;
    *at_end = n < room;
    return true;
}

static bool report(const struct job *job, const char *path, int64_t position, struct llm_error *err) {
    const struct llm_callbacks *callbacks = job->callbacks;
    const struct llm_progress progress = {path, "bytes", job->position + position, job->paths->size};
    if (callbacks->progress == NULL || callbacks->progress(callbacks->user, &progress)) return true;
    return error_set(err, LLM_ERROR_CANCELLED, "training was cancelled in %s", path);
}

static bool count_file(struct job *job, const char *path, struct llm_error *err) {
    struct text_file *file = text_file_open(path, job->n_threads, err);
    if (file == NULL) return false;
    struct pending pending = {.text = malloc(BLOCK), .capacity = BLOCK};
    bool ok = pending.text != NULL, at_end = false;
    if (!ok) error_memory(err, "block of text");
    while (ok && !at_end && !atomic_load(&job->failed)) {
        ok = read_block(file, path, &pending, &at_end, err) && report(job, path, text_file_position(file), err) &&
             cut_block(job, &pending, at_end, err);
    }
    free(pending.text);
    job->position += text_file_position(file);
    text_file_close(file);
    return ok;
}

// Counts the pieces of all files.
static bool count_files(struct job *job, struct llm_error *err) {
    bool ok = true;
#pragma omp parallel num_threads(job->n_threads)
#pragma omp single
    for (size_t i = 0; ok && i < job->paths->n; i++) ok = count_file(job, job->paths->items[i], err);
    // The end of the parallel region waited for all tasks.
    if (ok && atomic_load(&job->failed)) ok = error_set(err, job->error.code, "%s", job->error.text);
    return ok;
}

struct llm_tokenizer *llm_tokenizer_train(const char *const *files, size_t n_files,
                                          const struct llm_tokenizer_train_options *options, struct llm_error *err) {
    struct llm_tokenizer_train_options defaults;
    llm_tokenizer_train_options_init(&defaults);
    if (options == NULL) options = &defaults;
    struct text_paths paths = {0};
    struct job job = {.paths = &paths, .callbacks = &options->callbacks};
    struct llm_tokenizer *tokenizer = NULL;
    if (!bpe_trainer_check(options->vocab_size, options->min_frequency, err)) return NULL;
    if (!threads_choose(options->n_threads, &job.n_threads, err)) return NULL;
    if (text_paths_list(&paths, files, n_files, err)) job.trainer = bpe_trainer_new(job.n_threads, err);
    if (job.trainer != NULL && count_files(&job, err)) {
        tokenizer =
            bpe_trainer_finish(job.trainer, options->vocab_size, options->min_frequency, &options->callbacks, err);
    }
    bpe_trainer_free(job.trainer);
    text_paths_release(&paths);
    return tokenizer;
}
