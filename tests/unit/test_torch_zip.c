// test_torch_zip.c: PyTorch's files: what torch.save() wrote, what our writer writes, and every bad file of
// tests/bad/torch, each with the sentence expected.
#include "formats_support.h"

#include "formats/torch_zip.h"

#define BAD MY_LLM_SOURCE_DIR "/tests/bad/torch"

// ---- Good files -----------------------------------------------------------------------------

static void reads_what_torch_wrote(void **state) {
    (void)state;
    static const char *const files[] = {"model.pth", "protocol4.pth", "protocol5.pth", "nocrc.pth"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct llm_error err = {0};
        char *path = path_join(FIXTURES "torch", files[i]);
        struct container *container = container_open(path, &err);
        assert_string_equal(err.text, "");
        assert_string_equal(container->format, "PyTorch");
        assert_int_equal(container->n_files, 1);
        assert_string_equal(container->files[0].path, path);
        assert_expected(container, FIXTURES "torch");
        assert_int_equal(container_find(container, "bf16")->dtype, DTYPE_BF16);
        assert_int_equal(container_find(container, "f16")->dtype, DTYPE_F16);
        assert_int_equal(container_find(container, "f32")->dtype, DTYPE_F32);
        assert_int_equal(container_find(container, "i64")->dtype, DTYPE_OTHER);
        container_free(container);
        free(path);
    }
}

// A storage may serve several tensors, and a matrix may be turned in its strides alone.
static void sees_views_of_a_storage(void **state) {
    (void)state;
    struct llm_error err = {0};
    struct container *container = container_open(FIXTURES "torch/model.pth", &err);
    assert_string_equal(err.text, "");
    const struct tensor_view *first = container_find(container, "first"), *second = container_find(container, "second");
    assert_ptr_equal(second->data, first->data + first->size);
    assert_ptr_equal(container_find(container, "turned_parameter")->data, first->data);
    assert_true((uintptr_t)first->data % 64 == 0);
    for (int i = 0; i < container->n_tensors; i++) {
        const struct tensor_view *tensor = &container->tensors[i];
        assert_int_equal(tensor->transposed, strncmp(tensor->name, "turned", 6) == 0);
    }
    container_free(container);
}

static void reads_checkpoints_and_shards(void **state) {
    (void)state;
    struct llm_error err = {0};
    struct container *container = container_open(FIXTURES "torch-checkpoint/model.pth", &err);
    assert_string_equal(err.text, "");
    assert_expected(container, FIXTURES "torch-checkpoint");
    container_free(container);
    container = container_open(FIXTURES "torch-shards", &err);
    assert_string_equal(err.text, "");
    assert_int_equal(container->n_files, 2);
    assert_expected(container, FIXTURES "torch-shards");
    container_free(container);
}

// ---- Bad files ------------------------------------------------------------------------------

static void check_bad_file(const char *directory) {
    char *path = path_join(directory, "error");
    char *expected = NULL;
    size_t size = 0;
    assert_true(file_read(path, 1024, &expected, &size, NULL));
    expected[size - 1] = '\0'; // the newline
    free(path);

    path = path_join(directory, "input.pth");
    uint8_t *bytes = read_exact(path, &size);
    struct llm_error err = {0};
    assert_null(torch_zip_parse(bytes, size, &err));
    if (strcmp(err.text, expected) != 0) print_error("in %s:\n", directory);
    assert_string_equal(err.text, expected);
    assert_true(err.code == LLM_ERROR_FORMAT || err.code == LLM_ERROR_UNSUPPORTED);
    free(bytes);

    // Opened by name, the path stands in front, once.
    struct llm_error named = {0};
    assert_null(container_open(path, &named));
    char sentence[1200];
    snprintf(sentence, sizeof sentence, "%s: %s", path, expected);
    assert_string_equal(named.text, sentence);
    free(path);
    free(expected);
}

static void refuses_every_bad_file(void **state) {
    (void)state;
    for_each_directory(BAD, 100, check_bad_file);
}

// Whatever is accepted lies inside the file.
static void parse_exactly(const uint8_t *bytes, size_t size) {
    uint8_t *exact = exact_copy(bytes, size);
    struct llm_error err = {0};
    struct container *container = torch_zip_parse(exact, size, &err);
    assert_int_equal(container == NULL, err.code != LLM_OK);
    for (int i = 0; container != NULL && i < container->n_tensors; i++) {
        const struct tensor_view *tensor = &container->tensors[i];
        assert_true(tensor->data >= exact && tensor->size <= (size_t)(exact + size - tensor->data));
    }
    container_free(container);
    free(exact);
}

