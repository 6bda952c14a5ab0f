// test_gguf.c: GGUF files made by hand, each with one defect, and the sentence it must give; what is written, read
// again. Files made by llama.cpp's own package are opened in test_forward.c.
#include "formats_support.h"

#include "base/str.h"
#include "formats/gguf.h"

// ---- Making files ---------------------------------------------------------------------------

static void put(struct strbuf *out, uint64_t number, int n_bytes) {
    for (int b = 0; b < n_bytes; b++) strbuf_append(out, &(char){(char)(b < 8 ? number >> (8 * b) : 0)}, 1);
}

static void put_text(struct strbuf *out, const char *text) {
    put(out, strlen(text), 8);
    strbuf_puts(out, text);
}

// What a file states; zero: as it should be.
struct parts {
    const char *magic;
    uint32_t version;
    uint64_t n_tensors, n_entries; // when not 0
    struct strbuf entries;         // n_put of them
    uint64_t n_put;
    struct strbuf tensors; // likewise
    uint64_t n_tensors_put;
    size_t data; // bytes, zeros
    bool unpadded;
};

static struct parts parts_new(void) {
    struct parts parts = {.magic = "GGUF", .version = 3};
    strbuf_init(&parts.entries, 1 << 20);
    strbuf_init(&parts.tensors, 1 << 20);
    return parts;
}

static struct strbuf *entry(struct parts *parts, const char *key, uint32_t type) {
    put_text(&parts->entries, key);
    put(&parts->entries, type, 4);
    parts->n_put++;
    return &parts->entries;
}

static void entry_u32(struct parts *parts, const char *key, uint32_t value) {
    put(entry(parts, key, GGUF_U32), value, 4);
}

static void tensor(struct parts *parts, const char *name, uint32_t n_dims, const uint64_t *dims, uint32_t type,
                   uint64_t offset) {
    put_text(&parts->tensors, name);
    put(&parts->tensors, n_dims, 4);
    for (uint32_t i = 0; i < n_dims && i < 8; i++) put(&parts->tensors, dims[i], 8);
    put(&parts->tensors, type, 4);
    put(&parts->tensors, offset, 8);
    parts->n_tensors_put++;
}

static struct strbuf file_of(struct parts *parts) {
    struct strbuf file;
    strbuf_init(&file, 1 << 20);
    strbuf_append(&file, parts->magic, 4);
    put(&file, parts->version, 4);
    put(&file, parts->n_tensors != 0 ? parts->n_tensors : parts->n_tensors_put, 8);
    put(&file, parts->n_entries != 0 ? parts->n_entries : parts->n_put, 8);
    if (parts->entries.size > 0) strbuf_append(&file, parts->entries.bytes, parts->entries.size);
    if (parts->tensors.size > 0) strbuf_append(&file, parts->tensors.bytes, parts->tensors.size);
    while (!parts->unpadded && file.size % 32 != 0) put(&file, 0, 1);
    for (size_t i = 0; i < parts->data; i++) put(&file, 0, 1);
    strbuf_release(&parts->entries);
    strbuf_release(&parts->tensors);
    return file;
}

static void expect_bytes(const struct strbuf *file, enum llm_error_code code, const char *sentence) {
    uint8_t *exact = exact_copy(file->bytes, file->size);
    struct llm_error err = {0};
    struct container *container = gguf_parse(exact, file->size, &err);
    assert_error(&err, code, sentence);
    assert_true((container != NULL) == (*sentence == '\0'));
    container_free(container);
    free(exact);
}

static void expect_code(struct parts *parts, enum llm_error_code code, const char *sentence) {
    struct strbuf file = file_of(parts);
    expect_bytes(&file, code, sentence);
    strbuf_release(&file);
}

static void expect(struct parts *parts, const char *sentence) {
    expect_code(parts, *sentence == '\0' ? LLM_OK : LLM_ERROR_FORMAT, sentence);
}

