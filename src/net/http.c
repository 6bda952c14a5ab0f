// http.c: see http.h. One transfer is one curl easy handle.
//
// The response's headers are looked at when the first piece of its body arrives: by then redirects and
// interim responses are over, and curl knows which headers are the last response's.
#include "net/http.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "net/file_url.h"

enum {
    MAX_REDIRECTS = 5,
    MAX_HEADER_BYTES = 256 * 1024, // of all responses of a transfer together
    MAX_HEADER_VALUE = 256,        // a longer one is taken as absent; none that we read needs half of it
    STALL_BYTES_PER_SECOND = 100,
};

struct transfer {
    const struct http_request *request;
    CURL *curl;
    struct llm_error *err;
    char reason[CURL_ERROR_SIZE]; // curl's own words for a failure
    char location[256];           // the last redirect's target
    size_t header_bytes;
    int64_t received;  // bytes of the body
    bool headers_told; // the request's headers callback has been called
};

// "<URL>: <formatted>"
static bool transfer_fail(struct transfer *transfer, enum llm_error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool transfer_fail(struct transfer *transfer, enum llm_error_code code, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return error_set(transfer->err, code, "%s: %s", transfer->request->url, text);
}

// ---- The response's headers -----------------------------------------------------------------

// Copies a header of the last response; empty when it is absent.
static void copy_header(struct transfer *transfer, const char *name, char value[MAX_HEADER_VALUE]) {
    struct curl_header *found = NULL;
    value[0] = '\0';
    if (curl_easy_header(transfer->curl, name, 0, CURLH_HEADER, -1, &found) != CURLHE_OK) return;
    if (strlen(found->value) < MAX_HEADER_VALUE) snprintf(value, MAX_HEADER_VALUE, "%s", found->value);
}

// What If-Range may carry (RFC 9110, 13.1.5): a strong ETag, or a Last-Modified date that is at least a
// second older than the response, so that it cannot stand for two versions.
static void copy_validator(struct transfer *transfer, char validator[MAX_HEADER_VALUE]) {
    char date[MAX_HEADER_VALUE];
    copy_header(transfer, "ETag", validator);
    if (validator[0] == '"') return;
    copy_header(transfer, "Last-Modified", validator);
    copy_header(transfer, "Date", date);
    const time_t modified = curl_getdate(validator, NULL); // -1 when it is no date
    if (modified < 0 || curl_getdate(date, NULL) <= modified) validator[0] = '\0';
}

// Reads "bytes FROM-TO/TOTAL", where TOTAL may be "*"; false when it says something else.
static bool parse_content_range(const char *text, int64_t *from, int64_t *total) {
    if (strncasecmp(text, "bytes ", 6) != 0) return false;
    char *end = NULL;
    const long long first = strtoll(text + 6, &end, 10);
    if (*end != '-' || first < 0) return false;
    const long long last = strtoll(end + 1, &end, 10);
    if (*end != '/' || last < first) return false;
    long long whole = -1;
    if (strcmp(end, "/*") != 0) {
        whole = strtoll(end + 1, &end, 10);
        if (*end != '\0' || whole <= last) return false;
    }
    *from = first;
    *total = whole;
    return true;
}

// Bytes announced for the body, -1 if unknown.
static int64_t content_length(struct transfer *transfer) {
    curl_off_t length = -1;
    curl_easy_getinfo(transfer->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    return length;
}

static bool tell_headers(struct transfer *transfer) {
    const struct http_request *request = transfer->request;
    char type[MAX_HEADER_VALUE], validator[MAX_HEADER_VALUE], range[MAX_HEADER_VALUE];
    struct http_response response = {.content_type = type, .validator = validator};
    copy_header(transfer, "Content-Type", type);
    copy_validator(transfer, validator);
    copy_header(transfer, "Content-Range", range);
    curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &response.status);
    response.content_length = response.total = content_length(transfer);
    transfer->headers_told = true;

    if (response.status == 206 && request->range_from > 0) {
        response.range_from = response.total = -1;
        parse_content_range(range, &response.range_from, &response.total);
    } else if (response.status != 200) {
        return transfer_fail(transfer, LLM_ERROR_NETWORK, "the server answered %ld, 200 was expected", response.status);
    }
    if (response.total > request->max_size) {
        return transfer_fail(transfer, LLM_ERROR_NETWORK, "has %lld bytes, at most %lld were expected",
                             (long long)response.total, (long long)request->max_size);
    }
    return request->headers == NULL || request->headers(request->user, &response, transfer->err);
}

// ---- What curl calls: returning something else than the size, or 1 from on_tick, ends the transfer --------

static size_t on_header(char *line, size_t unit, size_t n, void *user) {
    struct transfer *transfer = user;
    const size_t size = unit * n;
    transfer->header_bytes += size;
    if (transfer->header_bytes > MAX_HEADER_BYTES) {
        transfer_fail(transfer, LLM_ERROR_NETWORK, "the server sent more than %d bytes of headers", MAX_HEADER_BYTES);
        return 0;
    }
    if (size > 9 && strncasecmp(line, "Location:", 9) == 0) {
        size_t begin = 9, end = size;
        while (begin < end && (unsigned char)line[begin] <= ' ') begin++;
        while (end > begin && (unsigned char)line[end - 1] <= ' ') end--;
        snprintf(transfer->location, sizeof transfer->location, "%.*s", (int)(end - begin), line + begin);
    }
    return size;
}

// With a post, curl passes on what a server says when it refuses.
static bool is_refusal(const struct transfer *transfer) {
    long status = 0;
    if (transfer->request->post != NULL) curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &status);
    return status >= 400;
}

