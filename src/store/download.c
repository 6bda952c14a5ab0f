// download.c: llm_download() of my_llm.h: all files of an item, each from the first source that has it.
//
// Sources. The origin, and where there is one a fallback for when it fails. A mirror (--from,
// MY_LLM_MIRROR) stands in for the origin's host and so holds the same paths; failing those, a directory
// with just the files is tried: MIRROR/gpt-2/models/124M/hparams.json, then MIRROR/hparams.json. What the
// origin has inside a zip, a mirror may also have as it is.
//
// Checks. A file with a published sum must have that sum, wherever it comes from. Of the other files the
// origin's sizes are known and hold for the origin; a mirror may hold other weights (fine-tuned ones, a
// small model for tests), only not larger ones.
//
// Two processes at once: the second waits for the lock $MY_LLM_HOME/downloads/<item>.lock, then finds
// the work done.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "net/http.h"
#include "store/archive.h"
#include "store/fetch.h"
#include "store/record.h"

enum {
    MAX_CANDIDATES = 4,
    SLACK = 1 << 20, // bytes that a file without a published sum may be larger than the origin's
};

// One download of one item.
struct download {
    const struct store_item *item;
    const struct llm_download_options *options;
    const char *mirror; // NULL: the origin
    char *directory;
    struct record record;
    int preferred; // index of the candidate that served the last file
};

// One URL that may have a file.
struct candidate {
    char *url;
    char *target;    // what the partial file is named after: the file's path, or "<path>.zip"
    bool is_archive; // the file is inside a zip
    bool is_origin;  // or its fallback: the origin's sizes hold
};

// A file on its way into its place.
struct delivery {
    struct download *download;
    int number; // of the file in the item
    const struct store_file *file;
    char *path;  // in the item's directory
    char *label; // "gpt2: hparams.json"
    struct candidate candidates[MAX_CANDIDATES];
    int n_candidates;
};

void llm_download_options_init(struct llm_download_options *options) {
    *options = (struct llm_download_options){.timeout = HTTP_STALL_SECONDS};
}

// ---- Candidates -----------------------------------------------------------------------------

// "<base><path>/<name>" without a doubled slash, allocated.
static char *url_join(const char *base, const char *path, const char *name) {
    size_t size = strlen(base);
    while (size > 0 && base[size - 1] == '/') size--;
    char *url = NULL;
    return asprintf(&url, "%.*s%s/%s", (int)size, base, path, name) < 0 ? NULL : url;
}

// Takes `url`; false when it or memory is missing.
static bool candidate_add(struct delivery *delivery, char *url, bool is_archive, bool is_origin) {
    char *target = NULL;
    if (asprintf(&target, "%s%s", delivery->path, is_archive ? ".zip" : "") < 0) target = NULL;
    delivery->candidates[delivery->n_candidates++] = (struct candidate){url, target, is_archive, is_origin};
    return url != NULL && target != NULL;
}

// Fills in the URLs to be tried, in order; the list has the same shape for all files of an item.
static bool candidates_list(struct delivery *delivery) {
    const struct store_item *item = delivery->download->item;
    const struct store_file *file = delivery->file;
    const char *mirror = delivery->download->mirror;
    const bool zipped = file->archive != NULL;
    const char *remote = zipped ? file->archive : file->name;
    bool ok;
    if (mirror == NULL) {
        ok = candidate_add(delivery, url_join(item->host, item->path, remote), zipped, true);
        if (file->elsewhere != NULL) {
            ok = candidate_add(delivery, strdup(file->elsewhere), zipped, true) && ok;
        } else if (item->fallback != NULL) {
            ok = candidate_add(delivery, url_join(item->fallback, "", remote), zipped, true) && ok;
        }
        return ok;
    }
    ok = candidate_add(delivery, url_join(mirror, item->path, remote), zipped, false);
    ok = candidate_add(delivery, url_join(mirror, "", remote), zipped, false) && ok;
    if (zipped) {
        ok = candidate_add(delivery, url_join(mirror, item->path, file->name), false, false) && ok;
        ok = candidate_add(delivery, url_join(mirror, "", file->name), false, false) && ok;
    }
    return ok;
}

