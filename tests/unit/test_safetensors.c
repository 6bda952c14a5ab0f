// test_safetensors.c: reading safetensors: what the reference implementation wrote, what the format
// allows, and every bad file of tests/bad/safetensors*, each with the sentence expected.
#include "formats_support.h"

#include <sys/stat.h>
#include <unistd.h>

#include "formats/safetensors.h"

#define BAD MY_LLM_SOURCE_DIR "/tests/bad/"

// ---- Good files -----------------------------------------------------------------------------

static void reads_what_the_reference_wrote(void **state) {
    (void)state;
    struct llm_error err = {0};
    struct container *container = container_open(FIXTURES "safetensors", &err);
    assert_string_equal(err.text, "");
    assert_string_equal(container->format, "safetensors");
    assert_int_equal(container->n_files, 1);
    assert_string_equal(container->files[0].path, FIXTURES "safetensors/model.safetensors");
    assert_expected(container, FIXTURES "safetensors");
    assert_int_equal(container_find(container, "bf16")->dtype, DTYPE_BF16);
    assert_int_equal(container_find(container, "f16")->dtype, DTYPE_F16);
    assert_int_equal(container_find(container, "f32")->dtype, DTYPE_F32);
    assert_int_equal(container_find(container, "i64")->dtype, DTYPE_OTHER);
    assert_int_equal(container_find(container, "scalar")->n_elements, 1);
    assert_int_equal(container_find(container, "empty")->n_elements, 0);
    assert_null(container_find(container, "missing"));
    container_free(container);
}

static void reads_shards_of_the_reference(void **state) {
    (void)state;
    struct llm_error err = {0};
    struct container *container = container_open(FIXTURES "safetensors-shards", &err);
    assert_string_equal(err.text, "");
    assert_int_equal(container->n_files, 3);
    assert_expected(container, FIXTURES "safetensors-shards");
    container_free(container);
}

static void opens_one_file(void **state) {
    (void)state;
    struct llm_error err = {0};
    struct container *container = container_open(FIXTURES "safetensors/model.safetensors", &err);
    assert_string_equal(err.text, "");
    assert_expected(container, FIXTURES "safetensors");
    container_free(container);
}

// A file of this header (a string constant, NULs and all) and n zero bytes of data.
static struct container *parse_header(const char *header, size_t size, size_t n, struct llm_error *err) {
    uint8_t *bytes = calloc(8 + size + n, 1);
    for (int b = 0; b < 8; b++) bytes[b] = (uint8_t)((uint64_t)size >> (8 * b));
    memcpy(bytes + 8, header, size);
    struct container *container = safetensors_parse(bytes, 8 + size + n, err);
    free(bytes); // views may dangle from here on; these tests do not look at data
    return container;
}

