// torch_zip_entries.c: see torch_zip_entries.h.
//
//     local header, name, extra, data, (descriptor) ... | central directory | zip64 record and locator | end record
//
// Layout and field names: APPNOTE.TXT 6.3.9, sections 4.3.7 to 4.3.16. Nothing may follow the end record, so there is
// one place to look for it and one reading of the file.
#include "formats/torch_zip_entries.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "base/size.h"
#include "base/str.h"

enum {
    END_SIZE = 22,
    LOCATOR_SIZE = 20,
    CENTRAL_SIZE = 46,
    LOCAL_SIZE = 30,
    FLAG_ENCRYPTED = 1,
    FLAG_DESCRIPTOR = 8, // checksum and sizes stand behind the data, and may be 0 in front of it
    EXTRA_ZIP64 = 1,
    NAME_MAX_SIZE = 4096,
};

static const uint32_t local_magic = 0x04034b50;
static const uint32_t central_magic = 0x02014b50;
static const uint32_t end_magic = 0x06054b50;
static const uint32_t end64_magic = 0x06064b50;
static const uint32_t locator_magic = 0x07064b50;

// ---- The end of the archive -----------------------------------------------------------------

// The central directory: where it is and how many entries it has.
struct directory {
    uint64_t n;
    uint64_t size;
    uint64_t offset;
    size_t end; // where it must end
};

// The zip64 record in front of a locator at byte `locator_at`; its numbers count where the end record has no room.
static bool read_end64(const uint8_t *bytes, size_t locator_at, struct directory *directory, struct llm_error *err) {
    struct cursor locator;
    cursor_init(&locator, bytes + locator_at + 4, LOCATOR_SIZE - 4, err);
    cursor_u32(&locator, "disk");
    const uint64_t at = cursor_u64(&locator, "offset");
    const uint32_t n_disks = cursor_u32(&locator, "disks");
    struct cursor record;
    cursor_init(&record, bytes, locator_at, err);
    if (at <= locator_at) record.offset = (size_t)at;
    const uint32_t magic = cursor_left(&record) >= 56 ? cursor_u32(&record, "magic") : 0;
    const uint64_t size = magic == end64_magic ? cursor_u64(&record, "size") : 0;
    if (at > locator_at || n_disks > 1 || size < 44 || size != locator_at - at - 12) {
        return error_set(err, LLM_ERROR_FORMAT, "its zip64 end record is not at byte %llu, where its locator says",
                         (unsigned long long)at);
    }
    cursor_u32(&record, "versions");
    const uint64_t disks = cursor_u64(&record, "disks");
    const uint64_t n_here = cursor_u64(&record, "entries");
    const struct directory wide = {.n = cursor_u64(&record, "entries"),
                                   .size = cursor_u64(&record, "size"),
                                   .offset = cursor_u64(&record, "offset"),
                                   .end = (size_t)at};
    if (disks != 0 || n_here != wide.n || (directory->n != UINT16_MAX && directory->n != wide.n) ||
        (directory->size != UINT32_MAX && directory->size != wide.size) ||
        (directory->offset != UINT32_MAX && directory->offset != wide.offset)) {
        return error_set(err, LLM_ERROR_FORMAT, "its zip64 end record contradicts its end record");
    }
    *directory = wide;
    return true;
}

