// tensorflow.c: see tensorflow.h.
//
// The index is read whole first (tensorflow_index.c), then the data files are mapped, then places and
// checksums are checked. Divisions: places; checksums; the checkpoint file; open and probe.
#include "formats/tensorflow.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/cursor.h"
#include "base/str.h"
#include "base/team.h"
#include "base/threads.h"
#include "formats/builder.h"
#include "formats/table.h"
#include "formats/tensorflow_index.h"

enum {
    INDEX_MAX = 16 << 20,      // bytes; an index has some 50 bytes a tensor
    CHECKPOINT_MAX = 1 << 20,  // bytes of the text file
    PARALLEL_BYTES = 32 << 20, // from here on checksums are worth starting threads for
};

static const char format_name[] = "TensorFlow checkpoint";

// ---- Places ---------------------------------------------------------------------------------

// Names data file number `file` in front of the sentence, if it has a path. Always returns false.
static bool blame_file(const struct container *container, int file, struct llm_error *err) {
    if (container->files[file].path != NULL) error_prefix(err, "%s", container->files[file].path);
    return false;
}

// Points the views into their data files: shards[shard] has sizes[shard] bytes.
static bool place_tensors(const struct tensorflow_index *index, const uint8_t *const *shards, const size_t *sizes,
                          struct llm_error *err) {
    for (int i = 0; i < index->n_entries; i++) {
        const struct tensorflow_entry *entry = &index->entries[i];
        const size_t size = sizes[entry->shard];
        if (entry->offset > size || entry->size > size - entry->offset) {
            char name[STR_QUOTE_SIZE];
            error_set(
                err, LLM_ERROR_FORMAT, "tensor %s needs %llu bytes from byte %llu on, but this file has %zu bytes",
                str_quote(entry->name, name), (unsigned long long)entry->size, (unsigned long long)entry->offset, size);
            return blame_file(index->container, (int)entry->shard, err);
        }
        index->container->tensors[i].data = shards[entry->shard] + entry->offset;
    }
    return true;
}

// ---- Checksums ------------------------------------------------------------------------------

// The checksum of a string tensor, which covers the lengths as numbers, not as varints: n varint
// lengths, u32 masked CRC of the lengths as u32 (u64 from 2^32 on), the strings (tensor_bundle.cc,
// ReadStringTensor). False when the lengths do not add up to the size.
static bool string_crc(const struct tensor_view *tensor, uint32_t *result) {
    struct cursor cursor;
    cursor_init(&cursor, tensor->data, tensor->size, NULL);
    uint32_t crc = 0;
    uint64_t total = 0;
    for (int64_t i = 0; i < tensor->n_elements && cursor_ok(&cursor); i++) {
        const uint64_t length = cursor_varint64(&cursor, "string size");
        if (length > tensor->size) return false;
        total += length; // at most size * size / 2, each length having a byte of its own
        uint8_t bytes[8];
        for (int b = 0; b < 8; b++) bytes[b] = (uint8_t)(length >> (8 * b));
        crc = crc32c(crc, bytes, length <= UINT32_MAX ? 4 : 8);
    }
    const uint8_t *stored = cursor_take(&cursor, 4, "checksum of the sizes");
    if (stored == NULL || cursor_left(&cursor) != total) return false;
    crc = crc32c(crc, stored, 4);
    *result = crc32c(crc, tensor->data + cursor.offset, (size_t)total);
    return true;
}

static bool crc_matches(const struct tensor_view *tensor, const struct tensorflow_entry *entry) {
    uint32_t crc = 0;
    if (!entry->strings) {
        crc = crc32c(0, tensor->data, tensor->size);
    } else if (!string_crc(tensor, &crc)) {
        return false;
    }
    return crc == table_unmask_crc(entry->crc);
}

struct damage_job {
    const struct tensorflow_index *index;
    struct team_counter counter;
    atomic_int bad; // the lowest number of a damaged entry so far, or n_entries
};