static bool mirror_valid(const char *mirror, struct llm_error *err) {
    static const char *const schemes[] = {"http://", "https://", "file://"};
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        if (strncasecmp(mirror, schemes[i], strlen(schemes[i])) == 0) return true;
    }
    return error_set(err, LLM_ERROR_ARGUMENT, "%s: a mirror's URL begins with http://, https:// or file://", mirror);
}

static void delivery_release(struct delivery *delivery) {
    for (int i = 0; i < delivery->n_candidates; i++) {
        free(delivery->candidates[i].url);
        free(delivery->candidates[i].target);
    }
    free(delivery->path);
    free(delivery->label);
}

static bool delivery_init(struct delivery *delivery, struct download *download, int number, struct llm_error *err) {
    const struct store_file *file = &download->item->files[number];
    *delivery = (struct delivery){.download = download, .number = number, .file = file};
    delivery->path = path_join(download->directory, file->name);
    if (asprintf(&delivery->label, "%s: %s", download->item->name, file->name) < 0) delivery->label = NULL;
    if (delivery->path != NULL && delivery->label != NULL && candidates_list(delivery)) return true;
    delivery_release(delivery);
    error_memory(err, "list of URLs");
    return false;
}

// ---- One file from one URL ------------------------------------------------------------------

static bool fetch_candidate(const struct delivery *delivery, const struct candidate *candidate, bool fresh,
                            struct fetched *fetched, struct llm_error *err) {
    const struct store_file *file = delivery->file;
    const struct llm_download_options *options = delivery->download->options;
    const bool exact = !candidate->is_archive && (file->sha256 != NULL || (candidate->is_origin && !file->approximate));
    const struct fetch fetch = {
        .url = candidate->url,
        .path = candidate->target,
        .label = delivery->label,
        .size = exact ? file->size : -1,
        .max_size = exact ? file->size : file->size + SLACK,
        .timeout = options->timeout,
        .fresh = fresh,
        .callbacks = options->callbacks,
    };
    return fetch_url(&fetch, fetched, err);
}

// Compares a whole file with the published sum, else with the one recorded at its first download.
static bool check_sum(const struct delivery *delivery, const char *url, const struct fetched *fetched,
                      struct llm_error *err) {
    const struct store_file *file = delivery->file;
    const struct download *download = delivery->download;
    const struct record_entry *entry = &download->record.entries[delivery->number];
    if (file->sha256 != NULL) {
        return strcmp(fetched->sha256, file->sha256) == 0 ||
               error_set(err, LLM_ERROR_FORMAT, "%s: its SHA-256 is %s, the published one is %s", url, fetched->sha256,
                         file->sha256);
    }
    if (entry->size < 0 || strcmp(fetched->sha256, entry->sha256) == 0) return true;
    char *path = record_path(download->item->name, ".sha256", NULL);
    error_set(err, LLM_ERROR_FORMAT,
              "%s: its SHA-256 is %s, at the first download it was %s; if that is as it should be, remove %s", url,
              fetched->sha256, entry->sha256, path != NULL ? path : "its record");
    free(path);
    return false;
}

// Checks a whole partial file, records it, then makes it visible.
static bool place_file(const struct delivery *delivery, const struct candidate *candidate, const char *partial,
                       const struct fetched *fetched, struct llm_error *err) {
    return check_sum(delivery, candidate->url, fetched, err) &&
           record_put(&delivery->download->record, delivery->number, fetched->size, fetched->sha256, err) &&
           file_rename(partial, delivery->path, err);
}

