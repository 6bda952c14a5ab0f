// torch_zip.c: reading; see torch_zip.h. The writer is in torch_zip_writer.c.
//
// Divisions: one tensor; checksums; one file; open and probe.
#include "formats/torch_zip.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/size.h"
#include "base/str.h"
#include "base/team.h"
#include "base/threads.h"
#include "formats/builder.h"
#include "formats/reader.h"
#include "formats/torch_zip_entries.h"
#include "formats/torch_zip_pickle.h"

enum {
    PICKLE_MAX = 16 << 20,     // bytes; some 200 a tensor
    PARALLEL_BYTES = 32 << 20, // from here on checksums are worth starting threads for
};

const char torch_zip_format[] = "PyTorch";

// ---- One tensor -----------------------------------------------------------------------------

struct reading {
    struct container *container;
    struct zip_entries entries;
};

// Whether these are the strides of the shape's dimensions in this order, the last one fastest. Those of size 1 count
// for nothing.
static bool strides_fit(const int64_t *shape, const int64_t *strides, const int *order, int rank) {
    int64_t expected = 1;
    for (int i = rank - 1; i >= 0; i--) {
        const int dim = order[i];
        if (shape[dim] != 1 && strides[dim] != expected) return false;
        expected *= shape[dim]; // no overflow: tensor_set_shape() has looked at the product
    }
    return true;
}

// All numbers of a tensor lie together, in the order of its shape or, of a matrix, transposed.
static bool read_strides(struct tensor_view *tensor, const int64_t *strides, struct llm_error *err) {
    static const int forward[] = {0, 1, 2, 3, 4, 5, 6, 7}, turned[] = {1, 0};
    _Static_assert(sizeof forward / sizeof *forward == TENSOR_MAX_RANK, "a number for every dimension");
    if (tensor->n_elements == 0 || strides_fit(tensor->shape, strides, forward, tensor->rank)) return true;
    tensor->transposed = tensor->rank == 2 && strides_fit(tensor->shape, strides, turned, 2);
    if (tensor->transposed) return true;
    struct tensor_view shown = {.rank = tensor->rank};
    memcpy(shown.shape, strides, sizeof shown.shape);
    char text[160];
    return error_set(err, LLM_ERROR_UNSUPPORTED,
                     "its strides %s are those of a part of another tensor; save a copy made by .contiguous()",
                     tensor_shape_text(&shown, text));
}

// The entry data/KEY, which must have the size that the pickle states for it.
static struct zip_entry *find_storage(struct reading *reading, const struct pickled_tensor *pickled,
                                      struct llm_error *err) {
    char name[80], quoted[STR_QUOTE_SIZE];
    const int length =
        snprintf(name, sizeof name, "data/%.*s", (int)(pickled->key_size < 64 ? pickled->key_size : 64), pickled->key);
    struct zip_entry *entry = zip_entries_find(&reading->entries, name, (size_t)length);
    if (entry == NULL || pickled->key_size > 64) {
        error_set(err, LLM_ERROR_FORMAT, "its storage, entry %s, is missing", str_quote(name, quoted));
        return NULL;
    }
    uint64_t bytes = 0;
    if (pickled->storage_size < 0 || !size_mul((uint64_t)pickled->storage_size, pickled->bits / 8, &bytes) ||
        bytes != entry->size) {
        error_set(err, LLM_ERROR_FORMAT, "its storage, entry %s, has %zu bytes, but %lld numbers of %s were expected",
                  str_quote(name, quoted), entry->size, (long long)pickled->storage_size, pickled->dtype_name);
        return NULL;
    }
    return entry;
}

static bool add_tensor(void *user, const struct pickled_tensor *pickled, struct llm_error *err) {
    struct reading *reading = user;
    struct tensor_view *tensor = container_add(reading->container, pickled->name, err);
    if (tensor == NULL) return false;
    tensor->dtype_name = pickled->dtype_name;
    if (!dtype_from_name(pickled->dtype_name, &tensor->dtype)) tensor->dtype = DTYPE_OTHER;
    if (!tensor_set_shape(tensor, pickled->shape, pickled->rank, pickled->bits, err)) return false;
    struct zip_entry *entry = find_storage(reading, pickled, err);
    if (entry == NULL || !read_strides(tensor, pickled->strides, err)) return false;
    const int64_t size = pickled->storage_size; // in elements, as is the offset; the entry has as many
    if (pickled->offset < 0 || pickled->offset > size || tensor->n_elements > size - pickled->offset) {
        return error_set(err, LLM_ERROR_FORMAT, "needs %lld numbers from number %lld on, but its storage has %lld",
                         (long long)tensor->n_elements, (long long)pickled->offset, (long long)size);
    }
    tensor->data = entry->data + (size_t)pickled->offset * (pickled->bits / 8);
    entry->used = true;
    return true;
}

// ---- Checksums ------------------------------------------------------------------------------

static bool crc_matches(const struct zip_entry *entry) {
    return entry->crc == 0 || crc32_zip(0, entry->data, entry->size) == entry->crc;
}

struct damage_job {
    const struct zip_entries *entries;
    struct team_counter counter;
    atomic_int bad; // the lowest number of a damaged entry so far, or n
};

