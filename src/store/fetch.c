// fetch.c: see fetch.h.
//
// Divisions: the partial file and its record; what the HTTP client calls; checks of what came; fetch_url.
//
// Order of writes, so that a kill at any moment leaves a pair that a later try reads rightly: a transfer
// from the beginning first empties the partial file, then writes the record (which counts only with its
// last newline), then appends. Bytes in the partial file are always the beginning of what the record names.
#include "store/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"
#include "net/http.h"

enum {
    MAX_RECORD = 16 * 1024, // bytes of a .part.source
    BUFFER_SIZE = 1 << 16,
};

// One try to get the rest of a file.
struct partial {
    const struct fetch *fetch;
    char *path;   // of the partial file
    char *record; // of its record
    int fd;
    int64_t have;  // bytes in the partial file, all of them in `sum`
    int64_t total; // bytes of the whole, -1 if unknown
    char *validator;
    struct checksum sum;
    int64_t received;
    bool resumed;
    bool mismatch; // the server's part does not continue ours: start over
};

// ---- The partial file and its record --------------------------------------------------------

char *fetch_partial_path(const char *path) {
    char *partial = NULL;
    return asprintf(&partial, "%s.part", path) < 0 ? NULL : partial;
}

static char *partial_record_path(const char *path) {
    char *record = NULL;
    return asprintf(&record, "%s.part.source", path) < 0 ? NULL : record;
}

void fetch_forget(const char *path) {
    char *partial = fetch_partial_path(path);
    char *record = partial_record_path(path);
    if (record != NULL) unlink(record);
    if (partial != NULL) unlink(partial);
    free(partial);
    free(record);
}

// The validator and size that the record at `path` has for `url`; false if it has none. *validator is allocated.
static bool record_read(const char *path, const char *url, char **validator, int64_t *total) {
    char *text = NULL;
    size_t size = 0;
    *total = -1;
    *validator = NULL;
    if (!file_read(path, MAX_RECORD, &text, &size, NULL)) return false;
    const size_t url_length = strlen(url);
    if (strncmp(text, url, url_length) == 0 && text[url_length] == '\n') {
        const char *line = text + url_length + 1;
        const size_t length = strcspn(line, "\n");
        char *end = NULL;
        const long long number = line[length] == '\n' ? strtoll(line + length + 1, &end, 10) : -1;
        if (end != NULL && strcmp(end, "\n") == 0 && number >= -1) {
            *total = number;
            *validator = strndup(line, length);
        }
    }
    free(text);
    return *validator != NULL;
}

bool fetch_can_resume(const char *path, const char *url) {
    char *record = partial_record_path(path);
    char *validator = NULL;
    int64_t total = 0;
    const bool can = record != NULL && record_read(record, url, &validator, &total);
    free(record);
    free(validator);
    return can;
}

static bool record_write(const struct partial *partial, struct llm_error *err) {
    struct strbuf text;
    strbuf_init(&text, MAX_RECORD);
    strbuf_printf(&text, "%s\n%s\n%" PRId64 "\n", partial->fetch->url, partial->validator, partial->total);
    const bool ok = strbuf_ok(&text) ? file_create(partial->record, text.bytes, text.size, err)
                                     : error_memory(err, "record of a download");
    strbuf_release(&text);
    return ok;
}

static bool partial_progress(const struct partial *partial) {
    const struct fetch *fetch = partial->fetch;
    const int64_t total = partial->total >= 0 ? partial->total : fetch->size;
    const struct llm_progress progress = {fetch->label, "bytes", partial->have, total};
    return fetch->callbacks.progress == NULL || fetch->callbacks.progress(fetch->callbacks.user, &progress);
}

// Forgets what is known about the partial file's bytes; the file itself stays until something better comes.
static void partial_disown(struct partial *partial) {
    partial->have = 0;
    partial->total = -1;
    partial->resumed = false;
    free(partial->validator);
    partial->validator = NULL;
    checksum_init(&partial->sum);
}