static void damage_work(void *memory, int thread, int n_threads) {
    (void)thread;
    (void)n_threads;
    struct damage_job *job = memory;
    const struct tensorflow_index *index = job->index;
    for (int64_t i = team_take(&job->counter); i < index->n_entries; i = team_take(&job->counter)) {
        const struct tensor_view *tensor = container_find(index->container, index->entries[i].name);
        if (crc_matches(tensor, &index->entries[i])) continue;
        int lowest = atomic_load(&job->bad);
        while (i < lowest && !atomic_compare_exchange_weak(&job->bad, &lowest, (int)i)) continue;
    }
}

// *bad is the lowest number of an entry whose tensor is damaged (whatever thread finds one first, the sentence
// is the same), or n_entries.
static bool find_damaged(const struct tensorflow_index *index, int n_threads, int *bad, struct llm_error *err) {
    struct damage_job job = {.index = index, .bad = index->n_entries};
    struct team *team = team_new(n_threads, err);
    if (team == NULL) return false;
    team_run(team, damage_work, &job);
    team_free(team);
    *bad = atomic_load(&job.bad);
    return true;
}

// Reads every byte of every tensor: after container_finish(), which has refused overlaps, so that the
// work is bounded by the size of the files.
static bool check_checksums(const struct tensorflow_index *index, struct llm_error *err) {
    const struct container *container = index->container;
    int64_t total = 0;
    for (int i = 0; i < container->n_files; i++) total += container->files[i].size;
    int bad;
    int n_threads = 0;
    if (!threads_choose(total < PARALLEL_BYTES ? 1 : 0, &n_threads, err)) return false;
    if (!find_damaged(index, n_threads, &bad, err)) return false;
    if (bad == index->n_entries) return true;
    const struct tensor_view *tensor = container_find(container, index->entries[bad].name);
    char name[STR_QUOTE_SIZE];
    error_set(err, LLM_ERROR_FORMAT, "tensor %s does not match its checksum: the file is damaged",
              str_quote(tensor->name, name));
    return blame_file(container, tensor->file, err);
}

// The last steps, when the index was read (ok) and its data files are there; frees what is not handed out.
static struct container *finish(struct tensorflow_index *index, const uint8_t *const *shards, const size_t *sizes,
                                bool ok, struct llm_error *err) {
    ok = ok && place_tensors(index, shards, sizes, err) && container_finish(index->container, err) &&
         check_checksums(index, err);
    free(index->entries);
    if (ok) return index->container;
    container_free(index->container);
    return NULL;
}

struct container *tensorflow_parse(const uint8_t *bytes, size_t size, const uint8_t *const *shards,
                                   const size_t *shard_sizes, int n_shards, struct llm_error *err) {
    struct tensorflow_index index = {.container = container_new(format_name, err)};
    if (index.container == NULL) return NULL;
    bool ok = tensorflow_index_read(&index, bytes, size, err);
    if (ok && (int)index.n_shards != n_shards) {
        ok = error_set(err, LLM_ERROR_FORMAT, "states %u data files, but there are %d", index.n_shards, n_shards);
    }
    for (int i = 0; ok && i < n_shards; i++) ok = container_borrow(index.container, shards[i], shard_sizes[i], err);
    return finish(&index, shards, shard_sizes, ok, err);
}

// ---- The checkpoint file --------------------------------------------------------------------

// The quoted value of `model_checkpoint_path: "..."` in a text-format CheckpointState, allocated.
static char *find_checkpoint_path(const char *text, struct llm_error *err) {
    static const char key[] = "model_checkpoint_path";
    const char *line = text;
    while (line != NULL) {
        line += strspn(line, " \t\r\n");
        if (strncmp(line, key, sizeof key - 1) == 0) break;
        line = strchr(line, '\n');
    }
    const char *at = line == NULL ? "" : line + sizeof key - 1;
    at += strspn(at, " \t");
    if (*at == ':') at++;
    at += strspn(at, " \t");
    const char quote = *at;
    const char *end = quote == '"' || quote == '\'' ? strchr(at + 1, quote) : NULL;
    if (end == NULL) {
        error_set(err, LLM_ERROR_FORMAT, "has no line model_checkpoint_path: \"NAME\"");
        return NULL;
    }
    char *name = strndup(at + 1, (size_t)(end - at - 1));
    if (name == NULL) error_memory(err, "checkpoint path");
    return name;
}