// The same for a file inside a zip.
static bool place_member(const struct delivery *delivery, const struct candidate *candidate, const char *partial,
                         struct llm_error *err) {
    const struct store_file *file = delivery->file;
    char *bytes = NULL;
    if (!archive_extract(partial, file->name, file->size, file->sha256, &bytes, err)) {
        error_prefix(err, "%s", candidate->url);
        return false;
    }
    fetch_forget(delivery->path); // of a try to get the file without a zip
    char *temporary = fetch_partial_path(delivery->path);
    const bool ok = temporary != NULL ? file_create(temporary, bytes, (size_t)file->size, err) &&
                                            record_put(&delivery->download->record, delivery->number, file->size,
                                                       file->sha256, err) &&
                                            file_rename(temporary, delivery->path, err)
                                      : error_memory(err, "path");
    free(temporary);
    free(bytes);
    return ok;
}

// Puts what was fetched in place. The partial file is gone afterwards, unless the disk was at fault.
static bool place(const struct delivery *delivery, const struct candidate *candidate, const struct fetched *fetched,
                  struct llm_error *err) {
    char *partial = fetch_partial_path(candidate->target);
    if (partial == NULL) return error_memory(err, "path");
    const bool ok = candidate->is_archive ? place_member(delivery, candidate, partial, err)
                                          : place_file(delivery, candidate, partial, fetched, err);
    if (ok || err->code == LLM_ERROR_FORMAT) fetch_forget(candidate->target);
    free(partial);
    return ok;
}

// Gets the file from one URL. One that was put together from several tries and turns out damaged is
// fetched once more from its beginning. *received: bytes that came.
static bool deliver_from(const struct delivery *delivery, const struct candidate *candidate, int64_t *received,
                         struct llm_error *err) {
    struct fetched fetched;
    bool ok = fetch_candidate(delivery, candidate, false, &fetched, err);
    *received = fetched.received;
    ok = ok && place(delivery, candidate, &fetched, err);
    if (ok || !fetched.resumed || err->code != LLM_ERROR_FORMAT) return ok;

    *err = (struct llm_error){0};
    ok = fetch_candidate(delivery, candidate, true, &fetched, err);
    *received += fetched.received;
    return ok && place(delivery, candidate, &fetched, err);
}

// ---- One file from whoever has it -----------------------------------------------------------

// The candidate to begin with: one that an earlier try left a part of, else what served the last file.
static int candidate_first(const struct delivery *delivery) {
    for (int i = 0; i < delivery->n_candidates; i++) {
        if (fetch_can_resume(delivery->candidates[i].target, delivery->candidates[i].url)) return i;
    }
    return delivery->download->preferred;
}

// Whether a failure with one candidate is a reason to try the next: the mirror does not have that path;
// the origin failed before it sent anything (once it did, going on there beats beginning elsewhere).
static bool candidate_next(const struct download *download, const struct llm_error *problem, int64_t received) {
    if (problem->code == LLM_ERROR_NOT_FOUND) return true;
    return download->mirror == NULL && problem->code == LLM_ERROR_NETWORK && received == 0;
}

static bool deliver(struct delivery *delivery, struct llm_error *err) {
    struct download *download = delivery->download;
    const int first = candidate_first(delivery);
    struct llm_error all = {0}; // every candidate's sentence, in order
    for (int tried = 0; tried < delivery->n_candidates; tried++) {
        // `first`, then the others in their order
        const int i = tried == 0 ? first : tried <= first ? tried - 1 : tried;
        struct llm_error problem = {0};
        int64_t received = 0;
        if (deliver_from(delivery, &delivery->candidates[i], &received, &problem)) {
            download->preferred = i;
            return true;
        }
        if (tried > 0) error_prefix(&problem, "%s; then", all.text);
        const bool fatal = !candidate_next(download, &problem, received);
        all = problem;
        if (fatal) break;
    }
    if (all.code == LLM_ERROR_NOT_FOUND) all.code = LLM_ERROR_NETWORK; // the name is right, the source is not
    return error_set(err, all.code, "%s", all.text);
}

// ---- The item -------------------------------------------------------------------------------

static bool cancelled(const struct llm_callbacks *callbacks, const char *what) {
    const struct llm_progress progress = {what, "bytes", 0, -1};
    return callbacks->progress != NULL && !callbacks->progress(callbacks->user, &progress);
}