// Keeps the beginning; its end ends the transfer.
static size_t keep_refusal(struct transfer *transfer, const char *bytes, size_t size) {
    struct http_post *post = transfer->request->post;
    const size_t used = strlen(post->refusal), room = sizeof post->refusal - 1 - used;
    const size_t kept = size < room ? size : room;
    memcpy(post->refusal + used, bytes, kept);
    post->refusal[used + kept] = '\0';
    return kept == size ? size : 0;
}

static size_t on_body(char *bytes, size_t unit, size_t n, void *user) {
    struct transfer *transfer = user;
    const struct http_request *request = transfer->request;
    const size_t size = unit * n;
    if (is_refusal(transfer)) return keep_refusal(transfer, bytes, size);
    if (!transfer->headers_told && !tell_headers(transfer)) return 0;
    transfer->received += (int64_t)size;
    if (transfer->received > request->max_size) {
        transfer_fail(transfer, LLM_ERROR_NETWORK, "sends more than the %lld bytes that were expected at most",
                      (long long)request->max_size);
        return 0;
    }
    return request->body(request->user, bytes, size, transfer->err) ? size : 0;
}

static int on_tick(void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
    (void)a, (void)b, (void)c, (void)d;
    struct transfer *transfer = user;
    const struct http_request *request = transfer->request;
    if (request->tick == NULL || request->tick(request->user)) return 0;
    error_set(transfer->err, LLM_ERROR_CANCELLED, "cancelled");
    return 1;
}

// ---- Failures -------------------------------------------------------------------------------

static bool fail_status(struct transfer *transfer, long status) {
    switch (status) {
    case 404:
    case 410:
        return transfer_fail(transfer, LLM_ERROR_NOT_FOUND, "the server answered %ld (not found)", status);
    case 401:
    case 403:
        return transfer_fail(transfer, LLM_ERROR_NETWORK, "the server answered %ld (not allowed)", status);
    default:
        return transfer_fail(transfer, LLM_ERROR_NETWORK, "the server answered %ld", status);
    }
}

static bool fail_timeout(struct transfer *transfer, int connect_seconds, int stall_seconds) {
    curl_off_t connected = 0;
    curl_easy_getinfo(transfer->curl, CURLINFO_PRETRANSFER_TIME_T, &connected);
    if (connected == 0) {
        return transfer_fail(transfer, LLM_ERROR_NETWORK, "no connection within %d s", connect_seconds);
    }
    const struct http_post *post = transfer->request->post;
    if (post != NULL) {
        return transfer_fail(transfer, LLM_ERROR_NETWORK, "no whole answer within %d s, %lld bytes of it came",
                             post->total_seconds < stall_seconds ? post->total_seconds : stall_seconds,
                             (long long)transfer->received);
    }
    return transfer_fail(transfer, LLM_ERROR_NETWORK, "stalled: fewer than %d bytes/s for %d s, after %lld bytes",
                         STALL_BYTES_PER_SECOND, stall_seconds, (long long)transfer->received);
}

