// test_http.c: http_get() on file URLs. What servers do to it is in tests/e2e/test_download.py.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"
#include "net/http.h"

struct received {
    struct http_response response;
    char validator[128];
    struct strbuf body;
    int n_headers;
    bool refuse_headers, refuse_body, cancel;
};

static bool on_headers(void *user, const struct http_response *response, struct llm_error *err) {
    struct received *received = user;
    received->response = *response;
    received->n_headers++;
    snprintf(received->validator, sizeof received->validator, "%s", response->validator);
    return !received->refuse_headers || error_set(err, LLM_ERROR_FORMAT, "these headers are no good");
}

static bool on_body(void *user, const void *bytes, size_t size, struct llm_error *err) {
    struct received *received = user;
    strbuf_append(&received->body, bytes, size);
    return !received->refuse_body || error_set(err, LLM_ERROR_IO, "the disk is full");
}

static bool on_tick(void *user) {
    return !((struct received *)user)->cancel;
}

static const char text[] = "0123456789";

static int setup(void **state) {
    char template[] = "/tmp/my-llm-http-XXXXXX";
    char *directory = mkdtemp(template);
    if (directory == NULL) return -1;
    char *path = path_join(directory, "a file%");
    const bool ok = file_create(path, text, sizeof text - 1, NULL);
    free(path);
    *state = strdup(directory);
    return ok ? 0 : -1;
}

static int teardown(void **state) {
    directory_remove(*state);
    free(*state);
    return 0;
}

// Gets file://<directory>/<name> into *received, whose refusals are set.
static bool get(const char *directory, const char *name, struct http_request request, struct received *received,
                long *status, struct llm_error *err) {
    char url[256];
    snprintf(url, sizeof url, "file://%s/%s", directory, name);
    strbuf_init(&received->body, 1 << 20);
    request.url = url;
    if (request.max_size == 0) request.max_size = 1 << 20;
    request.headers = on_headers;
    request.body = on_body;
    request.tick = on_tick;
    request.user = received;
    return http_get(&request, status, err);
}

static void a_file_is_read(void **state) {
    struct received received = {0};
    struct llm_error err = {0};
    long status = 0;
    if (!get(*state, "a%20file%25", (struct http_request){0}, &received, &status, &err)) fail_msg("%s", err.text);
    assert_int_equal(status, 200);
    assert_int_equal(received.n_headers, 1);
    assert_int_equal(received.response.content_length, 10);
    assert_int_equal(received.response.total, 10);
    assert_string_equal(received.body.bytes, text);
    strbuf_release(&received.body);
}

static void the_rest_of_a_file_is_read(void **state) {
    struct received first = {0}, rest = {0}, changed = {0};
    struct llm_error err = {0};
    long status = 0;
    assert_true(get(*state, "a%20file%25", (struct http_request){0}, &first, NULL, &err));
    const struct http_request request = {.range_from = 4, .validator = first.validator};
    assert_true(get(*state, "a%20file%25", request, &rest, &status, &err));
    assert_int_equal(status, 206);
    assert_int_equal(rest.response.range_from, 4);
    assert_int_equal(rest.response.content_length, 6);
    assert_int_equal(rest.response.total, 10);
    assert_string_equal(rest.body.bytes, "456789");

    char *path = path_join(*state, "a file%");
    assert_true(file_create(path, "abcdefghijk", 11, &err));
    free(path);
    assert_true(get(*state, "a%20file%25", request, &changed, &status, &err));
    assert_int_equal(status, 200);
    assert_string_equal(changed.body.bytes, "abcdefghijk");
    strbuf_release(&first.body);
    strbuf_release(&rest.body);
    strbuf_release(&changed.body);
}

static void assert_fails(const char *directory, const char *name, struct http_request request, struct received received,
                         enum llm_error_code code, const char *sentence) {
    struct llm_error err = {0};
    assert_false(get(directory, name, request, &received, NULL, &err));
    assert_int_equal(err.code, code);
    if (strstr(err.text, sentence) == NULL) fail_msg("\"%s\" is not in \"%s\"", sentence, err.text);
    strbuf_release(&received.body);
    // The same without anybody to tell.
    assert_false(get(directory, name, request, &received, NULL, NULL));
    strbuf_release(&received.body);
}

static void what_is_no_file_is_refused(void **state) {
    const struct http_request plain = {0};
    const struct received none = {0};
    char *fifo = path_join(*state, "fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    free(fifo);
    assert_fails(*state, "fifo", plain, none, LLM_ERROR_NOT_FOUND, "/fifo: is not a regular file");
    assert_fails(*state, "", plain, none, LLM_ERROR_NOT_FOUND, "/: is not a regular file");
    assert_fails(*state, "nothing", plain, none, LLM_ERROR_NOT_FOUND,
                 "/nothing: cannot open this file: No such file or directory");
    assert_fails(*state, "a%00b", plain, none, LLM_ERROR_NETWORK, "/a%00b: ");
    assert_fails("example.org", "a", plain, none, LLM_ERROR_NETWORK, "file://example.org/a: ");
    assert_fails(*state, "a%20file%25", (struct http_request){.max_size = 9}, none, LLM_ERROR_NETWORK,
                 "/a%20file%25: has 10 bytes, at most 9 were expected");
}

static void callbacks_can_stop_it(void **state) {
    const struct http_request plain = {0};
    assert_fails(*state, "a%20file%25", plain, (struct received){.refuse_headers = true}, LLM_ERROR_FORMAT,
                 "these headers are no good");
    assert_fails(*state, "a%20file%25", plain, (struct received){.refuse_body = true}, LLM_ERROR_IO,
                 "the disk is full");
    assert_fails(*state, "a%20file%25", plain, (struct received){.cancel = true}, LLM_ERROR_CANCELLED, "cancelled");
}

static void nothing_is_sent_to_a_file(void **state) {
    struct http_post post = {.body = "{}", .size = 2, .content_type = "application/json", .total_seconds = 1};
    struct llm_error err = {0};
    char url[256];
    snprintf(url, sizeof url, "file://%s/a%%20file%%25", (const char *)*state);
    const struct http_request request = {.url = url, .max_size = 1, .post = &post};
    assert_false(http_post(&request, NULL, &err));
    assert_int_equal(err.code, LLM_ERROR_NETWORK);
    assert_non_null(strstr(err.text, ": nothing can be sent to a file URL"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_file_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(the_rest_of_a_file_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_no_file_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(callbacks_can_stop_it, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_is_sent_to_a_file, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