// Waits until no other process downloads this item; returns the lock's descriptor, closed to release it, or -1.
static int item_lock(const struct download *download, struct llm_error *err) {
    const char *name = download->item->name;
    const struct llm_callbacks *callbacks = &download->options->callbacks;
    const struct timespec pause = {.tv_nsec = 200 * 1000 * 1000};
    char *path = record_path(name, ".lock", err);
    if (path == NULL) return -1;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) error_errno(err, "%s: cannot create a file here", path);
    bool told = false;
    while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            error_errno(err, "%s: cannot lock this file", path);
        } else if (cancelled(callbacks, name)) {
            error_set(err, LLM_ERROR_CANCELLED, "cancelled");
        } else {
            if (!told && callbacks->notice != NULL) {
                char sentence[128];
                snprintf(sentence, sizeof sentence, "another process is downloading %s; waiting for it", name);
                callbacks->notice(callbacks->user, sentence);
            }
            told = true;
            nanosleep(&pause, NULL);
            continue;
        }
        close(fd);
        fd = -1;
    }
    free(path);
    return fd;
}

// Creates the directories for the item and for its record.
static bool directories_create(const struct download *download, struct llm_error *err) {
    char *record = record_path(download->item->name, ".sha256", err);
    if (record == NULL) return false;
    char *directory = path_directory(record);
    const bool ok = directory != NULL ? directory_create(directory, err) : error_memory(err, "path");
    free(directory);
    free(record);
    return ok && directory_create(download->directory, err);
}

// Removes what a killed process left of a file that is there.
static void forget_all(const struct delivery *delivery) {
    for (int i = 0; i < delivery->n_candidates; i++) fetch_forget(delivery->candidates[i].target);
}

static bool files_fetch(struct download *download, struct llm_error *err) {
    const struct store_item *item = download->item;
    bool ok = true;
    for (int i = 0; ok && i < item->n_files; i++) {
        struct delivery delivery;
        if (!delivery_init(&delivery, download, i, err)) return false;
        if (download->options->force || !record_holds(&download->record, i, delivery.path)) {
            ok = deliver(&delivery, err);
        } else {
            forget_all(&delivery);
        }
        delivery_release(&delivery);
    }
    return ok;
}

// Everything that happens under the lock.
static bool item_fetch(struct download *download, struct llm_error *err) {
    if (!directories_create(download, err)) return false;
    const int lock = item_lock(download, err);
    if (lock < 0) return false;
    const bool ok = record_load(&download->record, download->item, err) && files_fetch(download, err);
    close(lock);
    return ok;
}

// "gpt2, gpt2-medium, ...": what the caller could have meant.
static bool unknown_name(const char *name, struct llm_error *err) {
    int n = 0;
    const struct llm_download_item *known = llm_download_items(&n);
    error_set(err, LLM_ERROR_NOT_FOUND, "there is nothing called \"%.60s\" to download; known are", name);
    for (int i = 0; err != NULL && i < n; i++) {
        const size_t used = strlen(err->text);
        snprintf(err->text + used, sizeof err->text - used, "%s %s", i == 0 ? "" : ",", known[i].name);
    }
    return false;
}

bool llm_download(const char *name, const struct llm_download_options *options, char **path, struct llm_error *err) {
    struct llm_download_options defaults;
    llm_download_options_init(&defaults);
    if (options == NULL) options = &defaults;
    struct download download = {.item = store_item_find(name), .options = options, .mirror = options->from};
    if (download.item == NULL) return unknown_name(name, err);
    if (download.mirror == NULL) download.mirror = getenv("MY_LLM_MIRROR");
    if (download.mirror != NULL && download.mirror[0] == '\0') download.mirror = NULL;
    download.directory = store_item_directory(download.item, err);
    if (download.directory == NULL) return false;

    bool ok = !options->force && store_item_complete(download.item, download.directory);
    if (!ok) {
        ok = (download.mirror == NULL || mirror_valid(download.mirror, err)) && item_fetch(&download, err);
    }
    if (ok && path != NULL) {
        *path = download.directory;
        return true;
    }
    free(download.directory);
    return ok;
}