static void survives_every_cut_and_flip(void **state) {
    (void)state;
    static const char *const files[] = {FIXTURES "torch-checkpoint/model.pth",
                                        MY_LLM_SOURCE_DIR "/tests/fuzz/corpus/torch_zip/plain",
                                        MY_LLM_SOURCE_DIR "/tests/fuzz/corpus/torch_zip/zip64"};
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        size_t size = 0;
        uint8_t *bytes = read_exact(files[f], &size);
        for (size_t cut = 0; cut < size; cut++) {
            struct llm_error err = {0};
            uint8_t *exact = exact_copy(bytes, cut);
            assert_null(torch_zip_parse(exact, cut, &err));
            assert_true(err.code != LLM_OK);
            free(exact);
        }
        for (size_t i = 0; i < size; i++) {
            for (int value = 0; value < 4; value++) {
                const uint8_t kept = bytes[i];
                bytes[i] = (uint8_t[]){(uint8_t)~kept, (uint8_t)(kept ^ 1), (uint8_t)(kept ^ 0x80), 0xff}[value];
                parse_exactly(bytes, size);
                bytes[i] = kept;
            }
        }
        free(bytes);
    }
}

// ---- Long files -----------------------------------------------------------------------------

static void put(FILE *out, uint64_t number, int n_bytes) {
    for (int b = 0; b < n_bytes; b++) fputc(b < 8 ? (int)(number >> (8 * b) & 0xff) : 0, out);
}

// A zip archive of m/data.pkl alone, without checksum.
static uint8_t *archive_of(const char *pickle, size_t n, size_t *size) {
    char *bytes = NULL;
    FILE *out = open_memstream(&bytes, size);
    for (int central = 0; central < 2; central++) {
        fwrite(central ? "PK\1\2\0\0" : "PK\3\4", 1, central ? 6 : 4, out);
        put(out, 20, 2);
        put(out, 0, 12);
        put(out, n, 4);
        put(out, n, 4);
        put(out, 10, 2);
        put(out, 0, central ? 16 : 2);
        fwrite("m/data.pkl", 1, 10, out);
        if (!central) fwrite(pickle, 1, n, out);
    }
    fwrite("PK\5\6\0\0\0\0\1\0\1\0", 1, 12, out);
    put(out, 56, 4);
    put(out, 40 + n, 4);
    put(out, 0, 2);
    fclose(out);
    return (uint8_t *)bytes;
}

// What a short file can make grow is bounded: operations, and so everything they make.
static void refuses_endless_pickles(void **state) {
    (void)state;
    enum {
        N = 1 << 20
    };
    static const char *const repeated[] = {"(", "N", "]", ")", "Nq\0010", "}"};
    char *pickle = malloc(N);
    for (size_t i = 0; i < sizeof repeated / sizeof *repeated; i++) {
        for (size_t at = 0; at < N; at++) pickle[at] = repeated[i][at % strlen(repeated[i])];
        size_t size = 0;
        uint8_t *bytes = archive_of(pickle, N, &size);
        struct llm_error err = {0};
        assert_null(torch_zip_parse(bytes, size, &err));
        if (strlen(repeated[i]) == 1) assert_string_equal(err.text, "data.pkl: has more than 524288 operations");
        free(bytes);
    }
    free(pickle);
    char *long_pickle = calloc(17, 1 << 20);
    size_t size = 0;
    uint8_t *bytes = archive_of(long_pickle, 17 << 20, &size);
    struct llm_error err = {0};
    assert_null(torch_zip_parse(bytes, size, &err));
    assert_string_equal(err.text, "its data.pkl has 17825792 bytes, at most 16777216 are supported");
    free(bytes);
    free(long_pickle);
}

// ---- Writing --------------------------------------------------------------------------------

static struct torch_zip_writer *begin_file(const char *path) {
    struct llm_error err = {0};
    struct torch_zip_writer *writer = torch_zip_writer_new(path, &err);
    assert_string_equal(err.text, "");
    return writer;
}

static void write_good(const char *path) {
    struct torch_zip_writer *writer = begin_file(path);
    struct llm_error err = {0};
    const float f32[6] = {1, 2, 3, 4, 5, 6};
    const uint16_t half[2] = {0x3c00, 0xc000};
    assert_true(torch_zip_writer_declare(writer, "f32", DTYPE_F32, 2, (int64_t[]){2, 3}, -1, &err));
    assert_true(torch_zip_writer_declare(writer, "empty", DTYPE_F32, 1, (int64_t[]){0}, -1, &err));
    assert_true(torch_zip_writer_declare(writer, "shared", DTYPE_F32, 1, (int64_t[]){6}, 0, &err));
    assert_true(torch_zip_writer_declare(writer, "f16", DTYPE_F16, 1, (int64_t[]){2}, -1, &err));
    assert_true(torch_zip_writer_declare(writer, "bf16", DTYPE_BF16, 1, (int64_t[]){2}, -1, &err));
    assert_true(torch_zip_writer_declare(writer, "scalar", DTYPE_F32, 0, NULL, -1, &err));
    // In pieces that do not end where a tensor does.
    assert_true(torch_zip_writer_data(writer, f32, 10, &err));
    assert_true(torch_zip_writer_data(writer, (const char *)f32 + 10, 14, &err));
    assert_true(torch_zip_writer_data(writer, (const uint16_t[]){half[0], half[1], 0x3f80, 0xc000}, 8, &err));
    assert_true(torch_zip_writer_data(writer, f32, 4, &err));
    assert_true(torch_zip_writer_finish(writer, &err));
    assert_string_equal(err.text, "");
}

