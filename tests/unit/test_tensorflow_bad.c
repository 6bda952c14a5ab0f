// test_tensorflow_bad.c: hand-made TensorFlow checkpoints whose header or tensor has one defect, right in
// every other respect (checksums included), and the sentence each must give. Defects of the table that
// carries them are in test_tensorflow_table.c.
#include "tensorflow_bad.h"

// ---- Values ---------------------------------------------------------------------------------

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_wrong_entries), cmocka_unit_test(refuses_what_it_does_not_do),
        cmocka_unit_test(refuses_wrong_places),  cmocka_unit_test(refuses_wrong_checksums_of_tensors),
        cmocka_unit_test(refuses_wrong_headers), cmocka_unit_test(refuses_a_missing_header),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
