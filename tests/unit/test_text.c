// test_text.c: data/text.h: text files of every kind as streams, and which files a folder stands for.
//
// Compressed files are made here, with liblzma's and zlib's own encoders.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <lzma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/file.h"
#include "base/random.h"
#include "data/text.h"

struct place {
    char folder[64];
    char path[128];
};

static int place_setup(void **state) {
    struct place *place = calloc(1, sizeof *place);
    if (place == NULL) return -1;
    strcpy(place->folder, "/tmp/my-llm-text-XXXXXX");
    *state = place;
    return mkdtemp(place->folder) == NULL ? -1 : 0;
}

static int place_teardown(void **state) {
    struct place *place = *state;
    directory_remove(place->folder);
    free(place);
    return 0;
}

// The path of `name` in the test's folder.
static const char *at(struct place *place, const char *name) {
    snprintf(place->path, sizeof place->path, "%s/%s", place->folder, name);
    return place->path;
}

// Not the library's own writer, which waits for the disk.
static void put_file(const char *path, const void *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

// Reads a whole file in reads of `step` bytes; NULL after a failure.
static char *read_all(const char *path, size_t step, size_t *size, struct llm_error *err) {
    struct text_file *file = text_file_open(path, 2, err);
    if (file == NULL) return NULL;
    char *text = NULL;
    *size = 0;
    for (size_t n = step; n == step;) {
        text = realloc(text, *size + step + 1);
        assert_non_null(text);
        if (!text_file_read(file, text + *size, step, &n, err)) {
            free(text);
            text_file_close(file);
            return NULL;
        }
        *size += n;
    }
    size_t n = 1;
    assert_true(text_file_read(file, text + *size, 1, &n, err)); // the end stays the end
    assert_int_equal(n, 0);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(text_file_position(file), status.st_size);
    text_file_close(file);
    return text;
}

// ---- Making compressed files ----------------------------------------------------------------

// Text of `size` bytes that compresses somewhat.
static char *make_text(size_t size) {
    struct random random;
    random_init(&random, 5);
    char *text = malloc(size + 1);
    assert_non_null(text);
    for (size_t i = 0; i < size; i++) text[i] = "etaoin shrdlu\n"[random_u32(&random) % 14];
    return text;
}

// An .xz stream in blocks of `block` bytes, behind what is in packed already.
static void pack_xz(uint8_t *packed, size_t *n, size_t capacity, const char *text, size_t size, size_t block) {
    lzma_stream stream = LZMA_STREAM_INIT;
    const lzma_mt options = {.threads = 1, .block_size = block, .preset = 1, .check = LZMA_CHECK_CRC32};
    assert_int_equal(lzma_stream_encoder_mt(&stream, &options), LZMA_OK);
    stream.next_in = (const uint8_t *)text;
    stream.avail_in = size;
    stream.next_out = packed + *n;
    stream.avail_out = capacity - *n;
    lzma_ret result = LZMA_OK;
    while (result == LZMA_OK) result = lzma_code(&stream, LZMA_FINISH);
    assert_int_equal(result, LZMA_STREAM_END);
    *n = capacity - stream.avail_out;
    lzma_end(&stream);
}

static void pack_gzip(uint8_t *packed, size_t *n, size_t capacity, const char *text, size_t size) {
    z_stream stream = {0};
    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_in = (uint8_t *)text;
    stream.avail_in = (unsigned)size;
    stream.next_out = packed + *n;
    stream.avail_out = (unsigned)(capacity - *n);
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    *n = capacity - stream.avail_out;
    deflateEnd(&stream);
}

// ---- One file -------------------------------------------------------------------------------

static void assert_reads(const char *path, const char *text, size_t size) {
    static const size_t steps[] = {1, 7, 4096, 1 << 18, 1 << 20};
    for (size_t i = size > 10000 ? 2 : 0; i < sizeof steps / sizeof steps[0]; i++) {
        struct llm_error err = {0};
        size_t n = 0;
        char *read = read_all(path, steps[i], &n, &err);
        if (read == NULL) fail_msg("%s", err.text);
        assert_int_equal(n, size);
        if (size > 0) assert_memory_equal(read, text, size);
        free(read);
    }
}

static void test_plain_files(void **state) {
    struct place *place = *state;
    static const size_t sizes[] = {0, 1, 5000, (1 << 18) - 1, 1 << 18, (1 << 18) + 1, 1 << 20};
    char *text = make_text(1 << 20);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        put_file(at(place, "plain.txt"), text, sizes[i]);
        assert_reads(place->path, text, sizes[i]);
    }
    free(text);
    const char bytes[] = "\xef\xbb\xbf"
                         "bom\r\n\0\xff\xfe"; // nothing is touched
    put_file(at(place, "bytes"), bytes, sizeof bytes);
    assert_reads(place->path, bytes, sizeof bytes);
}