static bool fail_connect(struct transfer *transfer) {
    long number = 0;
    curl_easy_getinfo(transfer->curl, CURLINFO_OS_ERRNO, &number);
    if (number == 0) return transfer_fail(transfer, LLM_ERROR_NETWORK, "%s", transfer->reason);
    char reason[128];
    return transfer_fail(transfer, LLM_ERROR_NETWORK, "cannot connect: %s",
                         strerror_r((int)number, reason, sizeof reason));
}

// Says why curl ended a transfer. Where a callback said so already, that sentence stays.
static bool fail_curl(struct transfer *transfer, CURLcode code, int connect_seconds, int stall_seconds) {
    long status = 0;
    curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &status);
    const long long received = transfer->received, announced = content_length(transfer);
    switch (code) {
    case CURLE_HTTP_RETURNED_ERROR:
        return fail_status(transfer, status);
    case CURLE_OPERATION_TIMEDOUT:
        return fail_timeout(transfer, connect_seconds, stall_seconds);
    case CURLE_COULDNT_CONNECT:
        return fail_connect(transfer);
    case CURLE_OUT_OF_MEMORY:
        return error_memory(transfer->err, "HTTP");
    case CURLE_UNSUPPORTED_PROTOCOL:
        if (transfer->location[0] == '\0') break;
        return transfer_fail(transfer, LLM_ERROR_NETWORK, "the server redirects to %s, which is not followed",
                             transfer->location);
    case CURLE_TOO_MANY_REDIRECTS:
        return transfer_fail(transfer, LLM_ERROR_NETWORK, "the server redirects more than %d times", MAX_REDIRECTS);
    case CURLE_PARTIAL_FILE:
        if (announced < 0) {
            return transfer_fail(transfer, LLM_ERROR_NETWORK, "the connection ended early, after %lld bytes", received);
        }
        return transfer_fail(transfer, LLM_ERROR_NETWORK, "the connection ended after %lld of %lld bytes", received,
                             announced);
    case CURLE_RECV_ERROR:
        return transfer_fail(transfer, LLM_ERROR_NETWORK, "the connection broke after %lld bytes (%s)", received,
                             transfer->reason[0] != '\0' ? transfer->reason : curl_easy_strerror(code));
    default:
        break;
    }
    return transfer_fail(transfer, LLM_ERROR_NETWORK, "%s",
                         transfer->reason[0] != '\0' ? transfer->reason : curl_easy_strerror(code));
}

// ---- The transfer ---------------------------------------------------------------------------

// Appends "<name>: <value>"; NULL, with the list freed, when out of memory.
static struct curl_slist *add_header(struct curl_slist *list, const char *name, const char *value) {
    char *line = NULL;
    if (asprintf(&line, "%s: %s", name, value) < 0) line = NULL;
    struct curl_slist *longer = line == NULL ? NULL : curl_slist_append(list, line);
    if (longer == NULL) curl_slist_free_all(list);
    free(line);
    return longer;
}

// Headers of a post; NULL when out of memory. (Expect is curl's: it would wait for a leave that few servers give.)
static struct curl_slist *post_headers(const struct http_post *post) {
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    if (list != NULL) list = add_header(list, "Content-Type", post->content_type);
    if (list != NULL && post->authorization != NULL) list = add_header(list, "Authorization", post->authorization);
    return list;
}

static void post_setup(CURL *curl, const struct http_post *post) {
    curl_easy_setopt(curl, CURLOPT_POST, 1L);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, post->body);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)post->size);
    curl_easy_setopt(curl, CURLOPT_POSTREDIR, (long)CURL_REDIR_POST_ALL);
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 0L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)post->total_seconds);
}