// Whether there is a `checkpoint` that is not a directory (as a training run's own is, which has "." in it).
static bool holds_checkpoint(const char *directory) {
    return directory_holds(directory, "checkpoint") && !directory_holds(directory, "checkpoint/.");
}

// The prefix of the checkpoint's files in this directory, a plain file name, allocated.
static char *read_prefix(const char *directory, struct llm_error *err) {
    char *path = path_join(directory, "checkpoint");
    if (path == NULL) {
        error_memory(err, "path");
        return NULL;
    }
    char *prefix = NULL;
    char *text = NULL;
    size_t size = 0;
    if (!holds_checkpoint(directory)) {
        prefix = strdup("model.ckpt");
        if (prefix == NULL) error_memory(err, "checkpoint path");
    } else if (file_read(path, CHECKPOINT_MAX, &text, &size, err)) {
        prefix = find_checkpoint_path(text, err);
        if (prefix != NULL && (*prefix == '\0' || strpbrk(prefix, "/\\") != NULL)) {
            char name[STR_QUOTE_SIZE];
            error_set(err, LLM_ERROR_FORMAT,
                      "model_checkpoint_path is %s, the plain name of a file beside it was expected",
                      str_quote(prefix, name));
            free(prefix);
            prefix = NULL;
        }
        if (prefix == NULL) error_prefix(err, "%s", path);
    }
    free(text);
    free(path);
    return prefix;
}

// ---- Open and probe -------------------------------------------------------------------------

bool tensorflow_probe(const char *path) {
    return directory_holds(path, "model.ckpt.index") || holds_checkpoint(path);
}

static bool open_index(struct tensorflow_index *index, const char *stem, struct llm_error *err) {
    char *path = NULL;
    if (asprintf(&path, "%s.index", stem) < 0) return error_memory(err, "path");
    char *bytes = NULL;
    size_t size = 0;
    bool ok = file_read(path, INDEX_MAX, &bytes, &size, err);
    if (ok && !tensorflow_index_read(index, (const uint8_t *)bytes, size, err)) {
        error_prefix(err, "%s", path);
        ok = false;
    }
    free(bytes);
    free(path);
    return ok;
}

// Maps every data file; shards and sizes have room for TENSORFLOW_SHARDS_MAX.
static bool open_shards(struct tensorflow_index *index, const char *stem, const uint8_t **shards, size_t *sizes,
                        struct llm_error *err) {
    for (uint32_t i = 0; i < index->n_shards; i++) {
        char *path = NULL;
        if (asprintf(&path, "%s.data-%05u-of-%05u", stem, i, index->n_shards) < 0) return error_memory(err, "path");
        struct file_map map;
        const bool ok = container_map(index->container, path, &map, err);
        free(path);
        if (!ok) return false;
        shards[i] = map.bytes;
        sizes[i] = map.size;
    }
    return true;
}

struct container *tensorflow_open(const char *path, struct llm_error *err) {
    char *prefix = read_prefix(path, err);
    if (prefix == NULL) return NULL;
    char *stem = path_join(path, prefix);
    free(prefix);
    struct tensorflow_index index = {.container = container_new(format_name, err)};
    if (stem == NULL) error_memory(err, "path");
    const uint8_t *shards[TENSORFLOW_SHARDS_MAX];
    size_t sizes[TENSORFLOW_SHARDS_MAX];
    const bool ok = stem != NULL && index.container != NULL && open_index(&index, stem, err) &&
                    open_shards(&index, stem, shards, sizes, err);
    free(stem);
    return finish(&index, shards, sizes, ok, err);
}
