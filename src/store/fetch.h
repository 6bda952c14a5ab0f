// fetch.h: bringing one URL into "<path>.part", resuming what an earlier try left there.
//
// Beside the partial file lies "<path>.part.source": three lines with the URL, the validator and the size
// that the server gave (-1: none), so that a later try asks for the rest only if it is still the same version of the
// same thing (Range and If-Range); a server that ignores ranges, or has a new version, starts it over.
#ifndef STORE_FETCH_H
#define STORE_FETCH_H

#include "base/checksum.h"

struct fetch {
    const char *url;
    const char *path;  // target; its directory exists
    const char *label; // for progress: "gpt2: hparams.json"
    int64_t size;      // bytes it must have, -1 if unknown
    int64_t max_size;  // bytes it may have
    int timeout;       // seconds without data; 0: the HTTP client's default
    bool fresh;        // forget what an earlier try left
    struct llm_callbacks callbacks;
};

struct fetched {
    int64_t size;
    char sha256[CHECKSUM_TEXT];
    int64_t received; // bytes that came in this call; also set on failure
    bool resumed;     // begun in an earlier call
};

// On success the partial file is whole and fsynced; the caller checks it and puts it in place. On
// failure what is good for a later try stays, and the sentence says so.
bool fetch_url(const struct fetch *fetch, struct fetched *fetched, struct llm_error *err);

// "<path>.part", allocated; NULL when out of memory.
char *fetch_partial_path(const char *path);

// Whether an earlier try of this URL left a partial file.
bool fetch_can_resume(const char *path, const char *url);

// Removes the partial file and its record.
void fetch_forget(const char *path);

#endif
