// torch_zip_writer.c: writing; see torch_zip.h. The reader is in torch_zip.c.
//
// Every tensor is declared before the first byte of data comes, so the pickle goes first, as torch.save() has it, and
// data streams straight through: checksums stand behind the data, in descriptors. Divisions: declaring; the pickle;
// entries; data; the end of the archive.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/str.h"
#include "formats/builder.h"
#include "formats/torch_zip.h"
#include "formats/writer.h"

enum {
    ALIGNMENT = 64, // of every entry's data, as torch.save() has it
    PICKLE_MAX = 16 << 20,
    DIRECTORY_MAX = 64 << 20,
    NAME_SIZE = 64,
    LOCAL_SIZE = 30,
    EXTRA_HEADER = 4,
    FLAGS = 0x0808,     // checksum behind the data, names in UTF-8
    DATE = 0x21,        // 1 January 1980, the first that zip knows: the same model gives the same bytes
    EXTRA_PAD = 0x4246, // "FB", the field that PyTorch aligns with
    VERSION_64 = 45,    // of the standard that has zip64
};

static const char folder[] = "archive/"; // what torch.save() takes when it knows no file name

struct storage {
    enum dtype dtype;
    size_t size;
};

struct declared {
    struct tensor_view view; // name is owned, data and file unused
    int storage;
};

struct entry {
    char name[NAME_SIZE];
    uint64_t offset, size;
    uint32_t crc;
};

struct torch_zip_writer {
    struct file_writer *file;
    struct declared *tensors; // [n_tensors]
    int n_tensors, tensor_capacity;
    struct storage *storages; // [n_storages]
    int n_storages, storage_capacity;
    struct entry *entries; // [n_entries] those written; the newest may be unfinished
    int n_entries, entry_capacity;
    uint64_t offset; // bytes written
    uint64_t left;   // of the newest entry
    int storage;     // the next one to be written; its entry is open when left > 0
    bool begun, failed;
};

struct torch_zip_writer *torch_zip_writer_new(const char *path, struct llm_error *err) {
    struct torch_zip_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL) {
        error_memory(err, "PyTorch file");
        return NULL;
    }
    writer->file = file_writer_open(path, err);
    if (writer->file != NULL) return writer;
    free(writer);
    return NULL;
}

void torch_zip_writer_free(struct torch_zip_writer *writer) {
    if (writer == NULL) return;
    file_writer_abort(writer->file);
    for (int i = 0; i < writer->n_tensors; i++) free((char *)writer->tensors[i].view.name);
    free(writer->tensors);
    free(writer->storages);
    free(writer->entries);
    free(writer);
}

// ---- Declaring ------------------------------------------------------------------------------

// The number of the storage of a new tensor, or -1.
static int choose_storage(struct torch_zip_writer *writer, const struct tensor_view *view, int shared,
                          struct llm_error *err) {
    if (shared >= 0) {
        const struct declared *other = shared < writer->n_tensors ? &writer->tensors[shared] : NULL;
        if (other != NULL && other->view.dtype == view->dtype && other->view.size == view->size) return other->storage;
        error_set(err, LLM_ERROR_ARGUMENT, "does not fit the tensor that it shares its storage with");
        return -1;
    }
    if (!writer_grow((void **)&writer->storages, writer->n_storages, &writer->storage_capacity,
                     sizeof *writer->storages, err)) {
        return -1;
    }
    writer->storages[writer->n_storages] = (struct storage){view->dtype, view->size};
    return writer->n_storages++;
}

static bool declare(struct torch_zip_writer *writer, const char *name, enum dtype dtype, int rank, const int64_t *shape,
                    int shared, struct llm_error *err) {
    if (writer->begun) return error_set(err, LLM_ERROR_ARGUMENT, "is declared after the first data");
    if (dtype == DTYPE_OTHER || strlen(name) > NAME_SIZE * 4) {
        return error_set(err, LLM_ERROR_ARGUMENT, "has a dtype or name that cannot be written");
    }
    struct tensor_view view = {.dtype = dtype};
    if (!tensor_set_shape(&view, shape, rank, (unsigned)(8 * dtype_info(dtype)->block_bytes), err)) return false;
    if (!writer_grow((void **)&writer->tensors, writer->n_tensors, &writer->tensor_capacity, sizeof *writer->tensors,
                     err)) {
        return false;
    }
    const int storage = choose_storage(writer, &view, shared, err);
    if (storage < 0) return false;
    char *copy = strdup(name);
    if (copy == NULL) return error_memory(err, "tensor name");
    struct declared *tensor = &writer->tensors[writer->n_tensors++];
    *tensor = (struct declared){.view = view, .storage = storage};
    tensor->view.name = copy;
    return true;
}

