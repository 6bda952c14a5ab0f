// test_tensorflow.c: reading TensorFlow checkpoints: what TensorFlow wrote, what the format allows beyond
// that, damage at any byte, and the files around the index. Hand-made defects are in test_tensorflow_bad.c.
#include "formats_support.h"

#include <unistd.h>

#include "formats/tensorflow.h"
#include "tensorflow_maker.h"

// ---- Good checkpoints -----------------------------------------------------------------------

static void read_fixture(const char *directory, int n_files) {
    struct llm_error err = {0};
    struct container *container = container_open(directory, &err);
    assert_string_equal(err.text, "");
    assert_string_equal(container->format, "TensorFlow checkpoint");
    assert_int_equal(container->n_files, n_files);
    assert_expected(container, directory);
    container_free(container);
}

static void reads_what_tensorflow_wrote(void **state) {
    (void)state;
    read_fixture(FIXTURES "tensorflow-gpt2", 1);
    read_fixture(FIXTURES "tensorflow-shards", 2);
    read_fixture(FIXTURES "tensorflow-dtypes", 1);
}

static void tells_dtypes_apart(void **state) {
    (void)state;
    struct llm_error err = {0};
    struct container *container = container_open(FIXTURES "tensorflow-dtypes", &err);
    assert_string_equal(err.text, "");
    assert_int_equal(container_find(container, "scalar")->dtype, DTYPE_F32);
    assert_int_equal(container_find(container, "f16")->dtype, DTYPE_F16);
    assert_int_equal(container_find(container, "bf16")->dtype, DTYPE_BF16);
    assert_int_equal(container_find(container, "i64")->dtype, DTYPE_OTHER);
    assert_int_equal(container_find(container, "strings")->dtype, DTYPE_OTHER);
    assert_int_equal(container_find(container, "empty")->n_elements, 0);
    container_free(container);
}

static void refuses_partitioned_variables(void **state) {
    (void)state;
    struct llm_error err = {0};
    assert_null(container_open(FIXTURES "tensorflow-slices", &err));
    assert_error(&err, LLM_ERROR_UNSUPPORTED,
                 FIXTURES "tensorflow-slices/model.ckpt.index: holds slices of tensors (partitioned variables), which "
                          "are not supported");
}