static void accepts_what_the_format_allows(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t n;
        int n_tensors;
    } cases[] = {
        {"{}", 0, 0},
        {"{}      ", 0, 0},
        {"{\"__metadata__\":{}}\n", 0, 0},
        {"{\"\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, 1},
        {"{\"z\":{\"dtype\":\"I8\",\"shape\":[0,9223372036854775807],\"data_offsets\":[0,0]}}", 0, 1},
        {"{\"b\":{\"shape\":[1],\"data_offsets\":[4,8],\"dtype\":\"F32\"},"
         "\"a\":{\"data_offsets\":[0,4],\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1]}}",
         8, 2},
        {"{\"e\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[4,4]},"
         "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
         8, 3},
        {"{\"f\":{\"dtype\":\"F4\",\"shape\":[3,2],\"data_offsets\":[0,3]}}", 3, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct llm_error err = {0};
        struct container *container = parse_header(cases[i].header, strlen(cases[i].header), cases[i].n, &err);
        assert_string_equal(err.text, "");
        assert_int_equal(container->n_tensors, cases[i].n_tensors);
        container_free(container);
    }
}

// The densest descriptions there can be must not be taken for an attack on memory.
static void accepts_the_densest_headers(void **state) {
    (void)state;
    static const char *const shapes[] = {"[]", "[1,1,1,1,1,1,1,1]"};
    for (int s = 0; s < 2; s++) {
        char *header = NULL;
        size_t size = 0;
        FILE *out = open_memstream(&header, &size);
        for (int i = 0; i < 10000; i++) {
            fprintf(out, "%c\"%x\":{\"dtype\":\"I8\",\"shape\":%s,\"data_offsets\":[%d,%d]}", i == 0 ? '{' : ',', i,
                    shapes[s], i, i + 1);
        }
        fputc('}', out);
        fclose(out);
        struct llm_error err = {0};
        struct container *container = parse_header(header, size, 10000, &err);
        assert_string_equal(err.text, "");
        assert_int_equal(container->n_tensors, 10000);
        container_free(container);
        free(header);
    }
}

// ---- Bad files ------------------------------------------------------------------------------

static char *read_error(const char *directory) {
    char *path = path_join(directory, "error");
    char *text = NULL;
    size_t size = 0;
    assert_true(file_read(path, 1024, &text, &size, NULL));
    free(path);
    text[size - 1] = '\0'; // the newline
    return text;
}

static void check_bad_file(const char *directory) {
    char *expected = read_error(directory);
    char *path = path_join(directory, "input.safetensors");
    size_t size = 0;
    uint8_t *bytes = read_exact(path, &size);
    struct llm_error err = {0};
    assert_null(safetensors_parse(bytes, size, &err));
    if (strcmp(err.text, expected) != 0) print_error("in %s:\n", directory);
    assert_string_equal(err.text, expected);
    assert_true(err.code == LLM_ERROR_FORMAT || err.code == LLM_ERROR_UNSUPPORTED);
    free(bytes);

    // Opened by name, the path stands in front, once.
    struct llm_error named = {0};
    assert_null(container_open(path, &named));
    char *sentence = NULL;
    assert_true(asprintf(&sentence, "%s: %s", path, expected) > 0);
    assert_string_equal(named.text, sentence);
    free(sentence);
    free(path);
    free(expected);
}

static void refuses_bad_files(void **state) {
    (void)state;
    for_each_directory(BAD "safetensors", 60, check_bad_file);
}

static void check_bad_shards(const char *directory) {
    char *expected = read_error(directory);
    struct llm_error err = {0};
    assert_null(container_open(directory, &err));
    // The sentence begins with the path of the directory, written @.
    assert_int_equal(expected[0], '@');
    const size_t size = strlen(directory);
    if (strcmp(err.text + size, expected + 1) != 0) print_error("in %s:\n", directory);
    assert_int_equal(strncmp(err.text, directory, size), 0);
    assert_string_equal(err.text + size, expected + 1);
    free(expected);
}

static void refuses_bad_shards(void **state) {
    (void)state;
    for_each_directory(BAD "safetensors-shards", 16, check_bad_shards);
}

static void refuses_every_truncation(void **state) {
    (void)state;
    size_t size = 0;
    uint8_t *good = read_exact(FIXTURES "safetensors/model.safetensors", &size);
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *bytes = exact_copy(good, cut);
        struct llm_error err = {0};
        assert_null(safetensors_parse(bytes, cut, &err));
        assert_int_equal(err.code, LLM_ERROR_FORMAT);
        assert_string_not_equal(err.text, "");
        free(bytes);
    }
    free(good);
}

// The header has no checksum, so some flips give another good file (a letter of a name). Whatever comes
// out must hold together.
static void survives_every_flip_of_the_header(void **state) {
    (void)state;
    size_t size = 0;
    uint8_t *bytes = read_exact(FIXTURES "safetensors/model.safetensors", &size);
    const size_t end = 8 + (size_t)(bytes[0] | bytes[1] << 8);
    assert_true(end < size);
    for (size_t at = 0; at < end; at++) {
        // Every value for the size and the first tensors, every bit for the rest, which repeats them.
        for (int flip = 1; flip < 256; flip += at < 160 ? 1 : flip) {
            bytes[at] ^= (uint8_t)flip;
            struct llm_error err = {0};
            struct container *container = safetensors_parse(bytes, size, &err);
            assert_true((container == NULL) == (err.code != LLM_OK));
            for (int i = 0; container != NULL && i < container->n_tensors; i++) {
                const struct tensor_view *tensor = &container->tensors[i];
                assert_true(tensor->size == 0 || (tensor->data >= bytes + end && tensor->data < bytes + size &&
                                                  tensor->size <= (size_t)(bytes + size - tensor->data)));
            }
            container_free(container);
            bytes[at] ^= (uint8_t)flip;
        }
    }
    free(bytes);
}

