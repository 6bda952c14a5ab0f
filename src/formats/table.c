// table.c: see table.h.
#include "formats/table.h"

#include <string.h>

#include "base/crc32c.h"
#include "base/cursor.h"
#include "base/size.h"

enum {
    FOOTER_SIZE = 48,
    TRAILER_SIZE = 5, // of a block: compression type and checksum
};

static const uint64_t footer_magic = 0xdb4775248b80fb57;

struct table {
    const uint8_t *bytes;
    size_t size; // without the footer
    size_t next; // where the next data block must begin
    table_entry_fn *entry;
    void *user;
    char key[TABLE_KEY_MAX + 1]; // the newest key of a data block
    size_t key_size;
    bool any_key;
    bool placed; // the error sentence already says where
};

struct handle {
    uint64_t offset;
    uint64_t size;
};

uint32_t table_unmask_crc(uint32_t masked) {
    const uint32_t rotated = masked - 0xa282ead8;
    return rotated >> 17 | rotated << 15;
}

// A varint without needless zero bytes at its end. The footer has no checksum, so each value must have
// one spelling only for damage to show.
static uint64_t read_shortest(struct cursor *cursor, const char *what) {
    const size_t begin = cursor->offset;
    const uint64_t value = cursor_varint64(cursor, what);
    if (cursor_ok(cursor) && cursor->offset - begin > 1 && cursor->bytes[cursor->offset - 1] == 0) {
        cursor_fail(cursor, "%s is not written in the shortest way", what);
    }
    return value;
}

static struct handle read_handle(struct cursor *cursor) {
    struct handle handle;
    handle.offset = read_shortest(cursor, "block offset");
    handle.size = read_shortest(cursor, "block size");
    return handle;
}

// Checks that the block begins where it must and that its trailer is right; returns its contents.
static const uint8_t *open_block(const struct table *table, struct handle handle, size_t expected,
                                 struct llm_error *err) {
    if (handle.offset != expected) {
        error_set(err, LLM_ERROR_FORMAT, "begins at byte %llu, byte %zu was expected",
                  (unsigned long long)handle.offset, expected);
        return NULL;
    }
    const size_t left = table->size - expected;
    if (left < TRAILER_SIZE || handle.size > left - TRAILER_SIZE) {
        error_set(err, LLM_ERROR_FORMAT, "has %llu bytes, but the table ends at byte %zu",
                  (unsigned long long)handle.size, table->size);
        return NULL;
    }
    const size_t size = (size_t)handle.size;
    struct cursor trailer;
    cursor_init(&trailer, table->bytes + expected + size, TRAILER_SIZE, err);
    const uint8_t compression = cursor_u8(&trailer, "compression");
    const uint32_t stored = table_unmask_crc(cursor_u32(&trailer, "checksum"));
    const uint32_t crc = crc32c(0, table->bytes + expected, size + 1);
    if (crc != stored) {
        error_set(err, LLM_ERROR_FORMAT, "its checksum is %08x, but the file says %08x: it is damaged", crc, stored);
        return NULL;
    }
    if (compression != 0) {
        error_set(err, LLM_ERROR_UNSUPPORTED, "is compressed (%s), only uncompressed ones can be read",
                  compression == 1 ? "Snappy" : "by an unknown method");
        return NULL;
    }
    return table->bytes + expected;
}

static size_t block_end(struct handle handle) {
    return (size_t)(handle.offset + handle.size) + TRAILER_SIZE;
}

// The restart points of a block: a cursor over them, and the size of the entries in front.
static bool open_restarts(const uint8_t *block, size_t size, struct cursor *restarts, size_t *entries_size,
                          struct llm_error *err) {
    if (size < 4) return error_set(err, LLM_ERROR_FORMAT, "has %zu bytes, too few to hold entries", size);
    cursor_init(restarts, block + size - 4, 4, err);
    const uint32_t n = cursor_u32(restarts, "number of restart points");
    if (n == 0 || n > (size - 4) / 4) {
        return error_set(err, LLM_ERROR_FORMAT, "states %u restart points, 1 to %zu were expected", n, (size - 4) / 4);
    }
    *entries_size = size - 4 - 4 * (size_t)n;
    cursor_init(restarts, block + *entries_size, 4 * (size_t)n, err);
    return true;
}