// Headers of a request that resumes; NULL for none (or no memory, in which case all is fetched again).
static struct curl_slist *resume_headers(const struct http_request *request) {
    if (request->range_from <= 0 || request->validator == NULL || request->validator[0] == '\0') return NULL;
    char line[32 + MAX_HEADER_VALUE];
    snprintf(line, sizeof line, "Range: bytes=%lld-", (long long)request->range_from);
    struct curl_slist *range = curl_slist_append(NULL, line);
    snprintf(line, sizeof line, "If-Range: %s", request->validator);
    struct curl_slist *both = range == NULL ? NULL : curl_slist_append(range, line);
    if (both == NULL) curl_slist_free_all(range);
    return both;
}

// Behind some proxies servers show certificates of a company's own authority; these are the names under
// which other programs are told where it is.
static void trust_setup(CURL *curl) {
    const char *bundle = getenv("CURL_CA_BUNDLE");
    if (bundle == NULL || bundle[0] == '\0') bundle = getenv("SSL_CERT_FILE");
    if (bundle != NULL && bundle[0] != '\0') curl_easy_setopt(curl, CURLOPT_CAINFO, bundle);
}

static void transfer_setup(struct transfer *transfer, struct curl_slist *headers, int connect_seconds,
                           int stall_seconds) {
    CURL *curl = transfer->curl;
    const char *url = transfer->request->url;
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, strncasecmp(url, "https:", 6) == 0 ? "https" : "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, (long)MAX_REDIRECTS);
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L); // a library leaves the program's signals alone
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "my-llm");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    trust_setup(curl);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)connect_seconds);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, (long)STALL_BYTES_PER_SECOND);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)stall_seconds);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, transfer->reason);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_tick);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, transfer);
}

// Ends a transfer that curl has done with `code`: whatever there is to say.
static bool transfer_end(struct transfer *transfer, CURLcode code, int connect_seconds, int stall_seconds) {
    long status = 0;
    curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &status);
    if (is_refusal(transfer) && (code == CURLE_OK || code == CURLE_WRITE_ERROR)) return fail_status(transfer, status);
    if (code != CURLE_OK) return fail_curl(transfer, code, connect_seconds, stall_seconds);
    return transfer->headers_told || tell_headers(transfer); // told late: an empty body
}

static bool transfer_run(const struct http_request *request, long *status, struct llm_error *err) {
    const int stall_seconds = request->stall_seconds > 0 ? request->stall_seconds : HTTP_STALL_SECONDS;
    const int connect_seconds = stall_seconds < HTTP_CONNECT_SECONDS ? stall_seconds : HTTP_CONNECT_SECONDS;
    struct http_post *post = request->post;
    if (status != NULL) *status = 0;

    struct llm_error own = {0}; // so that callbacks may count on an open one even when err is NULL
    struct transfer transfer = {.request = request, .err = &own};
    transfer.curl = curl_easy_init();
    struct curl_slist *headers = post != NULL ? post_headers(post) : resume_headers(request);
    if (transfer.curl == NULL || (post != NULL && headers == NULL)) {
        curl_slist_free_all(headers);
        curl_easy_cleanup(transfer.curl);
        return error_memory(err, "HTTP");
    }
    transfer_setup(&transfer, headers, connect_seconds, stall_seconds);
    if (post != NULL) post_setup(transfer.curl, post);

    const CURLcode code = curl_easy_perform(transfer.curl);
    if (status != NULL) curl_easy_getinfo(transfer.curl, CURLINFO_RESPONSE_CODE, status);
    const bool ok = transfer_end(&transfer, code, connect_seconds, stall_seconds);
    curl_easy_cleanup(transfer.curl);
    curl_slist_free_all(headers);
    return ok || error_set(err, own.code, "%s", own.text);
}

bool http_get(const struct http_request *request, long *status, struct llm_error *err) {
    return file_url_is(request->url) ? file_url_get(request, status, err) : transfer_run(request, status, err);
}

bool http_post(const struct http_request *request, long *status, struct llm_error *err) {
    request->post->refusal[0] = '\0';
    if (!file_url_is(request->url)) return transfer_run(request, status, err);
    return error_set(err, LLM_ERROR_NETWORK, "%s: nothing can be sent to a file URL", request->url);
}