// A good file of two tensors and an entry of each type.
static struct parts good_parts(void) {
    struct parts parts = parts_new();
    put(entry(&parts, "u8", GGUF_U8), 200, 1);
    put(entry(&parts, "i8", GGUF_I8), 200, 1);
    put(entry(&parts, "u16", GGUF_U16), 60000, 2);
    put(entry(&parts, "i16", GGUF_I16), 60000, 2);
    put(entry(&parts, "u32", GGUF_U32), 4000000000, 4);
    put(entry(&parts, "i32", GGUF_I32), 4000000000, 4);
    put(entry(&parts, "f32", GGUF_F32), 0x3fc00000, 4);
    put(entry(&parts, "bool", GGUF_BOOL), 1, 1);
    put_text(entry(&parts, "string", GGUF_STRING), "text");
    put(entry(&parts, "u64", GGUF_U64), INT64_MAX, 8);
    put(entry(&parts, "i64", GGUF_I64), (uint64_t)-5, 8);
    put(entry(&parts, "f64", GGUF_F64), 0xbff8000000000000, 8);
    struct strbuf *array = entry(&parts, "numbers", GGUF_ARRAY);
    put(array, GGUF_I16, 4);
    put(array, 2, 8);
    put(array, 7, 2);
    put(array, 8, 2);
    array = entry(&parts, "strings", GGUF_ARRAY);
    put(array, GGUF_STRING, 4);
    put(array, 2, 8);
    put_text(array, "a");
    put_text(array, "");
    tensor(&parts, "b", 2, (uint64_t[]){2, 3}, 0, 0);
    tensor(&parts, "a", 1, (uint64_t[]){64}, 2, 32);
    parts.data = 32 + 64;
    return parts;
}

// ---- Reading --------------------------------------------------------------------------------

static void reads_every_type(void **state) {
    (void)state;
    struct parts parts = good_parts();
    struct strbuf file = file_of(&parts);
    struct llm_error err = {0};
    struct container *container = gguf_parse((const uint8_t *)file.bytes, file.size, &err);
    if (container == NULL) fail_msg("%s", err.text);
    static const struct {
        const char *key;
        int64_t value;
    } numbers[] = {{"u8", 200},    {"i8", -56},         {"u16", 60000},
                   {"i16", -5536}, {"u32", 4000000000}, {"i32", 4000000000 - (INT64_C(1) << 32)},
                   {"bool", 1},    {"u64", INT64_MAX},  {"i64", -5}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        assert_int_equal(gguf_find(container, numbers[i].key)->integer, numbers[i].value);
    }
    assert_true(gguf_find(container, "f32")->real == 1.5);
    assert_true(gguf_find(container, "f64")->real == -1.5);
    assert_memory_equal(gguf_find(container, "string")->data, "text", 4);
    const struct gguf_value *array = gguf_find(container, "numbers");
    assert_true(array->type == GGUF_ARRAY && array->element == GGUF_I16 && array->n == 2 && array->size == 4);
    array = gguf_find(container, "strings");
    assert_true(array->element == GGUF_STRING && array->n == 2 && array->size == 17);
    assert_null(gguf_find(container, "none"));
    const struct tensor_view *b = container_find(container, "b"), *a = container_find(container, "a");
    assert_true(b->rank == 2 && b->shape[0] == 3 && b->shape[1] == 2 && b->dtype == DTYPE_F32 && b->size == 24);
    assert_true(a->rank == 1 && a->shape[0] == 64 && a->dtype == DTYPE_Q4_0 && a->size == 36 && a->n_elements == 64);
    assert_ptr_equal(a->data, b->data + 32);
    container_free(container);
    strbuf_release(&file);
}

static void version_2_and_another_alignment(void **state) {
    (void)state;
    struct parts parts = good_parts();
    parts.version = 2;
    expect(&parts, "");
    parts = parts_new();
    entry_u32(&parts, "general.alignment", 8);
    tensor(&parts, "a", 1, (uint64_t[]){1}, 0, 0);
    tensor(&parts, "b", 1, (uint64_t[]){1}, 0, 8);
    parts.data = 12; // the last one may go without padding
    expect(&parts, "");
    parts = parts_new(); // neither tensors nor metadata
    expect(&parts, "");
}

static void every_beginning_of_a_file_is_refused(void **state) {
    (void)state;
    struct parts parts = good_parts();
    struct strbuf file = file_of(&parts);
    for (size_t size = 0; size < file.size - 28; size++) { // the last tensor's padding need not be there
        uint8_t *exact = exact_copy(file.bytes, size);
        struct llm_error err = {0};
        assert_null(gguf_parse(exact, size, &err));
        assert_true(err.code != LLM_OK && err.text[0] != '\0');
        free(exact);
    }
    strbuf_release(&file);
}