// Larger indexes have several blocks, restart points and keys that share their beginning.
static void reads_several_blocks(void **state) {
    (void)state;
    static const uint8_t data[4 * 40] = {0};
    struct block blocks[4];
    for (int b = 0; b < 4; b++) {
        blocks[b] = new_block();
        for (int i = 0; i < 10; i++) {
            const int n = b * 10 + i;
            if (n == 0) {
                struct strbuf header = header_value(1, 0, 0);
                put_key(&blocks[b], "", &header);
                strbuf_release(&header);
            }
            const struct entry_fields fields = {
                .dtype = 1, .offset = 4 * (uint64_t)n, .size = 4, .crc = crc32c(0, data, 4)};
            struct strbuf value = entry_value(&fields);
            char key[32];
            snprintf(key, sizeof key, "model/h%02d", n);
            const bool restart = i % 4 == 0;
            if (restart && blocks[b].bytes.size > 0) put_restart(&blocks[b], (uint32_t)blocks[b].bytes.size);
            const size_t shared = restart ? 0 : strlen("model/h") + (n % 10 != 0);
            put_entry(&blocks[b], shared, key + shared, strlen(key) - shared, value.bytes, value.size);
            strbuf_release(&value);
        }
        end_block(&blocks[b]);
    }
    struct strbuf index = new_buffer();
    put_table(&index, blocks, 4, 0);
    struct llm_error err = {0};
    const size_t size = sizeof data;
    struct container *container =
        tensorflow_parse((const uint8_t *)index.bytes, index.size, (const uint8_t *[]){data}, &size, 1, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(container->n_tensors, 40);
    assert_string_equal(container->tensors[17].name, "model/h17");
    assert_ptr_equal(container->tensors[17].data, data + 4 * 17);
    container_free(container);
    strbuf_release(&index);
}

// From 32 MB on several threads share the work; the sentence must not depend on which comes first.
static void checks_large_files_too(void **state) {
    (void)state;
    enum {
        N = 9,
        SIZE = 4 << 20
    };
    uint8_t *data = calloc(N, SIZE);
    struct block block = new_block();
    struct strbuf header = header_value(1, 0, 0);
    put_key(&block, "", &header);
    strbuf_release(&header);
    for (size_t i = 0; i < N; i++) {
        for (size_t k = 0; k < SIZE; k += 97) data[i * SIZE + k] = (uint8_t)(i + k);
        const struct entry_fields fields = {.dtype = 4,
                                            .rank = 1,
                                            .shape = {SIZE},
                                            .offset = i * SIZE,
                                            .size = SIZE,
                                            .crc = crc32c(0, data + i * SIZE, SIZE)};
        struct strbuf value = entry_value(&fields);
        put_key(&block, (char[]){(char)('a' + i), '\0'}, &value);
        strbuf_release(&value);
    }
    end_block(&block);
    struct strbuf index = new_buffer();
    put_table(&index, &block, 1, 0);
    const size_t size = (size_t)N * SIZE;
    const uint8_t *const shards[] = {data};
    struct llm_error err = {0};
    struct container *container = tensorflow_parse((const uint8_t *)index.bytes, index.size, shards, &size, 1, &err);
    assert_string_equal(err.text, "");
    container_free(container);
    data[3 * SIZE + 12345] ^= 1;
    data[7 * SIZE] ^= 1;
    assert_null(tensorflow_parse((const uint8_t *)index.bytes, index.size, shards, &size, 1, &err));
    assert_error(&err, LLM_ERROR_FORMAT, "tensor 'd' does not match its checksum: the file is damaged");
    strbuf_release(&index);
    free(data);
}

// ---- Damage at any byte ---------------------------------------------------------------------

struct files {
    uint8_t *index;
    size_t index_size;
    uint8_t *data;
    size_t data_size;
};

static struct files read_files(const char *fixture) {
    struct files files;
    char path[512];
    snprintf(path, sizeof path, FIXTURES "%s/model.ckpt.index", fixture);
    files.index = read_exact(path, &files.index_size);
    snprintf(path, sizeof path, FIXTURES "%s/model.ckpt.data-00000-of-00001", fixture);
    files.data = read_exact(path, &files.data_size);
    return files;
}

static void assert_refused(const uint8_t *index, size_t index_size, const uint8_t *data, size_t data_size) {
    struct llm_error err = {0};
    assert_null(tensorflow_parse(index, index_size, &data, &data_size, 1, &err));
    assert_true(err.code == LLM_ERROR_FORMAT || err.code == LLM_ERROR_UNSUPPORTED);
    assert_string_not_equal(err.text, "");
}

static void refuses_every_truncation(void **state) {
    (void)state;
    struct files files = read_files("tensorflow-dtypes");
    for (size_t cut = 0; cut < files.index_size; cut++) {
        uint8_t *bytes = exact_copy(files.index, cut);
        assert_refused(bytes, cut, files.data, files.data_size);
        free(bytes);
    }
    for (size_t cut = 0; cut < files.data_size; cut++) {
        uint8_t *bytes = exact_copy(files.data, cut);
        assert_refused(files.index, files.index_size, bytes, cut);
        free(bytes);
    }
    free(files.index);
    free(files.data);
}

// Every byte lies under a checksum or must have one value, so no flip may pass.
static void refuses_every_flip(void **state) {
    (void)state;
    struct files files = read_files("tensorflow-dtypes");
    for (int flip = 1; flip < 256; flip++) {
        for (size_t at = 0; at < files.index_size; at++) {
            files.index[at] ^= (uint8_t)flip;
            assert_refused(files.index, files.index_size, files.data, files.data_size);
            files.index[at] ^= (uint8_t)flip;
        }
        for (size_t at = 0; at < files.data_size; at++) {
            files.data[at] ^= (uint8_t)flip;
            assert_refused(files.index, files.index_size, files.data, files.data_size);
            files.data[at] ^= (uint8_t)flip;
        }
    }
    free(files.index);
    free(files.data);
}

static void refuses_trailing_bytes(void **state) {
    (void)state;
    struct files files = read_files("tensorflow-gpt2");
    uint8_t *longer = calloc(1, files.data_size + 1);
    memcpy(longer, files.data, files.data_size);
    const size_t size = files.data_size + 1;
    struct llm_error err = {0};
    assert_null(tensorflow_parse(files.index, files.index_size, (const uint8_t *[]){longer}, &size, 1, &err));
    assert_error(&err, LLM_ERROR_FORMAT, "has 2241 bytes of data, but its tensors end at byte 2240");
    free(longer);
    longer = calloc(1, files.index_size + 1);
    memcpy(longer, files.index, files.index_size);
    assert_refused(longer, files.index_size + 1, files.data, files.data_size);
    free(longer);
    free(files.index);
    free(files.data);
}

// ---- The files around it --------------------------------------------------------------------

// A directory with the shards fixture in it, of which `leave_out` is missing and `checkpoint` is as given.
static char *copy_shards(const char *leave_out, const char *checkpoint) {
    static const char *const names[] = {"step-7.index", "step-7.data-00000-of-00002", "step-7.data-00001-of-00002"};
    char *directory = temporary_directory();
    for (size_t i = 0; i < 3; i++) {
        char path[512];
        snprintf(path, sizeof path, FIXTURES "tensorflow-shards/%s", names[i]);
        size_t size = 0;
        uint8_t *bytes = read_exact(path, &size);
        if (strcmp(names[i], leave_out) != 0) write_file(directory, names[i], bytes, size);
        free(bytes);
    }
    if (checkpoint != NULL) write_file(directory, "checkpoint", checkpoint, strlen(checkpoint));
    return directory;
}

static void assert_open_fails(char *directory, enum llm_error_code code, const char *error) {
    char expected[1024];
    snprintf(expected, sizeof expected, "%s/%s", directory, error);
    struct llm_error err = {0};
    assert_null(container_open(directory, &err));
    assert_error(&err, code, expected);
    directory_remove(directory);
    free(directory);
}

static const char good_checkpoint[] = "model_checkpoint_path: \"step-7\"\n";

static void names_the_missing_file(void **state) {
    (void)state;
    assert_open_fails(copy_shards("step-7.index", good_checkpoint), LLM_ERROR_NOT_FOUND,
                      "step-7.index: cannot open this file: No such file or directory");
    assert_open_fails(copy_shards("step-7.data-00001-of-00002", good_checkpoint), LLM_ERROR_NOT_FOUND,
                      "step-7.data-00001-of-00002: cannot open this file: No such file or directory");
    assert_open_fails(copy_shards("", "model_checkpoint_path: 'step-8'"), LLM_ERROR_NOT_FOUND,
                      "step-8.index: cannot open this file: No such file or directory");
}

static void names_the_damaged_file(void **state) {
    (void)state;
    char *directory = copy_shards("", good_checkpoint);
    write_file(directory, "step-7.data-00001-of-00002", (char[40]){0}, 40);
    assert_open_fails(directory, LLM_ERROR_FORMAT,
                      "step-7.data-00001-of-00002: tensor 'model/h1/ln_1/g' does not match its checksum: the file is "
                      "damaged");
    directory = copy_shards("", good_checkpoint);
    write_file(directory, "step-7.data-00000-of-00002", (char[61]){0}, 61);
    assert_open_fails(directory, LLM_ERROR_FORMAT,
                      "step-7.data-00000-of-00002: has 61 bytes of data, but its tensors end at byte 60");
    directory = copy_shards("", good_checkpoint);
    write_file(directory, "step-7.data-00000-of-00002", "", 0);
    assert_open_fails(directory, LLM_ERROR_FORMAT,
                      "step-7.data-00000-of-00002: tensor 'model/h0/ln_1/g' needs 12 bytes from byte 0 on, but this "
                      "file has 0 bytes");
    directory = copy_shards("", good_checkpoint);
    write_file(directory, "step-7.index", "", 0);
    assert_open_fails(directory, LLM_ERROR_FORMAT, "step-7.index: has 0 bytes, a table ends in a footer of 48");
    directory = copy_shards("", good_checkpoint);
    static const char pointer[] = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5215\n";
    write_file(directory, "step-7.index", pointer, strlen(pointer));
    assert_open_fails(directory, LLM_ERROR_FORMAT,
                      "step-7.index: is a Git LFS pointer, not the file itself; fetch it with: git lfs pull");
}

static void follows_the_checkpoint_file_no_further_than_its_directory(void **state) {
    (void)state;
#define PLAIN ", the plain name of a file beside it was expected"
    assert_open_fails(copy_shards("", "model_checkpoint_path: \"../step-7\"\n"), LLM_ERROR_FORMAT,
                      "checkpoint: model_checkpoint_path is '../step-7'" PLAIN);
    assert_open_fails(copy_shards("", "model_checkpoint_path: \"/etc/passwd\"\n"), LLM_ERROR_FORMAT,
                      "checkpoint: model_checkpoint_path is '/etc/passwd'" PLAIN);
    assert_open_fails(copy_shards("", "model_checkpoint_path: \"sub/step-7\"\n"), LLM_ERROR_FORMAT,
                      "checkpoint: model_checkpoint_path is 'sub/step-7'" PLAIN);
    assert_open_fails(copy_shards("", "model_checkpoint_path: \"..\\\\step\"\n"), LLM_ERROR_FORMAT,
                      "checkpoint: model_checkpoint_path is '..\\\\step'" PLAIN);
    assert_open_fails(copy_shards("", "model_checkpoint_path: \"\"\n"), LLM_ERROR_FORMAT,
                      "checkpoint: model_checkpoint_path is ''" PLAIN);
    static const char *const wrong[] = {"",
                                        "nonsense",
                                        "model_checkpoint_path",
                                        "model_checkpoint_path: step-7",
                                        "model_checkpoint_path: \"step-7",
                                        "all_model_checkpoint_paths: \"step-7\"\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_open_fails(copy_shards("", wrong[i]), LLM_ERROR_FORMAT,
                          "checkpoint: has no line model_checkpoint_path: \"NAME\"");
    }
}

static void reads_the_checkpoint_file_as_text_format(void **state) {
    (void)state;
    static const char *const good[] = {good_checkpoint, "  model_checkpoint_path :'step-7'",
                                       "all_model_checkpoint_paths: \"x\"\r\nmodel_checkpoint_path: \"step-7\"\r\n"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        char *directory = copy_shards("", good[i]);
        struct llm_error err = {0};
        struct container *container = container_open(directory, &err);
        assert_string_equal(err.text, "");
        container_free(container);
        directory_remove(directory);
        free(directory);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_tensorflow_wrote),
        cmocka_unit_test(tells_dtypes_apart),
        cmocka_unit_test(refuses_partitioned_variables),
        cmocka_unit_test(reads_several_blocks),
        cmocka_unit_test(checks_large_files_too),
        cmocka_unit_test(refuses_every_truncation),
        cmocka_unit_test(refuses_every_flip),
        cmocka_unit_test(refuses_trailing_bytes),
        cmocka_unit_test(names_the_missing_file),
        cmocka_unit_test(names_the_damaged_file),
        cmocka_unit_test(follows_the_checkpoint_file_no_further_than_its_directory),
        cmocka_unit_test(reads_the_checkpoint_file_as_text_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