static void test_compressed_files(void **state) {
    struct place *place = *state;
    static const size_t sizes[] = {0, 1, 5000, 700000};
    const size_t capacity = 1 << 20;
    char *text = make_text(700000);
    uint8_t *packed = malloc(capacity);
    assert_non_null(packed);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (size_t parts = 1; parts <= 2; parts++) { // the second time as two streams, one behind the other
            const size_t first = parts == 1 ? sizes[i] : sizes[i] / 3;
            size_t n = 0;
            pack_xz(packed, &n, capacity, text, first, 100000);
            if (parts == 2) pack_xz(packed, &n, capacity, text + first, sizes[i] - first, 100000);
            put_file(at(place, "any name"), packed, n);
            assert_reads(place->path, text, sizes[i]);
            n = 0;
            pack_gzip(packed, &n, capacity, text, first);
            if (parts == 2) pack_gzip(packed, &n, capacity, text + first, sizes[i] - first);
            put_file(at(place, "named.gz"), packed, n);
            assert_reads(place->path, text, sizes[i]);
        }
    }
    free(packed);
    free(text);
}

static void assert_refused(const char *path, enum llm_error_code code, const char *sentence) {
    struct llm_error err = {0};
    size_t n = 0;
    char *text = read_all(path, 1000, &n, &err);
    if (text != NULL) fail_msg("%s was read, %zu bytes", path, n);
    assert_int_equal(err.code, code);
    char expected[256];
    snprintf(expected, sizeof expected, "%s: %s", path, sentence);
    assert_string_equal(err.text, expected);
}

static void test_files_that_cannot_be_read(void **state) {
    struct place *place = *state;
    char path[128];
    strcpy(path, at(place, "missing.txt"));
    assert_refused(path, LLM_ERROR_NOT_FOUND, "cannot open this file: No such file or directory");
    assert_refused(place->folder, LLM_ERROR_FORMAT, "is a directory, a file was expected");
    strcpy(path, at(place, "pipe"));
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_refused(path, LLM_ERROR_FORMAT, "is not a regular file");
    strcpy(path, at(place, "text.xz"));
    put_file(path, "text", 4);
    assert_refused(path, LLM_ERROR_FORMAT, "does not begin as .xz data does");
    strcpy(path, at(place, "empty.gz"));
    put_file(path, "", 0);
    assert_refused(path, LLM_ERROR_FORMAT, "does not begin as .gz data does");
}

// Every beginning of a compressed file is refused, with one sentence.
static void test_every_truncation(void **state) {
    struct place *place = *state;
    uint8_t packed[4096];
    char *text = make_text(1500);
    for (int gzip = 0; gzip < 2; gzip++) {
        size_t n = 0;
        if (gzip) {
            pack_gzip(packed, &n, sizeof packed, text, 1500);
        } else {
            pack_xz(packed, &n, sizeof packed, text, 1500, 400);
        }
        char path[128];
        strcpy(path, at(place, gzip ? "short.gz" : "short.xz"));
        for (size_t size = 0; size < n; size++) {
            char sentence[100];
            snprintf(sentence, sizeof sentence, "ends after %zu bytes in the middle of its compressed data", size);
            if (size < (gzip ? 2 : 6))
                snprintf(sentence, sizeof sentence, "does not begin as .%s data does", path + strlen(path) - 2);
            put_file(path, packed, size);
            assert_refused(path, LLM_ERROR_FORMAT, sentence);
        }
    }
    free(text);
}

