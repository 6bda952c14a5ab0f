// tokens_build.c: tokenising on all threads, as a stream; see tokens_build.h.
//
// The text comes in blocks that can be tokenised each alone (tokens_text.h). They go through in rounds: while the
// team encodes the blocks of one round, one of its threads reads the next; then the ids are written, in order. So two
// rounds are all that lies in memory, and the files are the same whatever the number of threads.
#include "data/tokens_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/team.h"
#include "base/threads.h"
#include "data/tokens_encode.h"
#include "data/tokens_file.h"
#include "data/tokens_text.h"

enum {
    BLOCKS_PER_THREAD = 4
};

struct round {
    struct encoded_block *blocks; // [capacity]
    int n;
    struct llm_error error; // of reading
};

struct build {
    const struct text_paths *paths;
    const struct token_options *options;
    bool by_documents;
    struct team *team;
    struct text_stream *stream;
    struct round rounds[2];
    int capacity; // blocks of a round
    struct token_writer *train, *validation;
    struct token_writer *present; // where the document goes that is being written
    int64_t n_documents;
};

bool tokens_report(const struct token_options *options, const char *path, int64_t done, int64_t total,
                   struct llm_error *err) {
    const struct llm_progress progress = {path, "bytes", done, total};
    const struct llm_callbacks *callbacks = &options->callbacks;
    if (callbacks->progress == NULL || callbacks->progress(callbacks->user, &progress)) return true;
    return error_set(err, LLM_ERROR_CANCELLED, "cancelled while reading %s", path);
}

static bool report(const struct build *build, struct llm_error *err) {
    const char *path = NULL;
    const int64_t position = text_stream_position(build->stream, &path);
    return tokens_report(build->options, path, position, build->paths->size, err);
}

// ---- Rounds ---------------------------------------------------------------------------------

static void round_clear(struct round *round) {
    for (int i = 0; i < round->n; i++) encoded_block_release(&round->blocks[i]);
    round->n = 0;
}

static void round_read(const struct build *build, struct round *round) {
    while (round->n < build->capacity) {
        struct encoded_block *block = &round->blocks[round->n];
        *block = (struct encoded_block){0};
        if (!text_stream_next(build->stream, &block->block, &round->error) || block->block.text == NULL) return;
        round->n++;
    }
}

struct job {
    struct build *build;
    struct round *read, *encode;
    struct team_counter counter;
};

static void work(void *user, int thread, int n_threads) {
    (void)thread, (void)n_threads;
    struct job *job = user;
    for (int64_t i = team_take(&job->counter); i <= job->encode->n; i = team_take(&job->counter)) {
        if (i == 0) {
            round_read(job->build, job->read);
        } else {
            encoded_block_encode(&job->encode->blocks[i - 1], job->build->options->tokenizer, job->build->by_documents);
        }
    }
}

// Whether the next document is one of those that are held back: the last one of 1 / validation.
static bool next_is_held_back(struct build *build) {
    const double fraction = build->options->validation;
    const int64_t i = build->n_documents++;
    return (int64_t)((double)(i + 1) * fraction) > (int64_t)((double)i * fraction);
}

static bool write_block(struct build *build, const struct encoded_block *block, struct llm_error *err) {
    if (!build->by_documents) build->present = block->block.validation ? build->validation : build->train;
    for (size_t i = 0; i < block->n_pieces; i++) {
        const struct encoded_piece *piece = &block->pieces[i];
        if (piece->begins) {
            if (build->by_documents) build->present = next_is_held_back(build) ? build->validation : build->train;
            if (!token_writer_begin(build->present, err)) return false;
        }
        if (!token_writer_write(build->present, block->ids + piece->first, piece->n, piece->n_bytes, err)) return false;
    }
    return true;
}

static bool write_round(struct build *build, const struct round *round, struct llm_error *err) {
    for (int i = 0; i < round->n; i++) {
        const struct encoded_block *block = &round->blocks[i];
        if (block->error.code != LLM_OK) return error_set(err, block->error.code, "%s", block->error.text);
        if (!write_block(build, block, err)) return false;
    }
    return true;
}

static bool take_error(const struct round *round, struct llm_error *err) {
    return round->error.code == LLM_OK || error_set(err, round->error.code, "%s", round->error.text);
}

// All blocks of the stream into the writers.
static bool run_rounds(struct build *build, struct llm_error *err) {
    struct round *now = &build->rounds[0], *next = &build->rounds[1];
    round_read(build, now);
    bool ok = take_error(now, err);
    while (ok && now->n > 0) {
        struct job job = {.build = build, .read = next, .encode = now};
        team_run(build->team, work, &job);
        ok = take_error(next, err) && write_round(build, now, err) && report(build, err);
        round_clear(now);
        struct round *done = now;
        now = next;
        next = done;
    }
    return ok;
}

