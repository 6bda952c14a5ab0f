// table.h: reading a LevelDB table: sorted keys and values in checksummed blocks.
//
//     data block ... | metaindex block | index block | footer, 48 bytes
//     block:  entries, u32 restart offsets, u32 their number; then u8 compression, u32 masked CRC-32C
//     entry:  varint shared, varint rest, varint value size; rest bytes of key; value
//     footer: metaindex handle, index handle (varint offset, varint size), zeros, u64 magic
//
// A key shares its first bytes with the one before it, except at restart points. Source: LevelDB's
// doc/table_format.md and table/block_builder.cc, which TensorFlow took over.
#ifndef FORMATS_TABLE_H
#define FORMATS_TABLE_H

#include "base/error.h"

enum {
    TABLE_KEY_MAX = 512 // bytes; shared beginnings would let a small file ask for any amount of memory
};

// Unmasks a CRC as LevelDB stores it (so that a CRC over data that holds CRCs stays a good one).
uint32_t table_unmask_crc(uint32_t masked);

// One key and its value, valid during the call. The key has a NUL behind.
typedef bool table_entry_fn(void *user, const char *key, size_t key_size, const uint8_t *value, size_t value_size,
                            struct llm_error *err);

// Calls `entry` for every key in ascending order until it returns false. Every block's checksum is checked, blocks
// must fill the file without gap, and nothing proportional to what the file claims is allocated.
bool table_read(const uint8_t *bytes, size_t size, table_entry_fn *entry, void *user, struct llm_error *err);

#endif