static bool read_end(const uint8_t *bytes, size_t size, struct directory *directory, struct llm_error *err) {
    struct cursor end;
    cursor_init(&end, bytes, size, err);
    if (size >= END_SIZE) end.offset = size - END_SIZE;
    if (size < END_SIZE || cursor_u32(&end, "magic") != end_magic) {
        return error_set(err, LLM_ERROR_FORMAT,
                         "does not end in a zip archive's end record; it was cut short, or something was added behind");
    }
    const uint32_t disks = cursor_u32(&end, "disks");
    const uint16_t n_here = cursor_u16(&end, "entries");
    directory->n = cursor_u16(&end, "entries");
    directory->size = cursor_u32(&end, "size");
    directory->offset = cursor_u32(&end, "offset");
    directory->end = size - END_SIZE;
    if (disks != 0 || n_here != directory->n || cursor_u16(&end, "comment size") != 0) {
        return error_set(err, LLM_ERROR_UNSUPPORTED, "its end record has a comment or is that of several disks");
    }
    if (directory->end >= LOCATOR_SIZE) {
        struct cursor locator;
        cursor_init(&locator, bytes + directory->end - LOCATOR_SIZE, 4, err);
        if (cursor_u32(&locator, "magic") == locator_magic &&
            !read_end64(bytes, directory->end - LOCATOR_SIZE, directory, err)) {
            return false;
        }
    }
    uint64_t stated = 0;
    if (!size_add(directory->offset, directory->size, &stated) || stated != directory->end) {
        return error_set(err, LLM_ERROR_FORMAT,
                         "states a directory of %llu bytes at byte %llu, which does not end at byte %zu, where its end "
                         "record begins",
                         (unsigned long long)directory->size, (unsigned long long)directory->offset, directory->end);
    }
    if (directory->n > directory->size / CENTRAL_SIZE || directory->n > INT_MAX) {
        return error_set(err, LLM_ERROR_FORMAT, "states %llu entries, more than %llu bytes of directory can hold",
                         (unsigned long long)directory->n, (unsigned long long)directory->size);
    }
    return true;
}

// ---- Headers --------------------------------------------------------------------------------

// What both headers of an entry say about it.
struct header {
    uint16_t flags, method;
    uint32_t crc;
    uint64_t packed_size, size, offset; // offset: of the local header; only the central one has it
    const uint8_t *name, *extra;
    uint16_t name_size, extra_size;
};

// Takes from the zip64 extra field the numbers that had no room, in the order of the standard.
static bool read_extra(struct header *header, struct llm_error *err) {
    uint64_t *const wanted[] = {&header->size, &header->packed_size, &header->offset};
    struct cursor cursor;
    cursor_init(&cursor, header->extra, header->extra_size, err);
    bool found = false;
    while (cursor_left(&cursor) >= 4) {
        const uint16_t id = cursor_u16(&cursor, "extra field");
        const uint16_t size = cursor_u16(&cursor, "extra field");
        const uint8_t *field = cursor_take(&cursor, size, "extra field");
        if (field == NULL) return false;
        if (id != EXTRA_ZIP64) continue;
        if (found) return error_set(err, LLM_ERROR_FORMAT, "has two zip64 fields");
        found = true;
        struct cursor numbers;
        cursor_init(&numbers, field, size, err);
        for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
            if (*wanted[i] == UINT32_MAX) *wanted[i] = cursor_u64(&numbers, "zip64 field");
        }
        if (!cursor_ok(&numbers)) return false;
    }
    return true;
}

// The part that both kinds have, from flags to the sizes of name and extra field.
static void read_common(struct cursor *cursor, struct header *header) {
    cursor_u16(cursor, "version needed");
    header->flags = cursor_u16(cursor, "flags");
    header->method = cursor_u16(cursor, "method");
    cursor_u32(cursor, "time");
    header->crc = cursor_u32(cursor, "checksum");
    header->packed_size = cursor_u32(cursor, "size");
    header->size = cursor_u32(cursor, "size");
    header->name_size = cursor_u16(cursor, "name size");
    header->extra_size = cursor_u16(cursor, "extra size");
}

static bool read_central(struct cursor *cursor, struct header *header) {
    *header = (struct header){0};
    if (cursor_u32(cursor, "directory entry") != central_magic && cursor_ok(cursor)) {
        return cursor_fail(cursor, "a directory entry was expected");
    }
    cursor_u16(cursor, "version made by");
    read_common(cursor, header);
    const uint16_t comment_size = cursor_u16(cursor, "comment size");
    cursor_take(cursor, 8, "attributes");
    header->offset = cursor_u32(cursor, "offset");
    header->name = cursor_take(cursor, header->name_size, "name");
    header->extra = cursor_take(cursor, header->extra_size, "extra field");
    cursor_take(cursor, comment_size, "comment");
    return cursor_ok(cursor);
}

