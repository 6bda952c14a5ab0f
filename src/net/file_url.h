// file_url.h: file URLs for http_get(): the same callbacks, limits and resume as over HTTP.
#ifndef NET_FILE_URL_H
#define NET_FILE_URL_H

#include "net/http.h"

bool file_url_is(const char *url);

// As http_get(), for a URL of which file_url_is() holds.
bool file_url_get(const struct http_request *request, long *status, struct llm_error *err);

#endif