// Any change of a byte is refused with a sentence or gives a file whose tensors lie in it.
static void every_change_of_a_byte_is_refused_or_harmless(void **state) {
    (void)state;
    struct parts parts = good_parts();
    struct strbuf file = file_of(&parts);
    const size_t header = file.size - 96;
    for (size_t at = 0; at < header; at++) {
        for (int change = 1; change < 256; change += change < 4 ? 1 : 63) {
            uint8_t *exact = exact_copy(file.bytes, file.size);
            exact[at] ^= (uint8_t)change;
            struct llm_error err = {0};
            struct container *container = gguf_parse(exact, file.size, &err);
            assert_true((container == NULL) == (err.code != LLM_OK));
            for (int i = 0; container != NULL && i < container->n_tensors; i++) {
                const struct tensor_view *view = &container->tensors[i];
                assert_true(view->data >= exact && view->size <= file.size);
                assert_true(view->data + view->size <= exact + file.size);
            }
            container_free(container);
            free(exact);
        }
    }
    strbuf_release(&file);
}

// ---- Defects --------------------------------------------------------------------------------

#define WITH(change, sentence)                                                                                         \
    do {                                                                                                               \
        struct parts parts = parts_new();                                                                              \
        change;                                                                                                        \
        expect(&parts, sentence);                                                                                      \
    } while (0)

static void refuses_wrong_headers(void **state) {
    (void)state;
    WITH(parts.magic = "GGML", "does not begin with \"GGUF\"");
    WITH(parts.magic = "gguf", "does not begin with \"GGUF\"");
    static const struct {
        uint32_t version;
        const char *sentence;
    } versions[] = {{0, "is GGUF version 0; 2 and 3 are supported"},
                    {1, "is GGUF version 1; 2 and 3 are supported"},
                    {4, "is GGUF version 4; 2 and 3 are supported"},
                    {UINT32_MAX, "is GGUF version 4294967295; 2 and 3 are supported"},
                    {3u << 24, "is GGUF version 50331648 (a big-endian file?); 2 and 3 are supported"}};
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        struct parts parts = parts_new();
        parts.version = versions[i].version;
        expect_code(&parts, LLM_ERROR_UNSUPPORTED, versions[i].sentence);
    }
    WITH(parts.n_tensors = UINT64_MAX, "states 18446744073709551615 tensors, but only 8 bytes follow");
    WITH(parts.n_entries = UINT64_MAX, "states 18446744073709551615 metadata entries, but only 8 bytes follow");
    WITH((parts.n_entries = UINT64_C(1) << 60), "states 1152921504606846976 metadata entries, but only 8 bytes follow");
    WITH((entry_u32(&parts, "a", 1), parts.n_entries = 2),
         "at byte 49: a metadata key of 0 bytes; 1 to 65535 without a NUL were expected");
    WITH((entry_u32(&parts, "a", 1), parts.data = 20, parts.n_tensors = 2),
         "states 2 tensors, but only 43 bytes follow its metadata");
}

static void refuses_wrong_metadata(void **state) {
    (void)state;
    WITH((put(&parts.entries, UINT64_MAX, 8), put(&parts.entries, 0, 16), parts.n_put = 1),
         "at byte 32: metadata key needs 18446744073709551615 bytes, 32 are left");
    WITH((entry_u32(&parts, "", 1), parts.data = 32), "at byte 32: a metadata key of 0 bytes; 1 to 65535 without a NUL "
                                                      "were expected");
    WITH((put(&parts.entries, 3, 8), strbuf_append(&parts.entries, "a\0b", 3), put(&parts.entries, 0, 8),
          parts.n_put = 1),
         "at byte 35: a metadata key of 3 bytes; 1 to 65535 without a NUL were expected");
    WITH((put(&parts.entries, 70000, 8), put(&parts.entries, 1, 70008), parts.n_put = 1),
         "at byte 70032: a metadata key of 70000 bytes; 1 to 65535 without a NUL were expected");
    WITH((entry_u32(&parts, "a", 1), entry_u32(&parts, "b", 1), entry_u32(&parts, "a", 2)),
         "metadata 'a' is there twice");
    WITH(put(entry(&parts, "a", 13), 0, 8), "metadata 'a': at byte 37: there is no value type 13");
    WITH(put(entry(&parts, "a", UINT32_MAX), 0, 8), "metadata 'a': at byte 37: there is no value type 4294967295");
    WITH(put(entry(&parts, "a", GGUF_BOOL), 2, 8), "metadata 'a': at byte 38: a truth value is 2");
    WITH(put(entry(&parts, "a", GGUF_U64), UINT64_MAX, 8),
         "metadata 'a': at byte 45: the value 18446744073709551615 is too large");
    WITH(put(entry(&parts, "a", GGUF_STRING), UINT64_MAX, 8),
         "metadata 'a': at byte 45: string needs 18446744073709551615 bytes, 19 are left");
    WITH((put(entry(&parts, "a", GGUF_ARRAY), GGUF_ARRAY, 4), put(&parts.entries, 1, 8)),
         "metadata 'a': at byte 49: an array of arrays is not supported");
    WITH((put(entry(&parts, "a", GGUF_ARRAY), 99, 4), put(&parts.entries, 1, 8)),
         "metadata 'a': at byte 41: there is no value type 99");
    WITH((put(entry(&parts, "a", GGUF_ARRAY), GGUF_U64, 4), put(&parts.entries, UINT64_C(1) << 61, 8)),
         "metadata 'a': at byte 49: an array of 2305843009213693952 elements of 8 bytes, but only 15 bytes follow");
    WITH((put(entry(&parts, "a", GGUF_ARRAY), GGUF_STRING, 4), put(&parts.entries, UINT64_MAX, 8)),
         "metadata 'a': at byte 57: string of an array needs 8 bytes, 7 are left");
    WITH((put(entry(&parts, "a", GGUF_ARRAY), GGUF_STRING, 4), put(&parts.entries, 1, 8),
          put(&parts.entries, UINT64_MAX - 7, 8)),
         "metadata 'a': at byte 57: string of an array needs 18446744073709551608 bytes, 7 are left");
}

