// test_safetensors_writer.c: what is written, byte for byte (tools/make_safetensors_fixtures.py reads the
// same bytes with the reference implementation), wrong use, and a disk that fills up.
//
// MY_LLM_UPDATE_FIXTURES=1 in the environment writes tests/fixtures/formats/safetensors-written anew.
#include "formats_support.h"

#include <signal.h>
#include <sys/resource.h>

#include "formats/safetensors.h"

#define WRITTEN FIXTURES "safetensors-written"

static const struct {
    const char *name;
    enum dtype dtype;
    int rank;
    int64_t shape[3];
} rows[] = {
    {"transformer.wte.weight", DTYPE_F32, 2, {3, 4}},
    {"half", DTYPE_F16, 3, {1, 2, 3}},
    {"brain", DTYPE_BF16, 1, {5}},
    {"no elements", DTYPE_F32, 2, {0, 7}},
    {"scalar \"\xc3\xa9\"", DTYPE_F32, 0, {0}},
    {"larger than a shard", DTYPE_F32, 1, {25}},
    {"last", DTYPE_F16, 1, {1}},
};

enum {
    N_ROWS = sizeof rows / sizeof *rows
};

static size_t n_elements(int row) {
    size_t n = 1;
    for (int i = 0; i < rows[row].rank; i++) n *= (size_t)rows[row].shape[i];
    return n;
}

static struct safetensors_writer *writer_with_rows(const char *directory, int64_t shard_size) {
    struct llm_error err = {0};
    struct safetensors_writer *writer = safetensors_writer_new(directory, shard_size, &err);
    for (int i = 0; i < N_ROWS; i++) {
        safetensors_writer_declare(writer, rows[i].name, rows[i].dtype, rows[i].rank, rows[i].shape, &err);
    }
    assert_string_equal(err.text, "");
    return writer;
}

// All data of the rows, in order: element k of row i is (k + 1) / 8 - i, exact in every dtype.
static uint8_t *make_data(size_t *size) {
    uint8_t *bytes = malloc(1024);
    *size = 0;
    for (int i = 0; i < N_ROWS; i++) {
        for (size_t k = 0; k < n_elements(i); k++) {
            const float value = (float)(k + 1) / 8 - (float)i;
            dtype_from_f32(bytes + *size, rows[i].dtype, &value, 1);
            *size += dtype_bytes(rows[i].dtype, 1);
        }
    }
    return bytes;
}

// Writes everything in pieces of `piece` bytes.
static void write_rows(const char *directory, int64_t shard_size, size_t piece) {
    struct safetensors_writer *writer = writer_with_rows(directory, shard_size);
    struct llm_error err = {0};
    size_t size = 0;
    uint8_t *bytes = make_data(&size);
    for (size_t at = 0; at < size; at += piece) {
        safetensors_writer_data(writer, bytes + at, piece < size - at ? piece : size - at, &err);
    }
    assert_true(safetensors_writer_finish(writer, &err));
    assert_string_equal(err.text, "");
    free(bytes);
}

static void assert_same_file(const char *a, const char *b, const char *name) {
    char *paths[2] = {path_join(a, name), path_join(b, name)};
    size_t sizes[2];
    uint8_t *bytes[2] = {read_exact(paths[0], &sizes[0]), read_exact(paths[1], &sizes[1])};
    assert_int_equal(sizes[0], sizes[1]);
    assert_memory_equal(bytes[0], bytes[1], sizes[0]);
    for (int i = 0; i < 2; i++) {
        free(paths[i]);
        free(bytes[i]);
    }
}

static int count_files(const char *directory) {
    DIR *listing = opendir(directory);
    int n = 0;
    for (struct dirent *entry = readdir(listing); entry != NULL; entry = readdir(listing)) n += entry->d_name[0] != '.';
    closedir(listing);
    return n;
}