// ---- Passes ---------------------------------------------------------------------------------

// Reads all texts to count their characters.
static bool count_characters(struct build *build, int64_t *n, struct llm_error *err) {
    *n = 0;
    build->stream = text_stream_open(build->paths, build->options->n_threads, err);
    bool ok = build->stream != NULL;
    for (bool last = false; ok && !last;) {
        struct text_block block;
        ok = text_stream_next(build->stream, &block, err) && report(build, err);
        *n += text_characters(block.text, block.size);
        last = block.last;
        free(block.text);
    }
    text_stream_close(build->stream);
    build->stream = NULL;
    return ok;
}

static bool run_pass(struct build *build, const struct token_target targets[2], struct llm_error *err) {
    const struct token_options *options = build->options;
    int64_t characters = 0;
    if (!build->by_documents && !count_characters(build, &characters, err)) return false;
    build->stream = text_stream_open(build->paths, options->n_threads, err);
    if (build->stream == NULL) return false;
    // The book's int(train_ratio * len(text)).
    if (!build->by_documents) text_stream_split(build->stream, (int64_t)((1 - options->validation) * characters));
    build->train = token_writer_open(targets[0].path, options->tokenizer, err);
    if (build->train != NULL) build->validation = token_writer_open(targets[1].path, options->tokenizer, err);
    return build->validation != NULL && run_rounds(build, err);
}

static void end_pass(struct build *build) {
    round_clear(&build->rounds[0]);
    round_clear(&build->rounds[1]);
    token_writer_abort(build->train);
    token_writer_abort(build->validation);
    text_stream_close(build->stream);
    build->train = build->validation = NULL;
    build->stream = NULL;
}

static bool commit(struct build *build, const struct token_target targets[2], struct llm_error *err) {
    struct token_writer *train = build->train;
    build->train = NULL; // it ends with its commit
    if (!token_writer_commit(train, targets[0].key, build->by_documents, err)) return false;
    struct token_writer *validation = build->validation;
    build->validation = NULL;
    return token_writer_commit(validation, targets[1].key, build->by_documents, err);
}

static bool none_held_back(const struct build *build) {
    return build->by_documents && build->options->validation > 0 && token_writer_documents(build->validation) == 0;
}

void tokens_tell_of_characters(const struct token_options *options, int64_t n_documents) {
    const struct llm_callbacks *callbacks = &options->callbacks;
    if (callbacks->notice == NULL) return;
    struct llm_error sentence = {0};
    char documents[64] = "there are";
    if (n_documents == 1) snprintf(documents, sizeof documents, "1 document is");
    if (n_documents > 1) snprintf(documents, sizeof documents, "%lld documents are", (long long)n_documents);
    error_set(&sentence, LLM_ERROR_ARGUMENT,
              "%s too few%s to hold %g %% of them back for validation; instead, the end "
              "of the text is",
              documents, n_documents == 0 ? " documents" : "", 100 * options->validation);
    callbacks->notice(callbacks->user, sentence.text);
}

bool tokens_build(const struct text_paths *paths, const struct token_options *options,
                  const struct token_target targets[2], struct llm_error *err) {
    struct token_options known = *options;
    if (!threads_choose(options->n_threads, &known.n_threads, err)) return false;
    struct build build = {.paths = paths, .options = &known, .by_documents = options->split == TOKENS_BY_DOCUMENTS};
    build.capacity = BLOCKS_PER_THREAD * known.n_threads;
    build.rounds[0].blocks = calloc((size_t)build.capacity, sizeof *build.rounds[0].blocks);
    build.rounds[1].blocks = calloc((size_t)build.capacity, sizeof *build.rounds[1].blocks);
    bool ok = (build.rounds[0].blocks != NULL && build.rounds[1].blocks != NULL) || error_memory(err, "blocks of text");
    if (ok) build.team = team_new(known.n_threads, err);
    ok = build.team != NULL && run_pass(&build, targets, err);
    if (ok && none_held_back(&build)) {
        tokens_tell_of_characters(options, build.n_documents);
        end_pass(&build);
        build.by_documents = false;
        ok = run_pass(&build, targets, err);
    }
    ok = ok && commit(&build, targets, err);
    end_pass(&build);
    team_free(build.team);
    free(build.rounds[0].blocks);
    free(build.rounds[1].blocks);
    return ok;
}
