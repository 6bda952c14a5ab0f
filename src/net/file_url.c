// file_url.c: see file_url.h.
//
// We read files ourselves rather than through libcurl, which would wait for ever on a FIFO and gives no
// validator: here a file's version is its modification time and size.
#include "net/file_url.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

bool file_url_is(const char *url) {
    return strncasecmp(url, "file://", 7) == 0;
}

// The path in a file URL with its %XX decoded, or NULL with an error; freed with curl_free().
static char *file_url_path(const char *url, struct llm_error *err) {
    CURLU *parts = curl_url();
    if (parts == NULL) {
        error_memory(err, "URL");
        return NULL;
    }
    char *path = NULL;
    CURLUcode code = curl_url_set(parts, CURLUPART_URL, url, 0);
    if (code == CURLUE_OK) code = curl_url_get(parts, CURLUPART_PATH, &path, CURLU_URLDECODE);
    if (code != CURLUE_OK) error_set(err, LLM_ERROR_NETWORK, "%s: %s", url, curl_url_strerror(code));
    curl_url_cleanup(parts);
    return path;
}

// Opens the regular file a URL names; -1 with an error.
static int file_url_open(const char *url, struct stat *about, struct llm_error *err) {
    char *path = file_url_path(url, err);
    if (path == NULL) return -1;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // O_NONBLOCK: a FIFO must not make us wait
    curl_free(path);
    if (fd < 0) {
        error_errno(err, "%s: cannot open this file", url);
        return -1;
    }
    if (fstat(fd, about) != 0) {
        error_errno(err, "%s: cannot examine this file", url);
    } else if (!S_ISREG(about->st_mode)) {
        error_set(err, LLM_ERROR_NOT_FOUND, "%s: is not a regular file", url);
    } else {
        return fd;
    }
    close(fd);
    return -1;
}

static bool file_url_read(const struct http_request *request, int fd, int64_t left, struct llm_error *err) {
    char *buffer = malloc(1 << 16);
    if (buffer == NULL) return error_memory(err, "copy buffer");
    bool ok = true;
    while (ok && left > 0) {
        const ssize_t n = read(fd, buffer, 1 << 16);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            ok = error_errno(err, "%s: cannot read", request->url);
        } else if (n == 0 || n > left) {
            ok = error_set(err, LLM_ERROR_NETWORK, "%s: changed its size while it was read", request->url);
        } else if (request->tick != NULL && !request->tick(request->user)) {
            ok = error_set(err, LLM_ERROR_CANCELLED, "cancelled");
        } else {
            ok = request->body(request->user, buffer, (size_t)n, err);
            left -= n;
        }
    }
    free(buffer);
    return ok;
}

bool file_url_get(const struct http_request *request, long *status, struct llm_error *err) {
    if (status != NULL) *status = 0;
    struct stat about;
    const int fd = file_url_open(request->url, &about, err);
    if (fd < 0) return false;

    char validator[64];
    snprintf(validator, sizeof validator, "%lld.%09ld-%lld", (long long)about.st_mtim.tv_sec, about.st_mtim.tv_nsec,
             (long long)about.st_size);
    const bool resume = request->range_from > 0 && request->range_from < about.st_size && request->validator != NULL &&
                        strcmp(request->validator, validator) == 0;
    const int64_t from = resume ? request->range_from : 0;
    const struct http_response response = {
        .status = resume ? 206 : 200,
        .content_length = about.st_size - from,
        .range_from = from,
        .total = about.st_size,
        .content_type = "",
        .validator = validator,
    };
    if (status != NULL) *status = response.status;
    bool ok;
    if (response.total > request->max_size) {
        ok = error_set(err, LLM_ERROR_NETWORK, "%s: has %lld bytes, at most %lld were expected", request->url,
                       (long long)response.total, (long long)request->max_size);
    } else if (lseek(fd, from, SEEK_SET) != from) {
        ok = error_errno(err, "%s: cannot read", request->url);
    } else {
        ok = request->headers == NULL || request->headers(request->user, &response, err);
        ok = ok && file_url_read(request, fd, response.content_length, err);
    }
    close(fd);
    return ok;
}