bool torch_zip_writer_declare(struct torch_zip_writer *writer, const char *name, enum dtype dtype, int rank,
                              const int64_t *shape, int shared, struct llm_error *err) {
    if (declare(writer, name, dtype, rank, shape, shared, err)) return true;
    char quoted[STR_QUOTE_SIZE];
    error_prefix(err, "tensor %s", str_quote(name, quoted));
    writer->failed = true;
    return false;
}

// ---- The pickle -----------------------------------------------------------------------------

// Operations are those of protocol 2, as pickletools.py names them.
static void pickle_text(struct strbuf *out, const char *text) {
    strbuf_append(out, "X", 1); // BINUNICODE
    writer_put_number(out, strlen(text), 4);
    strbuf_puts(out, text);
}

static void pickle_number(struct strbuf *out, int64_t number) {
    if (number <= INT32_MAX) {
        strbuf_append(out, "J", 1); // BININT
        writer_put_number(out, (uint64_t)number, 4);
    } else {
        strbuf_append(out, "\x8a\x08", 2); // LONG1 of 8 bytes
        writer_put_number(out, (uint64_t)number, 8);
    }
}

static void pickle_numbers(struct strbuf *out, const int64_t *numbers, int n) {
    strbuf_append(out, "(", 1); // MARK
    for (int i = 0; i < n; i++) pickle_number(out, numbers[i]);
    strbuf_append(out, "t", 1); // TUPLE
}

static const char *storage_type(enum dtype dtype) {
    switch (dtype) {
    case DTYPE_F16:
        return "HalfStorage";
    case DTYPE_BF16:
        return "BFloat16Storage";
    default:
        return "FloatStorage";
    }
}

// name, _rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())
static void pickle_tensor(struct strbuf *out, const struct declared *tensor) {
    const struct tensor_view *view = &tensor->view;
    int64_t strides[TENSOR_MAX_RANK];
    int64_t step = 1;
    for (int i = view->rank - 1; i >= 0; i--) {
        strides[i] = step;
        step *= view->shape[i];
    }
    char key[16];
    snprintf(key, sizeof key, "%d", tensor->storage);
    pickle_text(out, view->name);
    strbuf_puts(out, "ctorch._utils\n_rebuild_tensor_v2\n(("); // GLOBAL, MARK, MARK
    pickle_text(out, "storage");
    strbuf_printf(out, "ctorch\n%s\n", storage_type(view->dtype));
    pickle_text(out, key);
    pickle_text(out, "cpu");
    pickle_number(out, view->n_elements);
    strbuf_puts(out, "tQ"); // TUPLE, BINPERSID
    pickle_number(out, 0);
    pickle_numbers(out, view->shape, view->rank);
    pickle_numbers(out, strides, view->rank);
    strbuf_puts(out, "\x89"                          // NEWFALSE
                     "ccollections\nOrderedDict\n)R" // GLOBAL, EMPTY_TUPLE, REDUCE
                     "tR");                          // TUPLE, REDUCE
}

static bool write_entry(struct torch_zip_writer *writer, const char *name, const void *bytes, size_t size,
                        struct llm_error *err);

static bool write_pickle(struct torch_zip_writer *writer, struct llm_error *err) {
    struct strbuf out;
    strbuf_init(&out, PICKLE_MAX);
    strbuf_puts(&out, "\x80\x02"
                      "ccollections\nOrderedDict\n)R("); // PROTO 2, an empty dict, MARK
    for (int i = 0; i < writer->n_tensors; i++) pickle_tensor(&out, &writer->tensors[i]);
    strbuf_puts(&out, "u."); // SETITEMS, STOP
    const bool ok = strbuf_ok(&out) ? write_entry(writer, "data.pkl", out.bytes, out.size, err)
                                    : error_memory(err, "pickle of a state dict");
    strbuf_release(&out);
    return ok;
}

// ---- Entries --------------------------------------------------------------------------------

static bool write_bytes(struct torch_zip_writer *writer, const void *bytes, size_t size, struct llm_error *err) {
    writer->offset += size;
    return file_writer_write(writer->file, bytes, size, err);
}

static bool write_buffer(struct torch_zip_writer *writer, struct strbuf *buffer, struct llm_error *err) {
    const bool ok = strbuf_ok(buffer) ? write_bytes(writer, buffer->bytes, buffer->size, err)
                                      : error_memory(err, "directory of a zip archive");
    strbuf_release(buffer);
    return ok;
}

static uint64_t narrow32(uint64_t number) {
    return number < UINT32_MAX ? number : UINT32_MAX;
}