// Called for each entry of one block: the key's shared size, its rest, and the value.
typedef bool block_entry_fn(struct table *table, uint32_t shared, const uint8_t *rest, uint32_t rest_size,
                            const uint8_t *value, uint32_t value_size, struct llm_error *err);

// Reads the entries one after another, and the restart points alongside: each must be an entry's
// beginning and share nothing.
static bool read_block(struct table *table, const uint8_t *block, size_t size, block_entry_fn *entry,
                       struct llm_error *err) {
    struct cursor restarts;
    size_t entries_size = 0;
    if (!open_restarts(block, size, &restarts, &entries_size, err)) return false;
    uint32_t restart = cursor_u32(&restarts, "restart point");
    bool restarts_left = true;
    struct cursor cursor;
    cursor_init(&cursor, block, entries_size, err);
    while (cursor_left(&cursor) > 0) {
        const size_t begin = cursor.offset;
        const uint32_t shared = cursor_varint32(&cursor, "shared key size");
        const uint32_t rest_size = cursor_varint32(&cursor, "key size");
        const uint32_t value_size = cursor_varint32(&cursor, "value size");
        const uint8_t *rest = cursor_take(&cursor, rest_size, "key");
        const uint8_t *value = cursor_take(&cursor, value_size, "value");
        if (!cursor_ok(&cursor)) return false;
        if (begin == 0 && shared != 0) {
            return error_set(err, LLM_ERROR_FORMAT, "its first key shares %u bytes with a key before it", shared);
        }
        if (restarts_left && restart == begin) {
            if (shared != 0) {
                return error_set(err, LLM_ERROR_FORMAT, "the entry at byte %zu, a restart point, shares %u key bytes",
                                 begin, shared);
            }
            restarts_left = cursor_left(&restarts) > 0;
            if (restarts_left) restart = cursor_u32(&restarts, "restart point");
        }
        if (!entry(table, shared, rest, rest_size, value, value_size, err)) return false;
    }
    // A block without entries still has its one restart point at 0.
    if (restarts_left && (entries_size > 0 || restart != 0 || cursor_left(&restarts) > 0)) {
        return error_set(err, LLM_ERROR_FORMAT, "restart point %u is not where an entry begins", restart);
    }
    return true;
}

// An entry of a data block: puts the key together, checks the order, hands it on.
static bool data_entry(struct table *table, uint32_t shared, const uint8_t *rest, uint32_t rest_size,
                       const uint8_t *value, uint32_t value_size, struct llm_error *err) {
    if (shared > table->key_size) {
        return error_set(err, LLM_ERROR_FORMAT, "a key shares %u bytes with the key before it, which has %zu", shared,
                         table->key_size);
    }
    if (rest_size > TABLE_KEY_MAX - shared) {
        return error_set(err, LLM_ERROR_FORMAT, "a key has %llu bytes, at most %d are supported",
                         (unsigned long long)shared + rest_size, TABLE_KEY_MAX);
    }
    // What is shared is equal, so the rests decide.
    const size_t old_size = table->key_size - shared;
    const size_t common = old_size < rest_size ? old_size : rest_size;
    const int order = common == 0 ? 0 : memcmp(rest, table->key + shared, common);
    if (table->any_key && (order < 0 || (order == 0 && rest_size <= old_size))) {
        return error_set(err, LLM_ERROR_FORMAT, "its keys are not in ascending order");
    }
    if (rest_size > 0) memcpy(table->key + shared, rest, rest_size);
    table->key_size = (size_t)shared + rest_size;
    table->key[table->key_size] = '\0';
    table->any_key = true;
    if (table->entry(table->user, table->key, table->key_size, value, value_size, err)) return true;
    table->placed = true; // by the key
    return false;
}