static bool partial_empty(struct partial *partial, struct llm_error *err) {
    partial_disown(partial);
    if (partial->fd < 0) partial->fd = open(partial->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (partial->fd < 0) return error_errno(err, "%s: cannot create a file here", partial->path);
    if (ftruncate(partial->fd, 0) != 0) return error_errno(err, "%s: cannot write", partial->path);
    if (unlink(partial->record) != 0 && errno != ENOENT) {
        return error_errno(err, "%s: cannot be removed", partial->record);
    }
    return true;
}

// Takes the bytes of an earlier try into the sum.
static bool partial_reread(struct partial *partial, struct llm_error *err) {
    char *buffer = malloc(BUFFER_SIZE);
    if (buffer == NULL) return error_memory(err, "copy buffer");
    bool ok = true;
    for (;;) {
        const ssize_t n = pread(partial->fd, buffer, BUFFER_SIZE, partial->have);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) ok = error_errno(err, "%s: cannot read", partial->path);
        if (n <= 0) break;
        checksum_update(&partial->sum, buffer, (size_t)n);
        partial->have += n;
        if (!partial_progress(partial)) {
            ok = error_set(err, LLM_ERROR_CANCELLED, "cancelled");
            break;
        }
    }
    free(buffer);
    return ok;
}

// Finds what an earlier try left. A partial file without a fitting record is left alone until the server
// has something to put in its place.
static bool partial_open(struct partial *partial, const struct fetch *fetch, struct llm_error *err) {
    *partial = (struct partial){.fetch = fetch, .fd = -1, .total = -1};
    checksum_init(&partial->sum);
    partial->path = fetch_partial_path(fetch->path);
    partial->record = partial_record_path(fetch->path);
    if (partial->path == NULL || partial->record == NULL) return error_memory(err, "path");
    if (fetch->fresh || !file_exists(partial->path)) return true;
    if (!record_read(partial->record, fetch->url, &partial->validator, &partial->total)) return true;
    partial->fd = open(partial->path, O_RDWR | O_CLOEXEC);
    if (partial->fd < 0) return error_errno(err, "%s: cannot open this file", partial->path);
    if (!partial_reread(partial, err)) return false;
    partial->resumed = partial->have > 0;
    if (partial->total >= 0 && partial->have > partial->total) partial_disown(partial);
    return true;
}

static void partial_close(struct partial *partial) {
    if (partial->fd >= 0) close(partial->fd);
    free(partial->path);
    free(partial->record);
    free(partial->validator);
}

// ---- What the HTTP client calls -------------------------------------------------------------

static bool begin_from_start(struct partial *partial, const struct http_response *response, struct llm_error *err) {
    const struct fetch *fetch = partial->fetch;
    if (fetch->size >= 0 && response->total >= 0 && response->total != fetch->size) {
        return error_set(err, LLM_ERROR_NETWORK, "%s: has %" PRId64 " bytes, %" PRId64 " were expected", fetch->url,
                         response->total, fetch->size);
    }
    if (!partial_empty(partial, err)) return false;
    partial->total = response->total;
    partial->validator = strdup(response->validator);
    if (partial->validator == NULL) return error_memory(err, "record of a download");
    return partial->validator[0] == '\0' || record_write(partial, err); // nothing to resume by: no record
}

static bool on_headers(void *user, const struct http_response *response, struct llm_error *err) {
    struct partial *partial = user;
    if (strncasecmp(response->content_type, "text/html", 9) == 0) {
        return error_set(err, LLM_ERROR_NETWORK, "%s: the server sends a web page (%s) in place of the file",
                         partial->fetch->url, response->content_type);
    }
    if (response->status != 206) return begin_from_start(partial, response, err);
    if (response->range_from == partial->have && (partial->total < 0 || response->total == partial->total)) return true;
    partial->mismatch = true;
    return error_set(err, LLM_ERROR_NETWORK, "%s: the server sends another part than was asked for",
                     partial->fetch->url);
}

