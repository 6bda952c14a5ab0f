// http.h: an HTTP client with limits. libcurl lives only here.
//
// http, https and, to get, file URLs. Redirects are followed at most 5 times, to http and https only (never to
// file, and never from https back to http). Nothing is unbounded: a connection must stand within 15 s,
// a transfer slower than 100 bytes/s for stall_seconds ends, a body larger than max_size is refused,
// and so are endless headers. Certificates are checked against the system's authorities and those in
// CURL_CA_BUNDLE or SSL_CERT_FILE; proxies are as curl has them (https_proxy, no_proxy).
//
// Error sentences begin with the URL, except those of the callbacks.
#ifndef NET_HTTP_H
#define NET_HTTP_H

#include "base/error.h"

enum {
    HTTP_CONNECT_SECONDS = 15,
    HTTP_STALL_SECONDS = 60,
};

struct http_response {
    long status;            // 200; 206 when only the bytes from range_from on follow
    int64_t content_length; // of this body, -1 if unknown
    int64_t range_from;     // where this body begins in the whole: 0 unless status is 206, -1 if the server did not say
    int64_t total;          // bytes of the whole, -1 if unknown
    const char *content_type; // "" if unknown
    const char *validator;    // names this version of the whole for a later resume; "" if the server gave no strong one
};

// Called once with the headers of a success, before the body (and for an empty body too). What the
// response points to is valid during the call. Return false to stop: http_get fails with the error that was set, if
// any.
typedef bool http_headers_fn(void *user, const struct http_response *response, struct llm_error *err);
// Called with each piece of the body; false stops as above.
typedef bool http_body_fn(void *user, const void *bytes, size_t size, struct llm_error *err);
// Called about once a second, also while nothing arrives; false stops with LLM_ERROR_CANCELLED.
typedef bool http_tick_fn(void *user);

// What is sent with a request that is no get, and what becomes of a refusal.
struct http_post {
    const char *body; // [size]
    size_t size;
    const char *content_type;
    const char *authorization; // "Bearer ...", sent to this host alone; NULL: none
    int total_seconds;         // for the whole; an answer may come slowly, as long as a byte comes in stall_seconds
    char refusal[1024];        // receives the beginning of the body that came with a status of 400 or more
};

struct http_request {
    const char *url;
    int64_t range_from;       // > 0: ask for the bytes from here on, if the whole is still `validator`'s version
    const char *validator;    // from an earlier response; needed with range_from
    int64_t max_size;         // bytes of the whole at most; more is an error
    int stall_seconds;        // 0: HTTP_STALL_SECONDS; a smaller one than 15 holds for connecting too
    struct http_post *post;   // NULL: get
    http_headers_fn *headers; // may be NULL
    http_body_fn *body;
    http_tick_fn *tick; // may be NULL
    void *user;
};

// A status of 400 or more, one that is no success, and a body shorter than announced are errors:
// LLM_ERROR_NOT_FOUND for 404, 410 and a missing file, else LLM_ERROR_NETWORK. *status (may be NULL) receives the
// last status, 0 if there was none.
bool http_get(const struct http_request *request, long *status, struct llm_error *err);

// Sends request->post; everything else as http_get(). A redirect that is followed is sent the same.
bool http_post(const struct http_request *request, long *status, struct llm_error *err);

#endif