static void damage_work(void *memory, int thread, int n_threads) {
    (void)thread;
    (void)n_threads;
    struct damage_job *job = memory;
    for (int64_t i = team_take(&job->counter); i < job->entries->n; i = team_take(&job->counter)) {
        const struct zip_entry *entry = &job->entries->entries[i];
        if (!entry->used || crc_matches(entry)) continue;
        int lowest = atomic_load(&job->bad);
        while (i < lowest && !atomic_compare_exchange_weak(&job->bad, &lowest, (int)i)) continue;
    }
}

static bool blame_damage(const struct zip_entry *entry, struct llm_error *err) {
    char name[STR_QUOTE_SIZE];
    return error_set(err, LLM_ERROR_FORMAT, "entry %s does not match its checksum: the file is damaged",
                     zip_entry_quote(entry->name, entry->name_size, name));
}

// Reads every byte of the storages in use; entries do not overlap, so the work is bounded by the file's size.
static bool check_storages(const struct zip_entries *entries, struct llm_error *err) {
    size_t total = 0;
    for (int i = 0; i < entries->n; i++) total += entries->entries[i].used ? entries->entries[i].size : 0;
    struct damage_job job = {.entries = entries, .bad = entries->n};
    int n_threads = 0;
    if (!threads_choose(total < PARALLEL_BYTES ? 1 : 0, &n_threads, err)) return false;
    struct team *team = team_new(n_threads, err);
    if (team == NULL) return false;
    team_run(team, damage_work, &job);
    team_free(team);
    const int bad = atomic_load(&job.bad);
    return bad == entries->n || blame_damage(&entries->entries[bad], err);
}

// ---- One file -------------------------------------------------------------------------------

// What people have in place of a zip archive.
static bool check_archive(const uint8_t *bytes, size_t size, struct llm_error *err) {
    if (size >= 4 && memcmp(bytes, "PK\003\004", 4) == 0) return true;
    if (!container_check_foreign(bytes, size, err)) return false;
    if (size >= 2 && bytes[0] == 0x80 && bytes[1] >= 2 && bytes[1] <= 5) {
        return error_set(err, LLM_ERROR_UNSUPPORTED,
                         "is a bare pickle, as PyTorch wrote before version 1.6; write it anew with "
                         "torch.save(torch.load(OLD, weights_only=True), NEW)");
    }
    return error_set(err, LLM_ERROR_FORMAT, "is not a zip archive, as PyTorch's files are");
}

// The state dict's pickle; its entry and the byte order are checked.
static const struct zip_entry *find_pickle(const struct zip_entries *entries, struct llm_error *err) {
    const struct zip_entry *pickle = zip_entries_find(entries, "data.pkl", 8);
    const struct zip_entry *order = zip_entries_find(entries, "byteorder", 9);
    if (pickle == NULL) {
        error_set(err, LLM_ERROR_FORMAT, "is a zip archive without data.pkl, so not a file of PyTorch's");
    } else if (pickle->size > PICKLE_MAX) {
        error_set(err, LLM_ERROR_UNSUPPORTED, "its data.pkl has %zu bytes, at most %d are supported", pickle->size,
                  PICKLE_MAX);
    } else if (!crc_matches(pickle)) {
        blame_damage(pickle, err);
    } else if (order != NULL && (order->size != 6 || memcmp(order->data, "little", 6) != 0)) {
        error_set(err, LLM_ERROR_UNSUPPORTED, "its byteorder is not \"little\"");
    } else {
        return pickle;
    }
    return NULL;
}

// Adds the tensors of one file, which is the newest of the container.
static bool add_file(struct container *container, const uint8_t *bytes, size_t size, struct llm_error *err) {
    struct reading reading = {.container = container};
    if (!check_archive(bytes, size, err) || !zip_entries_read(&reading.entries, bytes, size, err)) return false;
    const struct zip_entry *pickle = find_pickle(&reading.entries, err);
    bool ok = pickle != NULL;
    if (ok && !torch_pickle_read(pickle->data, pickle->size, add_tensor, &reading, err)) {
        error_prefix(err, "data.pkl");
        ok = false;
    }
    ok = ok && check_storages(&reading.entries, err);
    zip_entries_release(&reading.entries);
    return ok;
}

// ---- Open and probe -------------------------------------------------------------------------

static const struct reader reader = {
    .format = torch_zip_format,
    .single_name = "pytorch_model.bin",
    .index_name = "pytorch_model.bin.index.json",
    .add = add_file,
    .finish = container_index,
};

bool torch_zip_named(const char *path) {
    static const char *const endings[] = {".pth", ".pt", ".bin"};
    const size_t size = strlen(path);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        const size_t length = strlen(endings[i]);
        if (size > length && strcmp(path + size - length, endings[i]) == 0) return true;
    }
    return false;
}

bool torch_zip_probe(const char *path) {
    if (directory_exists(path)) return reader_probe_directory(&reader, path);
    return torch_zip_named(path) && path_exists(path);
}

struct container *torch_zip_open(const char *path, struct llm_error *err) {
    return reader_open(&reader, path, err);
}

struct container *torch_zip_parse(const uint8_t *bytes, size_t size, struct llm_error *err) {
    return reader_parse(&reader, bytes, size, err);
}