static void update_fixture(void) {
    struct llm_error err = {0};
    directory_create(WRITTEN, &err);
    assert_string_equal(err.text, "");
    write_rows(WRITTEN, 64, 1000);
    struct container *container = container_open(WRITTEN, &err);
    assert_string_equal(err.text, "");
    FILE *out = fopen(WRITTEN "/expected.txt", "w");
    for (int i = 0; i < container->n_tensors; i++) describe(out, &container->tensors[i]);
    fclose(out);
    container_free(container);
}

static void writes_the_same_bytes_in_any_pieces(void **state) {
    (void)state;
    if (getenv("MY_LLM_UPDATE_FIXTURES") != NULL) update_fixture();
    static const char *const names[] = {"model-00001-of-00004.safetensors", "model-00002-of-00004.safetensors",
                                        "model-00003-of-00004.safetensors", "model-00004-of-00004.safetensors",
                                        "model.safetensors.index.json"};
    static const size_t pieces[] = {1, 7, 48, 1000};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        char *directory = temporary_directory();
        write_rows(directory, 64, pieces[i]);
        for (int k = 0; k < 5; k++) assert_same_file(directory, WRITTEN, names[k]);
        assert_int_equal(count_files(directory), 5);
        directory_remove(directory);
        free(directory);
    }
}

static void assert_readable(const char *directory, int n_files) {
    struct llm_error err = {0};
    struct container *container = container_open(directory, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(container->n_files, n_files);
    assert_expected(container, WRITTEN);
    for (int i = 0; i < N_ROWS; i++) {
        const struct tensor_view *tensor = container_find(container, rows[i].name);
        assert_int_equal(tensor->dtype, rows[i].dtype);
        for (size_t k = 0; k < n_elements(i); k++) {
            float value = 0;
            dtype_to_f32(&value, tensor->data + k * dtype_bytes(tensor->dtype, 1), tensor->dtype, 1);
            assert_true(value == (float)(k + 1) / 8 - (float)i);
        }
    }
    container_free(container);
}

static void reads_back_what_was_written(void **state) {
    (void)state;
    // Sizes 48, 12, 10, 0, 4, 100, 2: a limit in bytes and the files it must give.
    static const int limits[][2] = {{0, 1}, {1000, 1}, {176, 1}, {175, 2}, {64, 4}, {48, 4}, {1, 6}};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        char *directory = temporary_directory();
        write_rows(directory, limits[i][0], 1000);
        assert_readable(directory, limits[i][1]);
        assert_int_equal(count_files(directory), limits[i][1] + (limits[i][1] > 1));
        directory_remove(directory);
        free(directory);
    }
}