static bool on_body(void *user, const void *bytes, size_t size, struct llm_error *err) {
    struct partial *partial = user;
    const char *at = bytes;
    while (size > 0) {
        const ssize_t n = pwrite(partial->fd, at, size, partial->have);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return error_errno(err, "%s: cannot write", partial->path);
        checksum_update(&partial->sum, at, (size_t)n);
        partial->have += n;
        partial->received += n;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

static bool on_tick(void *user) {
    return partial_progress(user);
}

// ---- Checks of what came --------------------------------------------------------------------

// Whether the file begins like a web page: some servers have nothing better to say than "200" and HTML.
static bool looks_like_html(const struct partial *partial) {
    char begin[256];
    const ssize_t n = pread(partial->fd, begin, sizeof begin - 1, 0);
    if (n <= 0) return false;
    begin[n] = '\0';
    const char *at = begin + strspn(begin, "\xef\xbb\xbf \t\r\n");
    return strncasecmp(at, "<!doctype", 9) == 0 || strncasecmp(at, "<html", 5) == 0;
}

static bool partial_check(const struct partial *partial, struct llm_error *err) {
    const struct fetch *fetch = partial->fetch;
    if (looks_like_html(partial)) {
        return error_set(err, LLM_ERROR_NETWORK, "%s: the server sends a web page in place of the file", fetch->url);
    }
    if (partial->have == 0) return error_set(err, LLM_ERROR_NETWORK, "%s: is empty", fetch->url);
    if (fetch->size >= 0 && partial->have != fetch->size) {
        return error_set(err, LLM_ERROR_NETWORK, "%s: has %" PRId64 " bytes, %" PRId64 " were expected", fetch->url,
                         partial->have, fetch->size);
    }
    return true;
}

// ---- fetch_url ------------------------------------------------------------------------------

// Asks for what is missing, and starts over if the server cannot go on from where we are.
static bool partial_fill(struct partial *partial, struct llm_error *err) {
    const struct fetch *fetch = partial->fetch;
    if (partial->have > 0 && partial->have == partial->total) return true; // killed just before the rename
    for (;;) {
        const struct http_request request = {
            .url = fetch->url,
            .range_from = partial->have,
            .validator = partial->validator,
            .max_size = fetch->max_size,
            .stall_seconds = fetch->timeout,
            .headers = on_headers,
            .body = on_body,
            .tick = on_tick,
            .user = partial,
        };
        const bool asked_for_part = partial->have > 0;
        struct llm_error problem = {0};
        long status = 0;
        if (http_get(&request, &status, &problem)) return true;
        const bool start_over = asked_for_part && (status == 416 || partial->mismatch);
        if (!start_over) return error_set(err, problem.code, "%s", problem.text);
        partial->mismatch = false;
        partial_disown(partial);
    }
}

// Adds to a failure that the next try need not start from the beginning.
static void say_what_is_kept(const struct partial *partial, struct llm_error *err) {
    if (err == NULL || partial->have == 0 || partial->validator == NULL || partial->validator[0] == '\0') return;
    const size_t used = strlen(err->text);
    snprintf(err->text + used, sizeof err->text - used, "; %" PRId64 " bytes are kept, the next try goes on from there",
             partial->have);
}

bool fetch_url(const struct fetch *fetch, struct fetched *fetched, struct llm_error *err) {
    struct partial partial;
    struct llm_error problem = {0};
    *fetched = (struct fetched){0};
    bool ok = partial_open(&partial, fetch, &problem) && partial_fill(&partial, &problem);
    if (!ok) {
        say_what_is_kept(&partial, &problem);
    } else if (!partial_check(&partial, &problem)) {
        ok = false;
        fetch_forget(fetch->path);
    } else if (fsync(partial.fd) != 0) {
        ok = error_errno(&problem, "%s: cannot write", partial.path);
    } else {
        partial_progress(&partial);
        fetched->size = partial.have;
        fetched->resumed = partial.resumed;
        checksum_text(&partial.sum, fetched->sha256);
    }
    fetched->received = partial.received;
    partial_close(&partial);
    return ok || error_set(err, problem.code, "%s", problem.text);
}
