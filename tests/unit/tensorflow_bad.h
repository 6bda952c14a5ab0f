// tensorflow_bad.h: what the tests of defective TensorFlow checkpoints share: a good checkpoint of one tensor,
// and looking at the sentence that an index gives.
#ifndef TENSORFLOW_BAD_H
#define TENSORFLOW_BAD_H

#include "formats_support.h"

#include "formats/tensorflow.h"
#include "tensorflow_maker.h"

static const uint8_t data[8] = {1, 2, 3, 4, 5, 6, 7, 8};

// Parses an index over one data file of 8 bytes and compares the sentence; "" when it must be read.
static inline void expect_code(struct strbuf *index, enum llm_error_code code, const char *error) {
    const uint8_t *shard = data;
    const size_t shard_size = sizeof data;
    uint8_t *exact = exact_copy(index->bytes, index->size);
    struct llm_error err = {0};
    struct container *container = tensorflow_parse(exact, index->size, &shard, &shard_size, 1, &err);
    assert_error(&err, code, error);
    assert_true((container != NULL) == (*error == '\0'));
    container_free(container);
    free(exact);
    strbuf_release(index);
}

static inline void expect(struct strbuf *index, const char *error) {
    expect_code(index, *error == '\0' ? LLM_OK : LLM_ERROR_FORMAT, error);
}

// A good description of all the data, to be changed in one place.
static inline struct entry_fields good_fields(void) {
    return (struct entry_fields){.dtype = 1, .rank = 1, .shape = {2}, .size = 8, .crc = crc32c(0, data, 8)};
}

static inline struct block block_with_header(void) {
    struct block block = new_block();
    struct strbuf header = header_value(1, 0, 0);
    put_key(&block, "", &header);
    strbuf_release(&header);
    return block;
}

static inline void put_tensor(struct block *block, const char *name, const struct entry_fields *fields) {
    struct strbuf value = entry_value(fields);
    put_key(block, name, &value);
    strbuf_release(&value);
}

static inline struct strbuf table_of(struct block *block) {
    struct strbuf index = new_buffer();
    end_block(block);
    put_table(&index, block, 1, 0);
    return index;
}

static inline struct strbuf index_with(const struct entry_fields *fields) {
    struct block block = block_with_header();
    put_tensor(&block, "a", fields);
    return table_of(&block);
}

#endif
