// http.h: an HTTP client with limits. libcurl lives only here.
//
// http, https and file URLs; redirects are followed to http and https only (never to file), at most 5.
// Time-outs: connect 30 s; a transfer slower than 100 bytes/s for 60 s ends. Nothing is unbounded.
#ifndef NET_HTTP_H
#define NET_HTTP_H

#include "base/error.h"

struct http_response {
    long status;              // 200, 206, 404, ...; 200 for file URLs
    int64_t content_length;   // of this response's body, -1 if unknown
    const char *content_type; // "" if unknown; valid until http_get returns
};

// Called once with the headers, before the body. Return false to stop: http_get fails with the error
// that was set, if any.
typedef bool http_headers_fn(void *user, const struct http_response *response, struct llm_error *err);
// Called with each piece of the body.
typedef bool http_body_fn(void *user, const void *bytes, size_t size, struct llm_error *err);

struct http_request {
    const char *url;
    int64_t range_from;       // > 0: ask for the bytes from here on (Range header)
    int64_t max_size;         // body bytes at most; more is an error
    http_headers_fn *headers; // may be NULL
    http_body_fn *body;
    void *user;
    long stall_seconds; // 0: 60
};

// A status of 400 or more is an error that names status and URL. A body shorter than Content-Length is an error.
bool http_get(const struct http_request *request, struct llm_error *err);

#endif