static void refuses_wrong_alignments(void **state) {
    (void)state;
    WITH(entry_u32(&parts, "general.alignment", 0),
         "general.alignment is 0; a power of two up to 65536 (of type u32) was expected");
    WITH(entry_u32(&parts, "general.alignment", 13),
         "general.alignment is 13; a power of two up to 65536 (of type u32) was expected");
    WITH(entry_u32(&parts, "general.alignment", 1u << 31),
         "general.alignment is 2147483648; a power of two up to 65536 (of type u32) was expected");
    WITH(put(entry(&parts, "general.alignment", GGUF_U64), 32, 8),
         "general.alignment is 32; a power of two up to 65536 (of type u32) was expected");
    WITH(put_text(entry(&parts, "general.alignment", GGUF_STRING), "32"),
         "general.alignment is 0; a power of two up to 65536 (of type u32) was expected");
}

static void refuses_wrong_tensors(void **state) {
    (void)state;
    const uint64_t one[8] = {1, 1, 1, 1, 1, 1, 1, 1};
#define TENSOR(n, dims, type, offset, n_data, sentence)                                                                \
    WITH((tensor(&parts, "t", n, dims, type, offset), parts.data = (n_data)), sentence)
    TENSOR(0, one, 0, 0, 32, "tensor 't': at byte 37: 0 dimensions; 1 to 4 were expected");
    TENSOR(5, one, 0, 0, 32, "tensor 't': at byte 37: 5 dimensions; 1 to 4 were expected");
    TENSOR(UINT32_MAX, one, 0, 0, 32, "tensor 't': at byte 37: 4294967295 dimensions; 1 to 4 were expected");
    TENSOR(1, (uint64_t[]){0}, 0, 0, 32, "tensor 't': at byte 45: a dimension is 0");
    TENSOR(1, (uint64_t[]){UINT64_MAX}, 0, 0, 32, "tensor 't': at byte 45: a dimension is 18446744073709551615");
    TENSOR(2, ((uint64_t[]){UINT64_C(1) << 32, UINT64_C(1) << 32}), 0, 0, 32,
           "tensor 't': shape [4294967296, 4294967296] has more elements than 64-bit sizes can count");
    TENSOR(1, (uint64_t[]){UINT64_C(1) << 62}, 0, 0, 32,
           "tensor 't': shape [4611686018427387904] has more elements than 64-bit sizes can count");
    TENSOR(2, ((uint64_t[]){UINT64_C(1) << 40, UINT64_C(1) << 23}), 8, 0, 32,
           "tensor 't': shape [8388608, 34359738368] has more elements than 64-bit sizes can count");
    TENSOR(1, one, 4, 0, 32, "tensor 't': at byte 49: there is no tensor type 4");
    TENSOR(1, one, 1000, 0, 32, "tensor 't': at byte 49: there is no tensor type 1000");
    TENSOR(1, one, 8, 0, 32, "tensor 't': has rows of 1 elements; Q8_0 comes in blocks of 32");
    TENSOR(2, ((uint64_t[]){48, 32}), 2, 0, 32, "tensor 't': has rows of 48 elements; Q4_0 comes in blocks of 32");
    TENSOR(1, one, 0, 1, 32, "tensor 't' begins at byte 1 of the data, no multiple of 32");
    TENSOR(1, one, 0, UINT64_MAX - 31, 32,
           "tensor 't' needs 4 bytes from byte 18446744073709551584 of the data, which "
           "has 32");
    TENSOR(1, one, 0, 64, 32, "tensor 't' needs 4 bytes from byte 64 of the data, which has 32");
    TENSOR(1, (uint64_t[]){9}, 0, 0, 32, "tensor 't' needs 36 bytes from byte 0 of the data, which has 32");
    TENSOR(1, one, 0, 0, 0, "tensor 't' needs 4 bytes from byte 0 of the data, which has 0");
    TENSOR(1, one, 0, 32, 64, "tensor 't' begins at byte 32 of the data, byte 0 was expected");
    TENSOR(1, one, 0, 0, 64, "has 64 bytes of data, but its tensors end at byte 32");
    WITH((put(&parts.tensors, UINT64_MAX, 8), put(&parts.tensors, 0, 24), parts.n_tensors_put = 1),
         "at byte 32: tensor name needs 18446744073709551615 bytes, 32 are left");
    WITH((tensor(&parts, "", 1, one, 0, 0), parts.data = 32),
         "at byte 32: a tensor name of 0 bytes; 1 to 64 without a NUL were expected");
    WITH((tensor(&parts, "0123456789012345678901234567890123456789012345678901234567890123x", 1, one, 0, 0),
          parts.data = 32),
         "at byte 97: a tensor name of 65 bytes; 1 to 64 without a NUL were expected");
    WITH((tensor(&parts, "t", 1, one, 0, 0), tensor(&parts, "t", 1, one, 0, 32), parts.data = 64),
         "tensor 't' is there twice");
    WITH((tensor(&parts, "s", 1, (uint64_t[]){9}, 0, 0), tensor(&parts, "t", 1, one, 0, 32), parts.data = 64),
         "tensor 't' overlaps tensor 's'");
    WITH((tensor(&parts, "s", 1, one, 0, 0), tensor(&parts, "t", 1, one, 0, 0), parts.data = 32),
         "tensor 't' overlaps tensor 's'");
    WITH((tensor(&parts, "s", 1, one, 0, 0), tensor(&parts, "t", 1, one, 0, 64), parts.data = 96),
         "tensor 't' begins at byte 64 of the data, byte 32 was expected");
}