static void cuts_a_name_of_a_megabyte(void **state) {
    (void)state;
    const size_t size = 1 << 20;
    char *header = malloc(size + 100);
    header[0] = '{';
    header[1] = '"';
    memset(header + 2, 'n', size);
    strcpy(header + 2 + size, "\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}");
    struct llm_error err = {0};
    assert_null(parse_header(header, strlen(header), 4, &err));
    char expected[256];
    snprintf(expected, sizeof expected,
             "tensor '%.*s...': data_offsets [0, 4] hold 4 bytes, but F32 of shape [2] needs 8", 87, header + 2);
    assert_error(&err, LLM_ERROR_FORMAT, expected);

    memcpy(header + 2 + size + 25, "[1]", 3);
    err = (struct llm_error){0};
    struct container *container = parse_header(header, strlen(header), 4, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(strlen(container->tensors[0].name), size);
    container_free(container);
    free(header);
}

// ---- Not files ------------------------------------------------------------------------------

static void refuses_what_is_not_a_model(void **state) {
    (void)state;
    char *directory = temporary_directory();
    char expected[512];
    struct llm_error err = {0};
    assert_null(container_open(directory, &err));
    snprintf(expected, sizeof expected,
             "%s: no weights in this directory; model.safetensors, model.safetensors.index.json, "
             "pytorch_model.bin or model.ckpt.index was expected",
             directory);
    assert_error(&err, LLM_ERROR_NOT_FOUND, expected);

    char *path = path_join(directory, "model.safetensors");
    err = (struct llm_error){0};
    assert_null(container_open(path, &err));
    snprintf(expected, sizeof expected, "%s: there is no such file or directory", path);
    assert_error(&err, LLM_ERROR_NOT_FOUND, expected);

    // A FIFO must neither be read nor waited for.
    assert_int_equal(mkfifo(path, 0600), 0);
    snprintf(expected, sizeof expected, "%s: is not a regular file", path);
    for (int named = 0; named < 2; named++) {
        err = (struct llm_error){0};
        assert_null(container_open(named ? path : directory, &err));
        assert_error(&err, LLM_ERROR_FORMAT, expected);
    }
    unlink(path);

    // A link that leads nowhere is named, not overlooked.
    assert_int_equal(symlink("nowhere", path), 0);
    err = (struct llm_error){0};
    assert_null(container_open(directory, &err));
    snprintf(expected, sizeof expected, "%s: cannot open this file: No such file or directory", path);
    assert_error(&err, LLM_ERROR_NOT_FOUND, expected);
    unlink(path);

    assert_int_equal(mkdir(path, 0700), 0);
    err = (struct llm_error){0};
    assert_null(container_open(directory, &err));
    snprintf(expected, sizeof expected, "%s: is a directory, a file was expected", path);
    assert_error(&err, LLM_ERROR_FORMAT, expected);
    free(path);

    write_file(directory, "weights.txt", "abc", 3);
    path = path_join(directory, "weights.txt");
    err = (struct llm_error){0};
    assert_null(container_open(path, &err));
    snprintf(expected, sizeof expected,
             "%s: is not a model; a directory, or a .safetensors, .pth or .gguf file was expected", path);
    assert_error(&err, LLM_ERROR_NOT_FOUND, expected);
    free(path);
    directory_remove(directory);
    free(directory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_the_reference_wrote),
        cmocka_unit_test(reads_shards_of_the_reference),
        cmocka_unit_test(opens_one_file),
        cmocka_unit_test(accepts_what_the_format_allows),
        cmocka_unit_test(accepts_the_densest_headers),
        cmocka_unit_test(refuses_bad_files),
        cmocka_unit_test(refuses_bad_shards),
        cmocka_unit_test(refuses_every_truncation),
        cmocka_unit_test(survives_every_flip_of_the_header),
        cmocka_unit_test(cuts_a_name_of_a_megabyte),
        cmocka_unit_test(refuses_what_is_not_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
