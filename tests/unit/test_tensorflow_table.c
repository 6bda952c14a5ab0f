// test_tensorflow_table.c: indexes of TensorFlow checkpoints whose LevelDB table has one defect, right in every
// other respect (checksums included), and the sentence each must give.
#include "tensorflow_bad.h"

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