static void names_what_is_not_supported(void **state) {
    (void)state;
    struct parts parts = parts_new();
    tensor(&parts, "t", 1, (uint64_t[]){256}, 13, 0);
    parts.data = 192;
    expect_code(&parts, LLM_ERROR_UNSUPPORTED,
                "tensor 't': is stored as Q5_K; F32, F16, BF16, Q8_0, Q4_0 and Q6_K are supported");
}

static void says_what_is_no_gguf_file_at_all(void **state) {
    (void)state;
    static const struct {
        const char *bytes, *sentence;
    } cases[] = {
        {"", "at byte 0: magic needs 4 bytes, 0 are left"},
        {"G", "at byte 0: magic needs 4 bytes, 1 are left"},
        {"version https://git-lfs.github.com/spec/v1\n",
         "is a Git LFS pointer, not the file itself; fetch it with: git lfs pull"},
        {"<!DOCTYPE html><html>", "is a web page, not a model file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct strbuf file = {.bytes = (char *)cases[i].bytes, .size = strlen(cases[i].bytes)};
        expect_bytes(&file, LLM_ERROR_FORMAT, cases[i].sentence);
    }
}

// ---- Writing --------------------------------------------------------------------------------

static void what_is_written_is_read_again(void **state) {
    (void)state;
    char *directory = temporary_directory(), *path = path_join(directory, "a.gguf");
    struct llm_error err = {0};
    struct gguf_writer *writer = gguf_writer_new(path, &err);
    assert_non_null(writer);
    gguf_writer_u32(writer, "number", 4000000000);
    gguf_writer_f32(writer, "real", -1.5F);
    gguf_writer_string(writer, "text", "some");
    gguf_writer_array(writer, "array", GGUF_I32, 2, "\1\0\0\0\2\0\0\0", 8);
    uint8_t data[68];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i + 1);
    assert_true(gguf_writer_declare(writer, "half", DTYPE_F16, 2, (int64_t[]){1, 3}, &err));
    assert_true(gguf_writer_declare(writer, "blocks", DTYPE_Q8_0, 2, (int64_t[]){2, 32}, &err));
    assert_true(gguf_writer_declare(writer, "number", DTYPE_F32, 1, (int64_t[]){1}, &err));
    assert_true(gguf_writer_data(writer, data, 2, &err) && gguf_writer_data(writer, data + 2, 4, &err));
    assert_true(gguf_writer_data(writer, data, 68, &err) && gguf_writer_data(writer, data, 4, &err));
    assert_false(path_exists(path));
    assert_true(gguf_writer_finish(writer, &err));
    struct container *container = gguf_open(path, &err);
    if (container == NULL) fail_msg("%s", err.text);
    assert_int_equal(container->files[0].size % 32, 0);
    assert_int_equal(gguf_find(container, "number")->integer, 4000000000);
    assert_true(gguf_find(container, "real")->real == -1.5);
    assert_memory_equal(gguf_find(container, "text")->data, "some", 4);
    assert_memory_equal(gguf_find(container, "array")->data, "\1\0\0\0\2\0\0\0", 8);
    const struct tensor_view *half = container_find(container, "half"), *blocks = container_find(container, "blocks");
    assert_true(half->shape[0] == 1 && half->shape[1] == 3 && half->dtype == DTYPE_F16);
    assert_memory_equal(half->data, data, 6);
    assert_true(blocks->shape[0] == 2 && blocks->shape[1] == 32 && blocks->dtype == DTYPE_Q8_0);
    assert_memory_equal(blocks->data, data, 68);
    assert_int_equal((uintptr_t)blocks->data % 32, 0);
    container_free(container);
    directory_remove(directory);
    free(path);
    free(directory);
}