// From "version needed" to the size of the name, the same in both headers. `crc` is 0 in front of the data.
static void put_common(struct strbuf *out, const struct entry *entry, uint32_t crc) {
    writer_put_number(out, VERSION_64, 2);
    writer_put_number(out, FLAGS, 2);
    writer_put_number(out, 0, 2); // stored
    writer_put_number(out, 0, 2); // time
    writer_put_number(out, DATE, 2);
    writer_put_number(out, crc, 4);
    writer_put_number(out, narrow32(entry->size), 4);
    writer_put_number(out, narrow32(entry->size), 4);
    writer_put_number(out, strlen(entry->name), 2);
}

// The zip64 field: what has no room in 32 bits.
static void put_extra64(struct strbuf *out, const struct entry *entry, bool with_offset) {
    const bool wide = entry->size >= UINT32_MAX, far = with_offset && entry->offset >= UINT32_MAX;
    if (!wide && !far) return;
    writer_put_number(out, 1, 2);
    writer_put_number(out, (wide ? 16U : 0U) + (far ? 8U : 0U), 2);
    if (wide) writer_put_number(out, entry->size, 8);
    if (wide) writer_put_number(out, entry->size, 8);
    if (far) writer_put_number(out, entry->offset, 8);
}

// The local header of a new entry of `size` bytes, with a field that moves the data to a multiple of 64.
static bool open_entry(struct torch_zip_writer *writer, const char *name, uint64_t size, struct llm_error *err) {
    if (!writer_grow((void **)&writer->entries, writer->n_entries, &writer->entry_capacity, sizeof *writer->entries,
                     err)) {
        return false;
    }
    struct entry *entry = &writer->entries[writer->n_entries++];
    *entry = (struct entry){.offset = writer->offset, .size = size};
    snprintf(entry->name, sizeof entry->name, "%s%s", folder, name);
    const size_t extra64 = size >= UINT32_MAX ? EXTRA_HEADER + 16 : 0;
    const uint64_t end = writer->offset + LOCAL_SIZE + strlen(entry->name) + extra64 + EXTRA_HEADER;
    const size_t padding = (size_t)(ALIGNMENT - 1 - (end + ALIGNMENT - 1) % ALIGNMENT);
    struct strbuf out;
    strbuf_init(&out, 4096);
    strbuf_append(&out, "PK\3\4", 4);
    put_common(&out, entry, 0);
    writer_put_number(&out, extra64 + EXTRA_HEADER + padding, 2);
    strbuf_puts(&out, entry->name);
    put_extra64(&out, entry, false);
    writer_put_number(&out, EXTRA_PAD, 2);
    writer_put_number(&out, padding, 2);
    for (size_t i = 0; i < padding; i++) strbuf_append(&out, "Z", 1);
    writer->left = size;
    return write_buffer(writer, &out, err);
}

static bool write_into_entry(struct torch_zip_writer *writer, const void *bytes, size_t size, struct llm_error *err) {
    struct entry *entry = &writer->entries[writer->n_entries - 1];
    entry->crc = crc32_zip(entry->crc, bytes, size);
    writer->left -= size;
    return write_bytes(writer, bytes, size, err);
}

static bool close_entry(struct torch_zip_writer *writer, struct llm_error *err) {
    const struct entry *entry = &writer->entries[writer->n_entries - 1];
    const size_t width = entry->size >= UINT32_MAX ? 8 : 4;
    struct strbuf out;
    strbuf_init(&out, 64);
    strbuf_append(&out, "PK\7\10", 4);
    writer_put_number(&out, entry->crc, 4);
    writer_put_number(&out, entry->size, width);
    writer_put_number(&out, entry->size, width);
    return write_buffer(writer, &out, err);
}

static bool write_entry(struct torch_zip_writer *writer, const char *name, const void *bytes, size_t size,
                        struct llm_error *err) {
    return open_entry(writer, name, size, err) && write_into_entry(writer, bytes, size, err) &&
           close_entry(writer, err);
}

// ---- Data -----------------------------------------------------------------------------------

static bool begin(struct torch_zip_writer *writer, struct llm_error *err) {
    writer->begun = true;
    return write_pickle(writer, err) && write_entry(writer, "byteorder", "little", 6, err);
}

static bool open_storage(struct torch_zip_writer *writer, struct llm_error *err) {
    char name[32];
    snprintf(name, sizeof name, "data/%d", writer->storage);
    return open_entry(writer, name, writer->storages[writer->storage].size, err);
}

static bool close_storage(struct torch_zip_writer *writer, struct llm_error *err) {
    writer->storage++;
    return close_entry(writer, err);
}

// Writes the storages without a byte that come next.
static bool skip_empty(struct torch_zip_writer *writer, struct llm_error *err) {
    while (writer->storage < writer->n_storages && writer->storages[writer->storage].size == 0) {
        if (!open_storage(writer, err) || !close_storage(writer, err)) return false;
    }
    return true;
}