// The local header at header->offset must say the same; gives the place of the data. `end`: where the directory begins.
static bool read_local(const uint8_t *bytes, size_t end, const struct header *central, size_t *data,
                       struct llm_error *err) {
    if (central->offset > end || end - central->offset < LOCAL_SIZE) {
        return error_set(err, LLM_ERROR_FORMAT, "begins at byte %llu, past the last entry",
                         (unsigned long long)central->offset);
    }
    struct cursor cursor;
    cursor_init(&cursor, bytes, end, err);
    cursor.offset = (size_t)central->offset;
    struct header local = {0};
    const uint32_t magic = cursor_u32(&cursor, "local header");
    read_common(&cursor, &local);
    local.name = cursor_take(&cursor, local.name_size, "name");
    local.extra = cursor_take(&cursor, local.extra_size, "extra field");
    if (!cursor_ok(&cursor) || !read_extra(&local, err)) return false;
    const bool late = (local.flags & FLAG_DESCRIPTOR) != 0;
    if (magic != local_magic || local.flags != central->flags || local.method != central->method ||
        local.name_size != central->name_size || memcmp(local.name, central->name, local.name_size) != 0 ||
        (local.crc != central->crc && !(late && local.crc == 0)) ||
        (local.size != central->size && !(late && local.size == 0)) ||
        (local.packed_size != central->packed_size && !(late && local.packed_size == 0))) {
        return error_set(err, LLM_ERROR_FORMAT, "its local header at byte %llu says otherwise than the directory",
                         (unsigned long long)central->offset);
    }
    if (central->size > cursor_left(&cursor)) {
        return error_set(err, LLM_ERROR_FORMAT, "has %llu bytes from byte %zu on, but the directory begins at byte %zu",
                         (unsigned long long)central->size, cursor.offset, end);
    }
    *data = cursor.offset;
    return true;
}

// ---- Entries --------------------------------------------------------------------------------

// A name is a plain path: what a stranger wrote must not lead elsewhere, whoever unpacks it.
static bool check_name(const char *name, size_t size, struct llm_error *err) {
    bool ok = size > 0 && size <= NAME_MAX_SIZE && name[0] != '/' && memchr(name, '\\', size) == NULL &&
              memchr(name, '\0', size) == NULL;
    for (size_t i = 0; ok && i + 1 < size; i++) {
        if (name[i] != '.' || name[i + 1] != '.') continue;
        ok = (i > 0 && name[i - 1] != '/') || (i + 2 < size && name[i + 2] != '/');
    }
    return ok || error_set(err, LLM_ERROR_FORMAT, "its name is not a plain path");
}

static bool read_entry(struct zip_entry *entry, struct header *header, const uint8_t *bytes, size_t end,
                       struct llm_error *err) {
    if (!read_extra(header, err) || !check_name((const char *)header->name, header->name_size, err)) return false;
    if ((header->flags & FLAG_ENCRYPTED) != 0) return error_set(err, LLM_ERROR_UNSUPPORTED, "is encrypted");
    if (header->method != 0) {
        return error_set(err, LLM_ERROR_UNSUPPORTED,
                         "is compressed, as torch.save() never writes it; only stored entries can be used as they lie");
    }
    if (header->packed_size != header->size) {
        return error_set(err, LLM_ERROR_FORMAT, "is stored, yet its sizes differ: %llu and %llu bytes",
                         (unsigned long long)header->packed_size, (unsigned long long)header->size);
    }
    size_t data = 0;
    if (!read_local(bytes, end, header, &data, err)) return false;
    *entry = (struct zip_entry){.name = (const char *)header->name,
                                .name_size = header->name_size,
                                .data = bytes + data,
                                .size = (size_t)header->size,
                                .crc = header->crc,
                                .begin = (size_t)header->offset};
    return true;
}

char *zip_entry_quote(const char *name, size_t size, char out[STR_QUOTE_SIZE]) {
    char text[STR_QUOTE_SIZE];
    snprintf(text, sizeof text, "%.*s", (int)(size < sizeof text ? size : sizeof text), name);
    return str_quote(text, out);
}

// Puts "entry 'x'" in front of the sentence. Always returns false.
static bool blame_entry(const char *name, size_t size, struct llm_error *err) {
    char quoted[STR_QUOTE_SIZE];
    error_prefix(err, "entry %s", zip_entry_quote(name, size, quoted));
    return false;
}

static int compare_places(const void *a, const void *b) {
    const struct zip_entry *x = a;
    const struct zip_entry *y = b;
    return (x->begin > y->begin) - (x->begin < y->begin);
}