static void a_writer_refuses_what_does_not_fit(void **state) {
    (void)state;
    char *directory = temporary_directory(), *path = path_join(directory, "a.gguf");
    const int64_t shape[5] = {1, 1, 1, 1, 33};
    static const struct {
        const char *name, *sentence;
        enum dtype dtype;
        int rank;
    } cases[] = {
        {"a", "tensor 'a': has a dtype, rank or name that cannot be written", DTYPE_OTHER, 1},
        {"a", "tensor 'a': has a dtype, rank or name that cannot be written", DTYPE_F32, 0},
        {"a", "tensor 'a': has a dtype, rank or name that cannot be written", DTYPE_F32, 5},
        {"a", "tensor 'a': has rows of 1 elements; Q4_0 comes in blocks of 32", DTYPE_Q4_0, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct llm_error err = {0};
        struct gguf_writer *writer = gguf_writer_new(path, &err);
        assert_false(gguf_writer_declare(writer, cases[i].name, cases[i].dtype, cases[i].rank, shape, &err));
        assert_string_equal(err.text, cases[i].sentence);
        assert_false(gguf_writer_finish(writer, NULL));
    }
    // Too little data, and too much.
    struct llm_error err = {0};
    struct gguf_writer *writer = gguf_writer_new(path, &err);
    assert_true(gguf_writer_declare(writer, "a", DTYPE_F32, 1, shape, &err));
    assert_false(gguf_writer_finish(writer, &err));
    assert_string_equal(err.text, "the data of 0 of 1 declared tensors was given");
    err = (struct llm_error){0};
    writer = gguf_writer_new(path, &err);
    assert_true(gguf_writer_declare(writer, "a", DTYPE_F32, 1, shape, &err));
    assert_false(gguf_writer_data(writer, "12345", 5, &err));
    assert_string_equal(err.text, "more tensor data was given than was declared");
    gguf_writer_free(writer);
    assert_false(path_exists(path));
    directory_remove(directory);
    free(path);
    free(directory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_type),
        cmocka_unit_test(version_2_and_another_alignment),
        cmocka_unit_test(every_beginning_of_a_file_is_refused),
        cmocka_unit_test(every_change_of_a_byte_is_refused_or_harmless),
        cmocka_unit_test(refuses_wrong_headers),
        cmocka_unit_test(refuses_wrong_metadata),
        cmocka_unit_test(refuses_wrong_alignments),
        cmocka_unit_test(refuses_wrong_tensors),
        cmocka_unit_test(names_what_is_not_supported),
        cmocka_unit_test(says_what_is_no_gguf_file_at_all),
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(a_writer_refuses_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