// An entry of the index block: its value is the handle of a data block.
static bool index_entry(struct table *table, uint32_t shared, const uint8_t *rest, uint32_t rest_size,
                        const uint8_t *value, uint32_t value_size, struct llm_error *err) {
    (void)shared; // the key only helps a search; all blocks are read here
    (void)rest;
    (void)rest_size;
    struct cursor cursor;
    cursor_init(&cursor, value, value_size, err);
    const struct handle handle = read_handle(&cursor);
    if (cursor_ok(&cursor) && cursor_left(&cursor) > 0) cursor_fail(&cursor, "bytes follow the block's size");
    bool ok = cursor_ok(&cursor);
    const uint8_t *block = ok ? open_block(table, handle, table->next, err) : NULL;
    ok = block != NULL && read_block(table, block, (size_t)handle.size, data_entry, err);
    if (ok) {
        table->next = block_end(handle);
    } else if (!table->placed) {
        error_prefix(err, "data block at byte %zu", table->next);
        table->placed = true;
    }
    return ok;
}

static bool no_entry(struct table *table, uint32_t shared, const uint8_t *rest, uint32_t rest_size,
                     const uint8_t *value, uint32_t value_size, struct llm_error *err) {
    (void)table, (void)shared, (void)rest, (void)rest_size, (void)value, (void)value_size;
    return error_set(err, LLM_ERROR_UNSUPPORTED, "names a filter or statistics, which are not supported");
}

static bool read_footer(const uint8_t *footer, struct handle *metaindex, struct handle *index, struct llm_error *err) {
    struct cursor magic;
    cursor_init(&magic, footer + FOOTER_SIZE - 8, 8, err);
    const uint64_t found = cursor_u64(&magic, "magic");
    if (found != footer_magic) {
        return error_set(err, LLM_ERROR_FORMAT, "ends in %016llx, a table's last 8 bytes are %016llx",
                         (unsigned long long)found, (unsigned long long)footer_magic);
    }
    struct cursor cursor;
    cursor_init(&cursor, footer, FOOTER_SIZE - 8, err);
    *metaindex = read_handle(&cursor);
    *index = read_handle(&cursor);
    while (cursor_ok(&cursor) && cursor_left(&cursor) > 0) {
        if (cursor_u8(&cursor, "padding") != 0) cursor_fail(&cursor, "the padding is not zero");
    }
    if (!cursor_ok(&cursor)) error_prefix(err, "footer");
    return cursor_ok(&cursor);
}

bool table_read(const uint8_t *bytes, size_t size, table_entry_fn *entry, void *user, struct llm_error *err) {
    if (size < FOOTER_SIZE) {
        return error_set(err, LLM_ERROR_FORMAT, "has %zu bytes, a table ends in a footer of %d", size, FOOTER_SIZE);
    }
    struct table table = {.bytes = bytes, .size = size - FOOTER_SIZE, .entry = entry, .user = user};
    struct handle metaindex = {0};
    struct handle index = {0};
    if (!read_footer(bytes + table.size, &metaindex, &index, err)) return false;

    // The index block lies last, behind the metaindex; both are checked before what they lead to.
    uint64_t metaindex_end = 0;
    if (!size_add(metaindex.offset, metaindex.size, &metaindex_end) || metaindex_end > table.size ||
        table.size - (size_t)metaindex_end < TRAILER_SIZE) {
        return error_set(err, LLM_ERROR_FORMAT, "metaindex block: goes past the end of the table");
    }
    const uint8_t *block = open_block(&table, metaindex, (size_t)metaindex.offset, err);
    if (block == NULL || !read_block(&table, block, (size_t)metaindex.size, no_entry, err)) {
        error_prefix(err, "metaindex block");
        return false;
    }
    block = open_block(&table, index, block_end(metaindex), err);
    if (block != NULL && block_end(index) != table.size) {
        error_set(err, LLM_ERROR_FORMAT, "ends at byte %zu, byte %zu was expected", block_end(index), table.size);
        block = NULL;
    }
    if (block == NULL || !read_block(&table, block, (size_t)index.size, index_entry, err)) {
        if (!table.placed) error_prefix(err, "index block");
        return false;
    }
    return table.next == (size_t)metaindex.offset ||
           error_set(err, LLM_ERROR_FORMAT, "its data blocks end at byte %zu, byte %llu was expected", table.next,
                     (unsigned long long)metaindex.offset);
}
