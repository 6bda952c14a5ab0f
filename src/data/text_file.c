// text_file.c: one text file as a stream, decompressed by liblzma or zlib on the way; see text.h.
#include <errno.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "base/file.h"
#include "base/threads.h"
#include "data/text.h"

enum {
    INPUT = 1 << 18,               // bytes read from the file at once
    XZ_THREADING_MEMORY = 1 << 28, // above this much, liblzma uses fewer threads
    XZ_MEMORY = 1 << 30,           // a file whose dictionary needs more is refused; xz -9 needs 65 MB
};

enum kind {
    PLAIN,
    XZ,
    GZIP
};

struct text_file {
    char *path;
    int fd;
    bool borrowed;                  // the descriptor is the caller's
    int n_threads;                  // 0: as many as there are cores for this process
    struct llm_callbacks callbacks; // asked whether to go on when a read is interrupted
    enum kind kind;
    uint8_t *input;  // [INPUT]
    size_t at, size; // of `input`: used up, in use
    bool input_ended;
    int64_t position; // in the file: bytes read
    bool ended;       // of the text
    lzma_stream xz;
    z_stream gzip;
};

// ---- The compressed side --------------------------------------------------------------------

// Whether to go on after a signal.
static bool goes_on(const struct text_file *file) {
    const struct llm_callbacks *callbacks = &file->callbacks;
    const struct llm_progress progress = {file->path, "bytes", file->position, -1};
    return callbacks->progress == NULL || callbacks->progress(callbacks->user, &progress);
}

// Once all input is used up, reads the next INPUT bytes of the file; fewer only at its end. A read may be short, and
// the signature of a compressed file must not be.
static bool input_fill(struct text_file *file, struct llm_error *err) {
    if (file->at < file->size || file->input_ended) return true;
    file->at = file->size = 0;
    while (file->size < INPUT && !file->input_ended) {
        const ssize_t n = read(file->fd, file->input + file->size, INPUT - file->size);
        if (n < 0 && errno == EINTR && goes_on(file)) continue;
        if (n < 0 && errno == EINTR) {
            return error_set(err, LLM_ERROR_CANCELLED, "%s: interrupted while reading", file->path);
        }
        if (n < 0) return error_errno(err, "%s: cannot read", file->path);
        file->size += (size_t)n;
        file->position += n;
        file->input_ended = n == 0;
    }
    return true;
}

// Where the decompressor stands in the file.
static long long input_offset(const struct text_file *file) {
    return (long long)(file->position - (int64_t)(file->size - file->at));
}

static bool damaged(const struct text_file *file, const char *what, struct llm_error *err) {
    return error_set(err, LLM_ERROR_FORMAT, "%s: is damaged near byte %lld: %s", file->path, input_offset(file), what);
}

static bool cut_short(const struct text_file *file, struct llm_error *err) {
    return error_set(err, LLM_ERROR_FORMAT, "%s: ends after %lld bytes in the middle of its compressed data",
                     file->path, (long long)file->position);
}

// ---- .xz ------------------------------------------------------------------------------------

static bool xz_failed(const struct text_file *file, lzma_ret result, struct llm_error *err) {
    switch (result) {
    case LZMA_MEM_ERROR:
        return error_memory(err, file->path);
    case LZMA_MEMLIMIT_ERROR:
        return error_set(err, LLM_ERROR_UNSUPPORTED, "%s: decompressing this takes more than %d MiB of memory",
                         file->path, XZ_MEMORY >> 20);
    case LZMA_OPTIONS_ERROR:
        return error_set(err, LLM_ERROR_UNSUPPORTED, "%s: is an .xz file with options that this liblzma does not know",
                         file->path);
    case LZMA_BUF_ERROR:
        return cut_short(file, err);
    default:
        return damaged(file, "the .xz data does not decompress", err);
    }
}

static bool xz_start(struct text_file *file, struct llm_error *err) {
    file->xz = (lzma_stream)LZMA_STREAM_INIT;
#if LZMA_VERSION >= UINT32_C(50040000)
    int n_threads = 0;
    if (!threads_choose(file->n_threads, &n_threads, err)) return false;
    const lzma_mt options = {
        .flags = LZMA_CONCATENATED,
        .threads = (uint32_t)n_threads,
        .memlimit_threading = XZ_THREADING_MEMORY,
        .memlimit_stop = XZ_MEMORY,
    };
    const lzma_ret result = lzma_stream_decoder_mt(&file->xz, &options);
#else
    const lzma_ret result = lzma_stream_decoder(&file->xz, XZ_MEMORY, LZMA_CONCATENATED);
#endif
    return result == LZMA_OK || xz_failed(file, result, err);
}

static bool xz_read(struct text_file *file, char *text, size_t size, size_t *n, struct llm_error *err) {
    lzma_stream *xz = &file->xz;
    xz->next_out = (uint8_t *)text;
    xz->avail_out = size;
    while (xz->avail_out > 0 && !file->ended) {
        if (!input_fill(file, err)) return false;
        xz->next_in = file->input + file->at;
        xz->avail_in = file->size - file->at;
        const lzma_ret result = lzma_code(xz, file->input_ended ? LZMA_FINISH : LZMA_RUN);
        file->at = file->size - xz->avail_in;
        file->ended = result == LZMA_STREAM_END;
        if (result != LZMA_OK && result != LZMA_STREAM_END) return xz_failed(file, result, err);
    }
    *n = size - xz->avail_out;
    return true;
}

// ---- .gz ------------------------------------------------------------------------------------

static bool gzip_start(struct text_file *file, struct llm_error *err) {
    const int largest_window = 15, gzip_header = 16;
    return inflateInit2(&file->gzip, largest_window + gzip_header) == Z_OK || error_memory(err, file->path);
}