static bool check_overlap(struct zip_entries *entries, const uint8_t *bytes, struct llm_error *err) {
    qsort(entries->entries, (size_t)entries->n, sizeof *entries->entries, compare_places);
    for (int i = 1; i < entries->n; i++) {
        const struct zip_entry *before = &entries->entries[i - 1], *entry = &entries->entries[i];
        if (entry->begin >= (size_t)(before->data - bytes) + before->size) continue;
        error_set(err, LLM_ERROR_FORMAT, "begins at byte %zu, inside another entry", entry->begin);
        return blame_entry(entry->name, entry->name_size, err);
    }
    return true;
}

// The folder that all entries lie in, its slash included, is taken off their names.
static bool cut_folder(struct zip_entries *entries, struct llm_error *err) {
    const struct zip_entry *first = &entries->entries[0];
    const char *folder = first->name;
    const char *slash = memchr(folder, '/', first->name_size);
    const size_t size = slash == NULL ? 0 : (size_t)(slash - folder) + 1;
    for (int i = 0; i < entries->n; i++) {
        struct zip_entry *entry = &entries->entries[i];
        if (size == 0 || entry->name_size <= size || memcmp(entry->name, folder, size) != 0) {
            error_set(err, LLM_ERROR_FORMAT, "does not lie in one folder with the others, as in PyTorch's files");
            return blame_entry(entry->name, entry->name_size, err);
        }
        entry->name += size;
        entry->name_size -= size;
    }
    return true;
}

static int compare_name(const char *a, size_t a_size, const char *b, size_t b_size) {
    const int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
    return order != 0 ? order : (a_size > b_size) - (a_size < b_size);
}

static int compare_names(const void *a, const void *b) {
    const struct zip_entry *x = a;
    const struct zip_entry *y = b;
    return compare_name(x->name, x->name_size, y->name, y->name_size);
}

static bool sort_names(struct zip_entries *entries, struct llm_error *err) {
    qsort(entries->entries, (size_t)entries->n, sizeof *entries->entries, compare_names);
    for (int i = 1; i < entries->n; i++) {
        const struct zip_entry *entry = &entries->entries[i];
        if (compare_names(entry - 1, entry) != 0) continue;
        error_set(err, LLM_ERROR_FORMAT, "is there twice");
        return blame_entry(entry->name, entry->name_size, err);
    }
    return true;
}

bool zip_entries_read(struct zip_entries *entries, const uint8_t *bytes, size_t size, struct llm_error *err) {
    *entries = (struct zip_entries){0};
    struct directory directory = {0};
    if (!read_end(bytes, size, &directory, err)) return false;
    if (directory.n == 0) return error_set(err, LLM_ERROR_FORMAT, "is an empty zip archive");
    entries->entries = calloc((size_t)directory.n, sizeof *entries->entries);
    if (entries->entries == NULL) return error_memory(err, "list of entries");
    struct cursor cursor;
    cursor_init(&cursor, bytes, directory.end, err);
    cursor.offset = (size_t)directory.offset;
    bool ok = true;
    while (ok && entries->n < (int)directory.n) {
        struct header header;
        ok = read_central(&cursor, &header);
        if (ok && !read_entry(&entries->entries[entries->n], &header, bytes, (size_t)directory.offset, err)) {
            ok = blame_entry((const char *)header.name, header.name_size, err);
        }
        entries->n += ok;
    }
    if (ok && cursor_left(&cursor) > 0) {
        ok = cursor_fail(&cursor, "%zu bytes follow the last directory entry", cursor_left(&cursor));
    }
    ok = ok && check_overlap(entries, bytes, err) && cut_folder(entries, err) && sort_names(entries, err);
    if (!ok) zip_entries_release(entries);
    return ok;
}

void zip_entries_release(struct zip_entries *entries) {
    free(entries->entries);
    *entries = (struct zip_entries){0};
}

struct zip_entry *zip_entries_find(const struct zip_entries *entries, const char *name, size_t name_size) {
    const struct zip_entry wanted = {.name = name, .name_size = name_size};
    return bsearch(&wanted, entries->entries, (size_t)entries->n, sizeof *entries->entries, compare_names);
}