// An empty tensor behind one that is larger than a shard gets a file without data.
static void writes_a_last_shard_without_data(void **state) {
    (void)state;
    char *directory = temporary_directory();
    struct llm_error err = {0};
    struct safetensors_writer *writer = safetensors_writer_new(directory, 10, &err);
    safetensors_writer_declare(writer, "large", DTYPE_F32, 1, (int64_t[]){5}, &err);
    safetensors_writer_declare(writer, "empty", DTYPE_F32, 1, (int64_t[]){0}, &err);
    safetensors_writer_data(writer, (float[5]){0}, 20, &err);
    assert_true(safetensors_writer_finish(writer, &err));
    struct container *container = container_open(directory, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(container->n_files, 2);
    assert_int_equal(container->n_tensors, 2);
    container_free(container);
    directory_remove(directory);
    free(directory);
}

static void data_begins_on_a_cache_line(void **state) {
    (void)state;
    struct llm_error err = {0};
    struct container *container = container_open(WRITTEN, &err);
    assert_string_equal(err.text, "");
    assert_int_equal((uintptr_t)container_find(container, "transformer.wte.weight")->data % 64, 0);
    assert_int_equal((uintptr_t)container_find(container, "larger than a shard")->data % 64, 0);
    container_free(container);
}

static void writes_a_file_without_data(void **state) {
    (void)state;
    for (int n = 0; n < 2; n++) {
        char *directory = temporary_directory();
        struct llm_error err = {0};
        struct safetensors_writer *writer = safetensors_writer_new(directory, 10, &err);
        if (n == 1) safetensors_writer_declare(writer, "empty", DTYPE_F32, 1, (int64_t[]){0}, &err);
        assert_true(safetensors_writer_finish(writer, &err));
        struct container *container = container_open(directory, &err);
        assert_string_equal(err.text, "");
        assert_int_equal(container->n_tensors, n);
        container_free(container);
        directory_remove(directory);
        free(directory);
    }
}

// ---- Wrong use ------------------------------------------------------------------------------

static void refuses_wrong_declarations(void **state) {
    (void)state;
    static const struct {
        const char *name;
        enum dtype dtype;
        int rank;
        int64_t shape[9];
        enum llm_error_code code;
        const char *error;
    } cases[] = {
        {"a", DTYPE_F32, 1, {1}, LLM_ERROR_ARGUMENT, "tensor 'a': is declared twice"},
        {"b", DTYPE_OTHER, 1, {1}, LLM_ERROR_ARGUMENT, "tensor 'b': has a dtype or name that cannot be written"},
        {"__metadata__",
         DTYPE_F32,
         1,
         {1},
         LLM_ERROR_ARGUMENT,
         "tensor '__metadata__': has a dtype or name that cannot be written"},
        {"\xff", DTYPE_F32, 1, {1}, LLM_ERROR_ARGUMENT, "tensor '?': has a name that is not UTF-8"},
        {"b", DTYPE_F32, 1, {-1}, LLM_ERROR_FORMAT, "tensor 'b': dimension 0 of its shape is -1, which is negative"},
        {"b",
         DTYPE_F32,
         9,
         {1, 1, 1, 1, 1, 1, 1, 1, 1},
         LLM_ERROR_UNSUPPORTED,
         "tensor 'b': has 9 dimensions, at most 8 are supported"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct llm_error err = {0};
        struct safetensors_writer *writer = safetensors_writer_new("/nonexistent", 0, &err);
        assert_true(safetensors_writer_declare(writer, "a", DTYPE_F32, 1, (int64_t[]){2}, &err));
        assert_false(
            safetensors_writer_declare(writer, cases[i].name, cases[i].dtype, cases[i].rank, cases[i].shape, &err));
        assert_error(&err, cases[i].code, cases[i].error);
        struct llm_error later = {0};
        assert_false(safetensors_writer_finish(writer, &later));
        assert_error(&later, LLM_ERROR_IO, "writing failed before");
    }
}

static void refuses_more_than_64_bits_of_data(void **state) {
    (void)state;
    struct llm_error err = {0};
    struct safetensors_writer *writer = safetensors_writer_new("/nonexistent", 0, &err);
    bool ok = true;
    for (int i = 0; i < 9; i++) {
        char name[] = {(char)('a' + i), '\0'};
        ok = safetensors_writer_declare(writer, name, DTYPE_F32, 1, (int64_t[]){((int64_t)1 << 58) - 1}, &err);
        assert_true(ok == (i < 8));
    }
    assert_error(&err, LLM_ERROR_ARGUMENT, "tensor 'i': makes the file larger than 64-bit sizes can count");
    safetensors_writer_free(writer);
}

static void refuses_too_much_and_too_little_data(void **state) {
    (void)state;
    char *directory = temporary_directory();
    size_t size = 0;
    uint8_t *bytes = make_data(&size);

    struct llm_error err = {0};
    struct safetensors_writer *writer = writer_with_rows(directory, 0);
    assert_false(safetensors_writer_data(writer, bytes, size + 1, &err));
    assert_error(&err, LLM_ERROR_ARGUMENT, "more tensor data was given than was declared");
    struct llm_error later = {0};
    assert_false(safetensors_writer_data(writer, bytes, 1, &later));
    assert_error(&later, LLM_ERROR_IO, "writing failed before");
    safetensors_writer_free(writer);

    err = (struct llm_error){0};
    writer = writer_with_rows(directory, 0);
    assert_true(safetensors_writer_data(writer, bytes, size - 1, &err));
    assert_false(safetensors_writer_declare(writer, "late", DTYPE_F32, 0, NULL, &err));
    assert_error(&err, LLM_ERROR_ARGUMENT, "tensor 'late': is declared after the first data");
    safetensors_writer_free(writer);

    err = (struct llm_error){0};
    writer = writer_with_rows(directory, 0);
    assert_true(safetensors_writer_data(writer, bytes, size - 1, &err));
    assert_false(safetensors_writer_finish(writer, &err));
    assert_error(&err, LLM_ERROR_ARGUMENT, "175 of 176 declared bytes of tensor data were given");

    assert_int_equal(count_files(directory), 0);
    free(bytes);
    directory_remove(directory);
    free(directory);
}

static void names_a_directory_that_is_not_there(void **state) {
    (void)state;
    struct llm_error err = {0};
    struct safetensors_writer *writer = safetensors_writer_new("/nonexistent", 0, &err);
    assert_false(safetensors_writer_finish(writer, &err));
    assert_error(&err, LLM_ERROR_NOT_FOUND,
                 "/nonexistent/model.safetensors: cannot create a file here: No such file or directory");
    safetensors_writer_free(NULL);
}

// ---- A disk that fills up -------------------------------------------------------------------

// A limit on file sizes stands in for the disk: write() fails half-way in the same manner. At every limit
// the directory's old contents must stay and nothing else may be left.
static void keeps_the_old_model_when_the_disk_is_full(void **state) {
    (void)state;
    char *parent = temporary_directory();
    char *target = path_join(parent, "out");
    struct llm_error err = {0};
    assert_true(directory_create(target, &err));
    write_file(target, "old", "old", 3);
    size_t size = 0;
    uint8_t *bytes = make_data(&size);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    struct rlimit before;
    getrlimit(RLIMIT_FSIZE, &before);
    // The shards have 252, 270, 228 and 130 bytes, the index 453.
    for (rlim_t limit = 0; limit < 453; limit += 25) {
        struct llm_error full = {0};
        struct directory_writer *directory = directory_writer_open(target, true, &full);
        assert_non_null(directory);
        const char *inside = directory_writer_path(directory);
        struct safetensors_writer *writer = writer_with_rows(inside, 64);
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){limit, before.rlim_max});
        const bool written = safetensors_writer_data(writer, bytes, size, &full);
        const bool finished = safetensors_writer_finish(writer, &full);
        setrlimit(RLIMIT_FSIZE, &before);
        assert_false(written && finished);
        assert_int_equal(full.code, LLM_ERROR_IO);
        assert_non_null(strstr(full.text, ": cannot write: File too large"));
        directory_writer_abort(directory);
        assert_int_equal(count_files(target), 1);
        DIR *listing = opendir(parent);
        int n = 0;
        while (readdir(listing) != NULL) n++;
        closedir(listing);
        assert_int_equal(n, 3); // ".", ".." and "out"
    }
    signal(SIGXFSZ, handler);
    free(bytes);
    free(target);
    directory_remove(parent);
    free(parent);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_the_same_bytes_in_any_pieces),
        cmocka_unit_test(reads_back_what_was_written),
        cmocka_unit_test(writes_a_last_shard_without_data),
        cmocka_unit_test(data_begins_on_a_cache_line),
        cmocka_unit_test(writes_a_file_without_data),
        cmocka_unit_test(refuses_wrong_declarations),
        cmocka_unit_test(refuses_more_than_64_bits_of_data),
        cmocka_unit_test(refuses_too_much_and_too_little_data),
        cmocka_unit_test(names_a_directory_that_is_not_there),
        cmocka_unit_test(keeps_the_old_model_when_the_disk_is_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