// A .gz file may have several members, one behind another.
static bool gzip_read(struct text_file *file, char *text, size_t size, size_t *n, struct llm_error *err) {
    z_stream *gzip = &file->gzip;
    const size_t most = UINT32_MAX / 2; // zlib counts in unsigned int
    *n = 0;
    while (*n < size && !file->ended) {
        if (!input_fill(file, err)) return false;
        const size_t room = size - *n < most ? size - *n : most;
        gzip->next_in = file->input + file->at;
        gzip->avail_in = (unsigned)(file->size - file->at);
        gzip->next_out = (uint8_t *)text + *n;
        gzip->avail_out = (unsigned)room;
        const int result = inflate(gzip, Z_NO_FLUSH);
        file->at = file->size - gzip->avail_in;
        *n += room - gzip->avail_out;
        if (result == Z_MEM_ERROR) return error_memory(err, file->path);
        if (result == Z_BUF_ERROR && file->input_ended) return cut_short(file, err);
        if (result != Z_OK && result != Z_STREAM_END) return damaged(file, "the .gz data does not decompress", err);
        if (result == Z_STREAM_END) {
            if (!input_fill(file, err)) return false;
            file->ended = file->at == file->size;
            if (inflateReset(gzip) != Z_OK) return damaged(file, "the .gz data does not decompress", err);
        }
    }
    return true;
}

// ---- Plain, and all -------------------------------------------------------------------------

static bool plain_read(struct text_file *file, char *text, size_t size, size_t *n, struct llm_error *err) {
    *n = 0;
    while (*n < size && !file->ended) {
        if (!input_fill(file, err)) return false;
        file->ended = file->at == file->size;
        const size_t there = file->size - file->at;
        const size_t some = there < size - *n ? there : size - *n;
        memcpy(text + *n, file->input + file->at, some);
        file->at += some;
        *n += some;
    }
    return true;
}

// Tells the kind by the first bytes; neither signature can begin UTF-8 text.
static enum kind kind_of(const uint8_t *bytes, size_t size) {
    static const uint8_t xz[] = {0xfd, '7', 'z', 'X', 'Z', 0};
    static const uint8_t gzip[] = {0x1f, 0x8b};
    if (size >= sizeof xz && memcmp(bytes, xz, sizeof xz) == 0) return XZ;
    if (size >= sizeof gzip && memcmp(bytes, gzip, sizeof gzip) == 0) return GZIP;
    return PLAIN;
}

// A file named as compressed must be: one cut short in its signature would pass for text.
static bool check_name(const struct text_file *file, enum kind kind, struct llm_error *err) {
    const char *dot = strrchr(path_base(file->path), '.');
    const enum kind named = dot == NULL ? PLAIN : strcmp(dot, ".xz") == 0 ? XZ : strcmp(dot, ".gz") == 0 ? GZIP : PLAIN;
    if (named == PLAIN || named == kind) return true;
    return error_set(err, LLM_ERROR_FORMAT, "%s: does not begin as %s data does", file->path, dot);
}

// Reads the first bytes and starts what they ask for; fd, n_threads and callbacks are set.
static bool start(struct text_file *file, const char *path, struct llm_error *err) {
    file->path = strdup(path);
    file->input = malloc(INPUT);
    if (file->path == NULL || file->input == NULL) return error_memory(err, path);
    if (!input_fill(file, err)) return false;
    const enum kind kind = kind_of(file->input, file->size);
    if (!check_name(file, kind, err)) return false;
    file->kind = kind;
    return kind == XZ ? xz_start(file, err) : kind != GZIP || gzip_start(file, err);
}

static void release(struct text_file *file) {
    if (file->kind == XZ) lzma_end(&file->xz);
    if (file->kind == GZIP) inflateEnd(&file->gzip);
    if (file->fd >= 0 && !file->borrowed) close(file->fd);
    free(file->input);
    free(file->path);
}

struct text_file *text_file_open(const char *path, int n_threads, struct llm_error *err) {
    struct text_file *file = calloc(1, sizeof *file);
    if (file == NULL) {
        error_memory(err, path);
        return NULL;
    }
    size_t size = 0;
    file->n_threads = n_threads;
    file->fd = file_open_regular(path, &size, err);
    if (file->fd >= 0 && start(file, path, err)) return file;
    text_file_close(file);
    return NULL;
}

void text_file_close(struct text_file *file) {
    if (file == NULL) return;
    release(file);
    free(file);
}

bool text_file_read(struct text_file *file, char *text, size_t size, size_t *n, struct llm_error *err) {
    if (file->kind == XZ) return xz_read(file, text, size, n, err);
    if (file->kind == GZIP) return gzip_read(file, text, size, n, err);
    return plain_read(file, text, size, n, err);
}

int64_t text_file_position(const struct text_file *file) {
    return file->position;
}

// ---- The same for programs ------------------------------------------------------------------

struct llm_text {
    struct text_file file;
};

struct llm_text *llm_text_open(int fd, const char *name, int n_threads, const struct llm_callbacks *callbacks,
                               struct llm_error *err) {
    struct llm_text *text = calloc(1, sizeof *text);
    if (text == NULL) {
        error_memory(err, name);
        return NULL;
    }
    text->file = (struct text_file){.fd = fd, .borrowed = true, .n_threads = n_threads};
    if (callbacks != NULL) text->file.callbacks = *callbacks;
    if (start(&text->file, name, err)) return text;
    llm_text_close(text);
    return NULL;
}

void llm_text_close(struct llm_text *text) {
    if (text == NULL) return;
    release(&text->file);
    free(text);
}

bool llm_text_read(struct llm_text *text, char *bytes, size_t size, size_t *n, struct llm_error *err) {
    return text_file_read(&text->file, bytes, size, n, err);
}
