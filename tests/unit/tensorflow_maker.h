// tensorflow_maker.h: makes TensorFlow checkpoint indexes piece by piece, good ones and ones with a defect.
//
// Everything is appended to a strbuf. A block is begun with a zeroed struct block, gets entries, and is
// appended to a file with its trailer by put_block(); put_table() does so for whole tables.
#ifndef TENSORFLOW_MAKER_H
#define TENSORFLOW_MAKER_H

#include <stdint.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/str.h"

static inline struct strbuf new_buffer(void) {
    struct strbuf buf;
    strbuf_init(&buf, 1 << 24);
    return buf;
}

static inline void put_number(struct strbuf *buf, uint64_t value, int n_bytes) {
    for (int i = 0; i < n_bytes; i++) {
        const uint8_t byte = (uint8_t)(value >> (8 * i));
        strbuf_append(buf, &byte, 1);
    }
}

static inline void put_varint(struct strbuf *buf, uint64_t value) {
    for (; value >= 0x80; value >>= 7) put_number(buf, (value & 0x7f) | 0x80, 1);
    put_number(buf, value, 1);
}

static inline uint32_t mask_crc(uint32_t crc) {
    return (crc >> 15 | crc << 17) + 0xa282ead8;
}

// ---- Blocks and tables ----------------------------------------------------------------------

struct block {
    struct strbuf bytes; // entries, then restarts
    struct strbuf restarts;
    int n_restarts;
};

static inline struct block new_block(void) {
    return (struct block){.bytes = new_buffer(), .restarts = new_buffer()};
}

// Declares the next entry a restart point.
static inline void put_restart(struct block *block, uint32_t offset) {
    put_number(&block->restarts, offset, 4);
    block->n_restarts++;
}

static inline void put_entry(struct block *block, uint64_t shared, const void *rest, size_t rest_size,
                             const void *value, size_t value_size) {
    if (block->bytes.size == 0) put_restart(block, 0);
    put_varint(&block->bytes, shared);
    put_varint(&block->bytes, rest_size);
    put_varint(&block->bytes, value_size);
    strbuf_append(&block->bytes, rest, rest_size);
    strbuf_append(&block->bytes, value, value_size);
}

static inline void put_key(struct block *block, const char *key, const struct strbuf *value) {
    put_entry(block, 0, key, strlen(key), value->bytes, value->size);
}

// Appends restart points and their number, `n_restarts` as stated.
static inline void end_block_stating(struct block *block, uint32_t n_restarts) {
    strbuf_append(&block->bytes, block->restarts.bytes, block->restarts.size);
    put_number(&block->bytes, n_restarts, 4);
    strbuf_release(&block->restarts);
}

static inline void end_block(struct block *block) {
    if (block->n_restarts == 0) put_restart(block, 0);
    end_block_stating(block, (uint32_t)block->n_restarts);
}

// Appends a finished block's bytes and trailer, and frees the block. Returns its offset; *size is its size.
static inline uint64_t put_block(struct strbuf *file, struct block *block, uint8_t compression, uint64_t *size) {
    const uint64_t offset = file->size;
    *size = block->bytes.size;
    put_number(&block->bytes, compression, 1);
    strbuf_append(file, block->bytes.bytes, block->bytes.size);
    put_number(file, mask_crc(crc32c(0, block->bytes.bytes, block->bytes.size)), 4);
    strbuf_release(&block->bytes);
    return offset;
}

static inline void put_footer(struct strbuf *file, uint64_t metaindex, uint64_t metaindex_size, uint64_t index,
                              uint64_t index_size) {
    const size_t begin = file->size;
    put_varint(file, metaindex);
    put_varint(file, metaindex_size);
    put_varint(file, index);
    put_varint(file, index_size);
    while (file->size < begin + 40) put_number(file, 0, 1);
    put_number(file, 0xdb4775248b80fb57, 8);
}

// What put_table() did; enough to write a footer anew.
struct table_places {
    uint64_t metaindex, metaindex_size, index, index_size;
};

// A table of these finished blocks (freed), of this compression.
static inline struct table_places put_table(struct strbuf *file, struct block *blocks, int n_blocks,
                                            uint8_t compression) {
    struct table_places places;
    struct block index = new_block();
    for (int i = 0; i < n_blocks; i++) {
        uint64_t size = 0;
        const uint64_t offset = put_block(file, &blocks[i], compression, &size);
        struct strbuf handle = new_buffer();
        put_varint(&handle, offset);
        put_varint(&handle, size);
        const char key = (char)('~' - n_blocks + i);
        put_entry(&index, 0, &key, 1, handle.bytes, handle.size);
        strbuf_release(&handle);
    }
    struct block metaindex = new_block();
    end_block(&metaindex);
    places.metaindex = put_block(file, &metaindex, 0, &places.metaindex_size);
    end_block(&index);
    places.index = put_block(file, &index, 0, &places.index_size);
    put_footer(file, places.metaindex, places.metaindex_size, places.index, places.index_size);
    return places;
}

// ---- Protocol buffers -----------------------------------------------------------------------

static inline void put_field(struct strbuf *buf, int number, uint64_t value) {
    put_varint(buf, (uint64_t)number << 3);
    put_varint(buf, value);
}

static inline void put_message(struct strbuf *buf, int number, const struct strbuf *message) {
    put_varint(buf, (uint64_t)number << 3 | 2);
    put_varint(buf, message->size);
    strbuf_append(buf, message->bytes, message->size);
}

// A BundleHeaderProto. min_consumer of its version; 0 is not written, as are the other zeros.
static inline struct strbuf header_value(uint64_t n_shards, uint64_t endianness, uint64_t min_consumer) {
    struct strbuf value = new_buffer();
    struct strbuf version = new_buffer();
    if (n_shards != 0) put_field(&value, 1, n_shards);
    if (endianness != 0) put_field(&value, 2, endianness);
    put_field(&version, 1, 1);
    if (min_consumer != 0) put_field(&version, 2, min_consumer);
    put_message(&value, 3, &version);
    strbuf_release(&version);
    return value;
}

struct entry_fields {
    uint64_t dtype;
    int rank;
    uint64_t shape[9];
    uint64_t shard;
    uint64_t offset;
    uint64_t size;
    uint32_t crc;
    const char *more; // [more_size] fields appended as they are
    size_t more_size;
};

// A BundleEntryProto.
static inline struct strbuf entry_value(const struct entry_fields *fields) {
    struct strbuf value = new_buffer();
    struct strbuf shape = new_buffer();
    for (int i = 0; i < fields->rank; i++) {
        struct strbuf dim = new_buffer();
        if (fields->shape[i] != 0) put_field(&dim, 1, fields->shape[i]);
        put_message(&shape, 2, &dim);
        strbuf_release(&dim);
    }
    put_field(&value, 1, fields->dtype);
    put_message(&value, 2, &shape);
    if (fields->shard != 0) put_field(&value, 3, fields->shard);
    if (fields->offset != 0) put_field(&value, 4, fields->offset);
    if (fields->size != 0) put_field(&value, 5, fields->size);
    put_varint(&value, 6 << 3 | 5);
    put_number(&value, mask_crc(fields->crc), 4);
    if (fields->more_size > 0) strbuf_append(&value, fields->more, fields->more_size);
    strbuf_release(&shape);
    return value;
}

#endif