// A flipped bit is found, or was in a byte that does not matter (the time stamp of a .gz file).
static void test_every_byte_flipped(void **state) {
    struct place *place = *state;
    uint8_t packed[4096];
    const size_t size = 600;
    char *text = make_text(size);
    for (int gzip = 0; gzip < 2; gzip++) {
        size_t n = 0, n_refused = 0;
        if (gzip) {
            pack_gzip(packed, &n, sizeof packed, text, size);
        } else {
            pack_xz(packed, &n, sizeof packed, text, size, 250);
        }
        at(place, gzip ? "flipped.gz" : "flipped.xz");
        for (size_t i = 0; i < n; i++) {
            packed[i] ^= (uint8_t)(1 << i % 8);
            put_file(place->path, packed, n);
            packed[i] ^= (uint8_t)(1 << i % 8);
            struct llm_error err = {0};
            size_t n_read = 0;
            char *read = read_all(place->path, 100, &n_read, &err);
            if (read == NULL) {
                n_refused++;
                assert_memory_equal(err.text, place->path, strlen(place->path));
                continue;
            }
            assert_int_equal(n_read, size);
            assert_memory_equal(read, text, size);
            free(read);
        }
        assert_true(n_refused >= (gzip ? n - 8 : n));
    }
    free(text);
}

static void test_bytes_behind_the_data(void **state) {
    struct place *place = *state;
    uint8_t packed[4096];
    size_t n = 0;
    pack_gzip(packed, &n, sizeof packed, "text", 4);
    memcpy(packed + n, "more", 4);
    char path[128];
    strcpy(path, at(place, "more.gz"));
    put_file(path, packed, n + 4);
    char sentence[100];
    snprintf(sentence, sizeof sentence, "is damaged near byte %zu: the .gz data does not decompress", n + 2);
    assert_refused(path, LLM_ERROR_FORMAT, sentence);
    n = 0;
    pack_xz(packed, &n, sizeof packed, "text", 4, 100);
    memcpy(packed + n, "more than a header", 18);
    strcpy(path, at(place, "more.xz"));
    put_file(path, packed, n + 18);
    snprintf(sentence, sizeof sentence, "is damaged near byte %zu: the .xz data does not decompress", n + 12);
    assert_refused(path, LLM_ERROR_FORMAT, sentence);
}

// ---- Which files ----------------------------------------------------------------------------

static void test_folders(void **state) {
    struct place *place = *state;
    static const char *const made[] = {"b.txt",          "a.md",        "c.text.gz", "sub/z.txt.xz", ".hidden.txt",
                                       "sub/.git/x.txt", "picture.png", "txt",       "d.txt.bz2",    "B.txt"};
    struct llm_error err = {0};
    assert_true(directory_create(at(place, "sub/.git"), &err));
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) put_file(at(place, made[i]), "12345", 5);
    assert_int_equal(symlink("b.txt", at(place, "link.txt")), 0);
    assert_int_equal(symlink("..", at(place, "sub/up")), 0);
    assert_int_equal(symlink("nowhere", at(place, "dangling.txt")), 0);
    assert_int_equal(mkfifo(at(place, "pipe.txt"), 0600), 0);

    char picture[128];
    strcpy(picture, at(place, "picture.png")); // a file that is named itself is taken whatever its name
    const char *const given[] = {picture, place->folder};
    struct text_paths paths = {0};
    if (!text_paths_list(&paths, given, 2, &err)) fail_msg("%s", err.text);
    static const char *const expected[] = {"picture.png", "B.txt",    "a.md",        "b.txt",
                                           "c.text.gz",   "link.txt", "sub/z.txt.xz"};
    const size_t n = sizeof expected / sizeof expected[0];
    assert_int_equal(paths.n, n);
    assert_int_equal(paths.size, 5 * n);
    for (size_t i = 0; i < n; i++) assert_string_equal(paths.items[i], at(place, expected[i]));
    text_paths_release(&paths);
}

static void test_folders_without_texts(void **state) {
    struct place *place = *state;
    struct llm_error err = {0};
    struct text_paths paths = {0};
    const char *const given[] = {place->folder};
    assert_false(text_paths_list(&paths, given, 1, &err));
    text_paths_release(&paths);
    char expected[256];
    snprintf(expected, sizeof expected,
             "%s: there are no texts in this folder; *.txt, *.text or *.md were expected, or these with .xz or .gz "
             "behind",
             place->folder);
    assert_string_equal(err.text, expected);
    assert_int_equal(err.code, LLM_ERROR_NOT_FOUND);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_plain_files),      TEST(test_compressed_files),      TEST(test_files_that_cannot_be_read),
        TEST(test_every_truncation), TEST(test_every_byte_flipped),    TEST(test_bytes_behind_the_data),
        TEST(test_folders),          TEST(test_folders_without_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