static void reads_what_it_wrote(void **state) {
    (void)state;
    char *directory = temporary_directory();
    char *path = path_join(directory, "a.pth"), *again = path_join(directory, "b.pth");
    write_good(path);
    write_good(again);
    struct llm_error err = {0};
    struct container *container = container_open(path, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(container->n_tensors, 6);
    const struct tensor_view *f32 = container_find(container, "f32");
    assert_memory_equal(f32->data, ((const float[]){1, 2, 3, 4, 5, 6}), 24);
    assert_int_equal(f32->shape[1], 3);
    assert_ptr_equal(container_find(container, "shared")->data, f32->data);
    assert_int_equal(container_find(container, "scalar")->rank, 0);
    assert_int_equal(container_find(container, "bf16")->dtype, DTYPE_BF16);
    for (int i = 0; i < container->n_tensors; i++) assert_int_equal((uintptr_t)container->tensors[i].data % 64, 0);
    container_free(container);
    // The name of the file is not in it: the same tensors are the same bytes.
    size_t size = 0, other_size = 0;
    uint8_t *bytes = read_exact(path, &size), *other = read_exact(again, &other_size);
    assert_int_equal(size, other_size);
    assert_memory_equal(bytes, other, size);
    free(bytes);
    free(other);
    directory_remove(directory);
    free(path);
    free(again);
    free(directory);
}

static void a_file_of_nothing_is_whole(void **state) {
    (void)state;
    char *directory = temporary_directory();
    char *path = path_join(directory, "empty.pth");
    struct llm_error err = {0};
    assert_true(torch_zip_writer_finish(begin_file(path), &err));
    assert_null(container_open(path, &err));
    assert_non_null(strstr(err.text, "holds no dict of tensors"));
    directory_remove(directory);
    free(path);
    free(directory);
}

static void refuses_what_cannot_be_written(void **state) {
    (void)state;
    char *directory = temporary_directory();
    char *path = path_join(directory, "a.pth");
    const int64_t two = 2;
    struct llm_error err = {0};
    struct torch_zip_writer *writer = begin_file(path);
    assert_false(torch_zip_writer_declare(writer, "a", DTYPE_OTHER, 1, &two, -1, &err));
    assert_error(&err, LLM_ERROR_ARGUMENT, "tensor 'a': has a dtype or name that cannot be written");
    torch_zip_writer_free(writer);

    err = (struct llm_error){0};
    writer = begin_file(path);
    assert_false(torch_zip_writer_declare(writer, "a", DTYPE_F32, 1, &two, 0, &err));
    assert_error(&err, LLM_ERROR_ARGUMENT, "tensor 'a': does not fit the tensor that it shares its storage with");
    torch_zip_writer_free(writer);

    err = (struct llm_error){0};
    writer = begin_file(path);
    assert_true(torch_zip_writer_declare(writer, "a", DTYPE_F32, 1, &two, -1, &err));
    assert_false(torch_zip_writer_data(writer, "123456789", 9, &err));
    assert_error(&err, LLM_ERROR_ARGUMENT, "more tensor data was given than was declared");
    assert_false(torch_zip_writer_finish(writer, &err));

    for (size_t given = 0; given < 8; given += 7) {
        err = (struct llm_error){0};
        writer = begin_file(path);
        assert_true(torch_zip_writer_declare(writer, "a", DTYPE_F32, 1, &two, -1, &err));
        assert_true(torch_zip_writer_data(writer, "1234567", given, &err));
        assert_false(torch_zip_writer_declare(writer, "b", DTYPE_F32, 1, &two, -1, NULL));
        assert_false(torch_zip_writer_finish(writer, &err));
        assert_false(path_exists(path));
    }
    directory_remove(directory);
    free(path);
    free(directory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_torch_wrote),
        cmocka_unit_test(sees_views_of_a_storage),
        cmocka_unit_test(reads_checkpoints_and_shards),
        cmocka_unit_test(refuses_every_bad_file),
        cmocka_unit_test(survives_every_cut_and_flip),
        cmocka_unit_test(refuses_endless_pickles),
        cmocka_unit_test(reads_what_it_wrote),
        cmocka_unit_test(a_file_of_nothing_is_whole),
        cmocka_unit_test(refuses_what_cannot_be_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
