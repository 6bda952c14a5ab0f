// test_tensorflow_bad.c: hand-made TensorFlow checkpoints with one defect each, right in every other
// respect (checksums included), and the sentence each must give.
#include "formats_support.h"

#include "formats/tensorflow.h"
#include "tensorflow_maker.h"

static const uint8_t data[8] = {1, 2, 3, 4, 5, 6, 7, 8};

// Parses an index over one data file of 8 bytes and compares the sentence; "" when it must be read.
static void expect_code(struct strbuf *index, enum llm_error_code code, const char *error) {
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

static void expect(struct strbuf *index, const char *error) {
    expect_code(index, *error == '\0' ? LLM_OK : LLM_ERROR_FORMAT, error);
}

// ---- Values ---------------------------------------------------------------------------------

// A good description of all the data, to be changed in one place.
static struct entry_fields good_fields(void) {
    return (struct entry_fields){.dtype = 1, .rank = 1, .shape = {2}, .size = 8, .crc = crc32c(0, data, 8)};
}

static struct block block_with_header(void) {
    struct block block = new_block();
    struct strbuf header = header_value(1, 0, 0);
    put_key(&block, "", &header);
    strbuf_release(&header);
    return block;
}

static void put_tensor(struct block *block, const char *name, const struct entry_fields *fields) {
    struct strbuf value = entry_value(fields);
    put_key(block, name, &value);
    strbuf_release(&value);
}

static struct strbuf table_of(struct block *block) {
    struct strbuf index = new_buffer();
    end_block(block);
    put_table(&index, block, 1, 0);
    return index;
}

static struct strbuf index_with(const struct entry_fields *fields) {
    struct block block = block_with_header();
    put_tensor(&block, "a", fields);
    return table_of(&block);
}

static void expect_tensor(struct entry_fields fields, const char *error) {
    struct strbuf index = index_with(&fields);
    char sentence[512] = "";
    if (*error != '\0') snprintf(sentence, sizeof sentence, "tensor 'a': %s", error);
    expect(&index, sentence);
}

static void refuses_wrong_entries(void **state) {
    (void)state;
    expect_tensor(good_fields(), "");
#define CASE(change, error)                                                                                            \
    do {                                                                                                               \
        struct entry_fields fields = good_fields();                                                                    \
        change;                                                                                                        \
        expect_tensor(fields, error);                                                                                  \
    } while (0)
    CASE(fields.dtype = 0, "has the unknown dtype number 0");
    CASE(fields.dtype = 20, "has the unknown dtype number 20");
    CASE(fields.dtype = 101, "has the unknown dtype number 101");
    CASE(fields.dtype = UINT64_MAX, "has the unknown dtype number 18446744073709551615");
    CASE(fields.dtype = 2, "states 8 bytes, but DT_DOUBLE of shape [2] needs 16");
    CASE(fields.shape[0] = 3, "states 8 bytes, but DT_FLOAT of shape [3] needs 12");
    CASE(fields.shape[0] = 0, "states 8 bytes, but DT_FLOAT of shape [0] needs 0");
    CASE(fields.rank = 0, "states 8 bytes, but DT_FLOAT of shape [] needs 4");
    CASE(fields.size = 4, "states 4 bytes, but DT_FLOAT of shape [2] needs 8");
    CASE(fields.size = UINT64_MAX, "states 18446744073709551615 bytes, but DT_FLOAT of shape [2] needs 8");
    CASE(fields.shape[0] = UINT64_MAX, "dimension 0 of its shape is -1, which is negative");
    CASE((fields.rank = 2, fields.shape[0] = fields.shape[1] = UINT64_C(1) << 32),
         "shape [4294967296, 4294967296] has more elements than 64-bit sizes can count");
    CASE(fields.shape[0] = UINT64_C(1) << 62,
         "shape [4611686018427387904] has more elements than 64-bit sizes can count");
    CASE(fields.shard = 1, "lies in data file 1, but there are 1 (counted from 0)");
    CASE(fields.shard = UINT64_MAX, "lies in data file 18446744073709551615, but there are 1 (counted from 0)");
    CASE((fields.dtype = 7, fields.size = UINT64_MAX), "states a negative size");
    CASE((fields.more = "\x20", fields.more_size = 1), "at byte 16: number needs 1 bytes, 0 are left");
    CASE((fields.more = "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", fields.more_size = 11),
         "at byte 26: number is a varint of more than 64 bits");
    CASE((fields.more = "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", fields.more_size = 12),
         "at byte 26: number is a varint of more than 64 bits");
    CASE((fields.more = "\x0a\x01\x00", fields.more_size = 3), "at byte 18: field 1 has wire type 2, 0 was expected");
    CASE((fields.more = "\x0b", fields.more_size = 1), "at byte 16: field 1 has the unknown wire type 3");
    CASE((fields.more = "\x02\x00", fields.more_size = 2), "at byte 17: a field has number 0");
    CASE((fields.more = "\x12\x7f", fields.more_size = 2), "at byte 17: field needs 127 bytes, 0 are left");
    CASE((fields.more = "\x12\x02\x18\x01", fields.more_size = 4), "at byte 2: its rank is unknown");
    // What this reader does not know is skipped, as protocol buffers promise.
    CASE((fields.more = "\x7a\x02hi\x78\x05\x79"
                        "12345678"
                        "\x7d"
                        "1234",
          fields.more_size = 20),
         "");
}

static void refuses_what_it_does_not_do(void **state) {
    (void)state;
    struct entry_fields fields = good_fields();
    fields.more = "\x3a\x00";
    fields.more_size = 2;
    struct strbuf index = index_with(&fields);
    expect_code(&index, LLM_ERROR_UNSUPPORTED,
                "tensor 'a': is stored in slices (a partitioned variable), which is not supported");
    fields = good_fields();
    fields.rank = 9;
    for (int i = 0; i < 9; i++) fields.shape[i] = 1;
    index = index_with(&fields);
    expect_code(&index, LLM_ERROR_UNSUPPORTED, "tensor 'a': has 9 dimensions, at most 8 are supported");
}

static void refuses_wrong_places(void **state) {
    (void)state;
    struct entry_fields fields = good_fields();
    fields.offset = 1;
    struct strbuf index = index_with(&fields);
    expect(&index, "tensor 'a' needs 8 bytes from byte 1 on, but this file has 8 bytes");
    fields.offset = UINT64_MAX;
    index = index_with(&fields);
    expect(&index, "tensor 'a' needs 8 bytes from byte 18446744073709551615 on, but this file has 8 bytes");
    fields = (struct entry_fields){.dtype = 1, .offset = 4, .size = 4, .crc = crc32c(0, data + 4, 4)};
    index = index_with(&fields);
    expect(&index, "tensor 'a' begins at byte 4 of the data, byte 0 was expected");
    fields = (struct entry_fields){.dtype = 1, .size = 4, .crc = crc32c(0, data, 4)};
    index = index_with(&fields);
    expect(&index, "has 8 bytes of data, but its tensors end at byte 4");

    fields = good_fields();
    struct block block = block_with_header();
    put_tensor(&block, "a", &fields);
    put_tensor(&block, "b", &fields);
    index = table_of(&block);
    expect(&index, "tensor 'b' overlaps tensor 'a'");
}

static void refuses_wrong_checksums_of_tensors(void **state) {
    (void)state;
    struct entry_fields fields = good_fields();
    fields.crc ^= 1;
    struct strbuf index = index_with(&fields);
    expect(&index, "tensor 'a' does not match its checksum: the file is damaged");
    // Strings whose sizes do not add up: the data begins with sizes 1, 2 and goes on otherwise.
    fields = good_fields();
    fields.dtype = 7;
    index = index_with(&fields);
    expect(&index, "tensor 'a' does not match its checksum: the file is damaged");
    fields.shape[0] = UINT64_C(1) << 60;
    index = index_with(&fields);
    expect(&index, "tensor 'a' does not match its checksum: the file is damaged");
}

// ---- The header -----------------------------------------------------------------------------

static void expect_header(struct strbuf header, enum llm_error_code code, const char *error) {
    struct block block = new_block();
    struct entry_fields fields = good_fields();
    put_key(&block, "", &header);
    put_tensor(&block, "a", &fields);
    strbuf_release(&header);
    struct strbuf index = table_of(&block);
    expect_code(&index, code, error);
}

static void refuses_wrong_headers(void **state) {
    (void)state;
    expect_header(header_value(1, 0, 1), LLM_OK, "");
    expect_header(header_value(0, 0, 0), LLM_ERROR_FORMAT, "header: states 0 data files, 1 to 1024 were expected");
    expect_header(header_value(2, 0, 0), LLM_ERROR_FORMAT, "states 2 data files, but there are 1");
    expect_header(header_value(1025, 0, 0), LLM_ERROR_FORMAT,
                  "header: states 1025 data files, 1 to 1024 were expected");
    expect_header(header_value(UINT64_MAX, 0, 0), LLM_ERROR_FORMAT,
                  "header: states 18446744073709551615 data files, 1 to 1024 were expected");
    expect_header(header_value(1, 1, 0), LLM_ERROR_UNSUPPORTED,
                  "header: its numbers are big-endian, which is not supported");
    expect_header(header_value(1, 0, 2), LLM_ERROR_UNSUPPORTED,
                  "header: needs a reader of version 2, this one has version 1");
    struct strbuf cut = header_value(1, 0, 0);
    cut.size--;
    expect_header(cut, LLM_ERROR_FORMAT, "header: at byte 4: field needs 2 bytes, 1 are left");
}

static void refuses_a_missing_header(void **state) {
    (void)state;
    struct block block = new_block();
    struct entry_fields fields = good_fields();
    put_tensor(&block, "a", &fields);
    struct strbuf index = table_of(&block);
    expect(&index, "does not begin with a header, so it is not the index of a checkpoint");
    block = new_block();
    index = table_of(&block);
    expect(&index, "has no header, its table is empty");
    index = new_buffer();
    put_table(&index, NULL, 0, 0);
    expect(&index, "has no header, its table is empty");
}

// ---- Keys -----------------------------------------------------------------------------------

#define IN_BLOCK "data block at byte 0: "

static void put_raw(struct block *block, uint64_t shared, const char *rest, size_t rest_size) {
    const struct entry_fields fields = {.dtype = 1, .size = 4};
    struct strbuf value = entry_value(&fields);
    put_entry(block, shared, rest, rest_size, value.bytes, value.size);
    strbuf_release(&value);
}

static void refuses_wrong_keys(void **state) {
    (void)state;
    static char long_key[1025];
    memset(long_key, 'k', sizeof long_key - 1);
    const struct {
        uint64_t shared;
        const char *rest;
        size_t rest_size;
        const char *error;
    } cases[] = {
        {0, "b", 1, IN_BLOCK "its keys are not in ascending order"},
        {0, "a", 1, IN_BLOCK "its keys are not in ascending order"},
        {0, "", 0, IN_BLOCK "its keys are not in ascending order"},
        {1, "", 0, IN_BLOCK "its keys are not in ascending order"},
        {2, "", 0, IN_BLOCK "its keys are not in ascending order"},
        {3, "c", 1, IN_BLOCK "a key shares 3 bytes with the key before it, which has 2"},
        {UINT32_MAX, "c", 1, IN_BLOCK "a key shares 4294967295 bytes with the key before it, which has 2"},
        {UINT64_C(1) << 32, "c", 1, IN_BLOCK "at byte 30: shared key size is a varint of more than 32 bits"},
        {0, long_key, 513, IN_BLOCK "a key has 513 bytes, at most 512 are supported"},
        {1, long_key, 512, IN_BLOCK "a key has 513 bytes, at most 512 are supported"},
        {0, "c\0d", 3, "a tensor's name holds a NUL byte"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct block block = block_with_header();
        put_raw(&block, 0, "bb", 2);
        put_raw(&block, cases[i].shared, cases[i].rest, cases[i].rest_size);
        struct strbuf index = table_of(&block);
        expect(&index, cases[i].error);
    }
    struct block block = block_with_header();
    put_raw(&block, 0, "\0\1", 2);
    struct strbuf index = table_of(&block);
    expect_code(&index, LLM_ERROR_UNSUPPORTED,
                "holds slices of tensors (partitioned variables), which are not supported");

    // Order holds across blocks as well, and a block's first key stands alone.
    const struct entry_fields fields = {.dtype = 1, .size = 4};
    struct block two[2] = {block_with_header(), new_block()};
    put_tensor(&two[0], "b", &fields);
    put_tensor(&two[1], "a", &fields);
    end_block(&two[0]);
    end_block(&two[1]);
    index = new_buffer();
    put_table(&index, two, 2, 0);
    expect(&index, "data block at byte 37: its keys are not in ascending order");
    two[0] = block_with_header();
    two[1] = new_block();
    put_tensor(&two[0], "b", &fields);
    put_raw(&two[1], 1, "b", 1);
    end_block(&two[0]);
    end_block(&two[1]);
    index = new_buffer();
    put_table(&index, two, 2, 0);
    expect(&index, "data block at byte 37: its first key shares 1 bytes with a key before it");
}

// ---- Blocks ---------------------------------------------------------------------------------

static void refuses_wrong_entry_sizes(void **state) {
    (void)state;
    struct block block = block_with_header();
    strbuf_append(&block.bytes, "\0\1\4a123", 7);
    struct strbuf index = table_of(&block);
    expect(&index, IN_BLOCK "at byte 13: value needs 4 bytes, 3 are left");
    block = block_with_header();
    strbuf_append(&block.bytes, "\0\5\1abcd", 7);
    index = table_of(&block);
    expect(&index, IN_BLOCK "at byte 12: key needs 5 bytes, 4 are left");
    block = block_with_header();
    strbuf_append(&block.bytes, "\0\xff\xff\xff\xff\xff\xff", 7);
    index = table_of(&block);
    expect(&index, IN_BLOCK "at byte 15: key size is a varint of more than 32 bits");
    block = block_with_header();
    strbuf_append(&block.bytes, "\0", 1);
    index = table_of(&block);
    expect(&index, IN_BLOCK "at byte 10: key size needs 1 bytes, 0 are left");
}

// The good block with these restart points (none: as they are) and their number as stated.
static void expect_restarts(const uint32_t *restarts, int n, uint32_t stated, const char *error) {
    struct block block = block_with_header();
    struct entry_fields fields = good_fields();
    put_tensor(&block, "a", &fields);
    strbuf_clear(&block.restarts);
    for (int i = 0; i < n; i++) put_number(&block.restarts, restarts[i], 4);
    end_block_stating(&block, stated);
    struct strbuf index = new_buffer();
    put_table(&index, &block, 1, 0);
    expect(&index, error);
}

static void refuses_wrong_restart_points(void **state) {
    (void)state;
    // The header's entry has 9 bytes, the tensor's 19.
    expect_restarts((uint32_t[]){0}, 1, 1, "");
    expect_restarts((uint32_t[]){0, 9}, 2, 2, "");
    expect_restarts((uint32_t[]){9}, 1, 1, "");
    expect_restarts(NULL, 0, 0, IN_BLOCK "states 0 restart points, 1 to 7 were expected");
    expect_restarts((uint32_t[]){0}, 1, 9, IN_BLOCK "states 9 restart points, 1 to 8 were expected");
    expect_restarts((uint32_t[]){0}, 1, UINT32_MAX, IN_BLOCK "states 4294967295 restart points, 1 to 8 were expected");
    expect_restarts((uint32_t[]){1}, 1, 1, IN_BLOCK "restart point 1 is not where an entry begins");
    expect_restarts((uint32_t[]){0, 8}, 2, 2, IN_BLOCK "restart point 8 is not where an entry begins");
    expect_restarts((uint32_t[]){9, 0}, 2, 2, IN_BLOCK "restart point 0 is not where an entry begins");
    expect_restarts((uint32_t[]){0, 0}, 2, 2, IN_BLOCK "restart point 0 is not where an entry begins");
    expect_restarts((uint32_t[]){28}, 1, 1, IN_BLOCK "restart point 28 is not where an entry begins");
    expect_restarts((uint32_t[]){UINT32_MAX}, 1, 1, IN_BLOCK "restart point 4294967295 is not where an entry begins");

    struct block block = block_with_header();
    put_raw(&block, 0, "aa", 2);
    put_restart(&block, (uint32_t)block.bytes.size);
    put_raw(&block, 1, "b", 1);
    struct strbuf index = table_of(&block);
    expect(&index, IN_BLOCK "the entry at byte 25, a restart point, shares 1 key bytes");
}

static void refuses_compressed_and_damaged_blocks(void **state) {
    (void)state;
    for (uint8_t compression = 1; compression < 4; compression++) {
        struct block block = block_with_header();
        end_block(&block);
        struct strbuf index = new_buffer();
        put_table(&index, &block, 1, compression);
        expect_code(&index, LLM_ERROR_UNSUPPORTED,
                    compression == 1 ? IN_BLOCK "is compressed (Snappy), only uncompressed ones can be read"
                                     : IN_BLOCK
                        "is compressed (by an unknown method), only uncompressed ones can be read");
    }
    struct entry_fields fields = good_fields();
    struct strbuf index = index_with(&fields);
    index.bytes[3] ^= 1;
    uint8_t *exact = exact_copy(index.bytes, index.size);
    struct llm_error err = {0};
    assert_null(tensorflow_parse(exact, index.size, NULL, NULL, 0, &err));
    assert_int_equal(strncmp(err.text, IN_BLOCK "its checksum is ", strlen(IN_BLOCK "its checksum is ")), 0);
    assert_non_null(strstr(err.text, ": it is damaged"));
    free(exact);
    strbuf_release(&index);
}

static void refuses_blocks_too_small(void **state) {
    (void)state;
    struct block block = new_block();
    strbuf_append(&block.bytes, "\0\0\0", 3);
    strbuf_release(&block.restarts);
    struct strbuf index = new_buffer();
    put_table(&index, &block, 1, 0);
    expect(&index, IN_BLOCK "has 3 bytes, too few to hold entries");
}

// ---- The table ------------------------------------------------------------------------------

// The good table with its index block's one handle replaced.
static void expect_handle(const char *handle, size_t size, const char *error) {
    struct block block = block_with_header();
    struct entry_fields fields = good_fields();
    put_tensor(&block, "a", &fields);
    end_block(&block);
    struct strbuf index = new_buffer();
    const struct table_places places = put_table(&index, &block, 1, 0);
    index.size = places.index;
    struct block handles = new_block();
    put_entry(&handles, 0, "b", 1, handle, size);
    end_block(&handles);
    uint64_t index_size = 0;
    put_block(&index, &handles, 0, &index_size);
    put_footer(&index, places.metaindex, places.metaindex_size, places.index, index_size);
    expect(&index, error);
}

static void refuses_wrong_handles(void **state) {
    (void)state;
    // The data block has 36 bytes and a trailer of 5; the metaindex block 8 and 5.
    expect_handle("\x00\x24", 2, "");
    expect_handle("\x01\x24", 2, IN_BLOCK "begins at byte 1, byte 0 was expected");
    expect_handle("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x24", 11,
                  IN_BLOCK "begins at byte 18446744073709551615, byte 0 was expected");
    expect_handle("\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11,
                  IN_BLOCK "has 18446744073709551615 bytes, but the table ends at byte 82");
    expect_handle("\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 11,
                  IN_BLOCK "at byte 11: block size is a varint of more than 64 bits");
    expect_handle("\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12,
                  IN_BLOCK "at byte 11: block size is a varint of more than 64 bits");
    expect_handle("\x00\xa4\x00", 3, IN_BLOCK "at byte 3: block size is not written in the shortest way");
    expect_handle("\x00", 1, IN_BLOCK "at byte 1: block size needs 1 bytes, 0 are left");
    expect_handle("\x00\x24\x00", 3, IN_BLOCK "at byte 2: bytes follow the block's size");
}

static void refuses_data_blocks_that_leave_a_gap(void **state) {
    (void)state;
    struct block blocks[2] = {block_with_header(), new_block()};
    struct strbuf index = new_buffer();
    end_block(&blocks[0]);
    end_block(&blocks[1]);
    // Both blocks are there, the index leads to the first one only.
    uint64_t size = 0;
    put_block(&index, &blocks[0], 0, &size);
    const char handle[2] = {0, (char)size};
    put_block(&index, &blocks[1], 0, &size);
    struct block metaindex = new_block();
    end_block(&metaindex);
    const uint64_t metaindex_at = put_block(&index, &metaindex, 0, &size);
    struct block handles = new_block();
    put_entry(&handles, 0, "b", 1, handle, 2);
    end_block(&handles);
    uint64_t handles_size = 0;
    const uint64_t handles_at = put_block(&index, &handles, 0, &handles_size);
    put_footer(&index, metaindex_at, size, handles_at, handles_size);
    expect(&index, "its data blocks end at byte 22, byte 35 was expected");
}

static void refuses_filters(void **state) {
    (void)state;
    struct block metaindex = new_block();
    put_entry(&metaindex, 0, "filter.x", 8, "\0\0", 2);
    end_block(&metaindex);
    struct strbuf index = new_buffer();
    uint64_t size = 0;
    put_block(&index, &metaindex, 0, &size);
    put_footer(&index, 0, size, index.size, 8);
    expect_code(&index, LLM_ERROR_UNSUPPORTED,
                "metaindex block: names a filter or statistics, which are not supported");
}

// The good table (metaindex of 8 bytes at 41, index of 14 at 54, end 73) with another footer.
static void expect_footer(uint64_t metaindex, uint64_t metaindex_size, uint64_t handles, uint64_t handles_size,
                          const char *error) {
    struct entry_fields fields = good_fields();
    struct strbuf index = index_with(&fields);
    index.size -= 48;
    put_footer(&index, metaindex, metaindex_size, handles, handles_size);
    expect(&index, error);
}

static void refuses_wrong_footers(void **state) {
    (void)state;
    expect_footer(41, 8, 54, 14, "");
    expect_footer(73, 8, 54, 14, "metaindex block: goes past the end of the table");
    expect_footer(41, UINT64_MAX, 54, 14, "metaindex block: goes past the end of the table");
    expect_footer(UINT64_MAX, 8, 54, 14, "metaindex block: goes past the end of the table");
    expect_footer(0, 73, 54, 14, "metaindex block: goes past the end of the table");
    expect_footer(41, 8, 55, 14, "index block: begins at byte 55, byte 54 was expected");
    expect_footer(41, 8, 54, 15, "index block: has 15 bytes, but the table ends at byte 73");
    expect_footer(41, 8, 54, UINT64_MAX, "index block: has 18446744073709551615 bytes, but the table ends at byte 73");

    struct entry_fields fields = good_fields();
    struct strbuf index = index_with(&fields);
    index.bytes[index.size - 20] = 1;
    expect(&index, "footer: at byte 29: the padding is not zero");
    index = index_with(&fields);
    index.bytes[index.size - 1] = 0;
    expect(&index, "ends in 004775248b80fb57, a table's last 8 bytes are db4775248b80fb57");
    index = new_buffer();
    strbuf_puts(&index, "short");
    expect(&index, "has 5 bytes, a table ends in a footer of 48");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_wrong_entries),
        cmocka_unit_test(refuses_what_it_does_not_do),
        cmocka_unit_test(refuses_wrong_places),
        cmocka_unit_test(refuses_wrong_checksums_of_tensors),
        cmocka_unit_test(refuses_wrong_headers),
        cmocka_unit_test(refuses_a_missing_header),
        cmocka_unit_test(refuses_wrong_keys),
        cmocka_unit_test(refuses_wrong_entry_sizes),
        cmocka_unit_test(refuses_wrong_restart_points),
        cmocka_unit_test(refuses_compressed_and_damaged_blocks),
        cmocka_unit_test(refuses_blocks_too_small),
        cmocka_unit_test(refuses_wrong_handles),
        cmocka_unit_test(refuses_data_blocks_that_leave_a_gap),
        cmocka_unit_test(refuses_filters),
        cmocka_unit_test(refuses_wrong_footers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