static bool write_data(struct torch_zip_writer *writer, const uint8_t *bytes, size_t size, struct llm_error *err) {
    if (!writer->begun && !begin(writer, err)) return false;
    while (size > 0) {
        if (writer->left == 0) {
            if (!skip_empty(writer, err)) return false;
            if (writer->storage == writer->n_storages) {
                return error_set(err, LLM_ERROR_ARGUMENT, "more tensor data was given than was declared");
            }
            if (!open_storage(writer, err)) return false;
        }
        const size_t n = size < writer->left ? size : (size_t)writer->left;
        if (!write_into_entry(writer, bytes, n, err)) return false;
        bytes += n;
        size -= n;
        if (writer->left == 0 && !close_storage(writer, err)) return false;
    }
    return true;
}

bool torch_zip_writer_data(struct torch_zip_writer *writer, const void *bytes, size_t size, struct llm_error *err) {
    if (!writer->failed && !write_data(writer, bytes, size, err)) writer->failed = true;
    return !writer->failed || error_set(err, LLM_ERROR_IO, "writing failed before");
}

// ---- The end of the archive -----------------------------------------------------------------

static bool write_directory(struct torch_zip_writer *writer, struct llm_error *err) {
    struct strbuf out;
    strbuf_init(&out, DIRECTORY_MAX);
    for (int i = 0; i < writer->n_entries; i++) {
        const struct entry *entry = &writer->entries[i];
        struct strbuf extra;
        strbuf_init(&extra, 64);
        put_extra64(&extra, entry, true);
        strbuf_append(&out, "PK\1\2", 4);
        writer_put_number(&out, VERSION_64, 2); // made by
        put_common(&out, entry, entry->crc);
        writer_put_number(&out, extra.size, 2);
        writer_put_number(&out, 0, 2); // comment
        writer_put_number(&out, 0, 8); // disk, attributes
        writer_put_number(&out, narrow32(entry->offset), 4);
        strbuf_puts(&out, entry->name);
        if (extra.size > 0) strbuf_append(&out, extra.bytes, extra.size);
        if (!strbuf_ok(&extra)) out.failed = true;
        strbuf_release(&extra);
    }
    return write_buffer(writer, &out, err);
}

// The zip64 record and its locator, always, as torch.save() has them, and the end record.
static bool write_end(struct torch_zip_writer *writer, uint64_t directory, struct llm_error *err) {
    const uint64_t end = writer->offset, n = (uint64_t)writer->n_entries;
    struct strbuf out;
    strbuf_init(&out, 256);
    strbuf_append(&out, "PK\6\6", 4);
    writer_put_number(&out, 44, 8); // bytes that follow
    writer_put_number(&out, VERSION_64, 2);
    writer_put_number(&out, VERSION_64, 2);
    writer_put_number(&out, 0, 8); // disks
    writer_put_number(&out, n, 8);
    writer_put_number(&out, n, 8);
    writer_put_number(&out, end - directory, 8);
    writer_put_number(&out, directory, 8);
    strbuf_append(&out, "PK\6\7", 4);
    writer_put_number(&out, 0, 4);
    writer_put_number(&out, end, 8);
    writer_put_number(&out, 1, 4); // disks
    strbuf_append(&out, "PK\5\6", 4);
    writer_put_number(&out, 0, 4);
    writer_put_number(&out, n < UINT16_MAX ? n : UINT16_MAX, 2);
    writer_put_number(&out, n < UINT16_MAX ? n : UINT16_MAX, 2);
    writer_put_number(&out, narrow32(end - directory), 4);
    writer_put_number(&out, narrow32(directory), 4);
    writer_put_number(&out, 0, 2); // comment
    return write_buffer(writer, &out, err);
}

static bool finish(struct torch_zip_writer *writer, struct llm_error *err) {
    if (writer->failed) return error_set(err, LLM_ERROR_IO, "writing failed before");
    if ((!writer->begun && !begin(writer, err)) || (writer->left == 0 && !skip_empty(writer, err))) return false;
    if (writer->left > 0 || writer->storage < writer->n_storages) {
        return error_set(err, LLM_ERROR_ARGUMENT, "less tensor data was given than was declared");
    }
    if (!write_entry(writer, "version", "3\n", 2, err)) return false;
    const uint64_t directory = writer->offset;
    if (!write_directory(writer, err) || !write_end(writer, directory, err)) return false;
    struct file_writer *file = writer->file;
    writer->file = NULL;
    return file_writer_commit(file, err);
}

bool torch_zip_writer_finish(struct torch_zip_writer *writer, struct llm_error *err) {
    const bool ok = finish(writer, err);
    torch_zip_writer_free(writer);
    return ok;
}
