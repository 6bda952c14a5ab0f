// test_train_checkpoint.c: a checkpoint written and read back to the bit, and each way it can be damaged.
#include "train_support.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/file.h"
#include "train/checkpoint.h"

enum {
    MAGIC_SIZE = 16,
    N = SMALL_MATRIX + SMALL_VECTOR
};

struct fixture {
    struct small_optimizer small;
    struct train_state state;
    json_t *run;
    char folder[32];
    char path[64];
    uint8_t *bytes; // [size] of the file
    size_t size;
};

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    small_optimizer_init(&f->small);
    for (int part = 0; part < SMALL_PARTS; part++) {
        for (int i = 0; i < N; i++) f->small.numbers[part][i] = (float)(part * 100 + i) / 7.0F;
    }
    f->state = (struct train_state){
        .step = 42,
        .epoch = 3,
        .done = 6,
        .examples = 336,
        .tokens = 86016,
        .seconds = 12.5,
        .step_seconds = 0.1,
        .train_loss = 1.0 / 3,
        .val_loss = (double)NAN,
        .evaluated = 40,
        .best_val_loss = 5.4321,
        .best_step = 30,
        .log_size = 123,
    };
    random_init(&f->state.random, 5);
    random_init(&f->state.epoch_random, 6);
    float one;
    random_fill_normal(&f->state.random, &one, 1, 0, 1); // the second one of the pair is kept
    f->run = json_pack("{s:{s:f}, s:s}", "settings", "lr", 0.1, "data", "abc");
    strcpy(f->folder, "/tmp/my-llm-ckpt-XXXXXX");
    if (mkdtemp(f->folder) == NULL) return -1;
    snprintf(f->path, sizeof f->path, "%s/checkpoint", f->folder);
    struct llm_error err = {0};
    if (!checkpoint_write(f->path, &f->state, f->run, &f->small.optimizer, &err)) return -1;
    char *bytes = NULL;
    if (!file_read(f->path, 1 << 20, &bytes, &f->size, &err)) return -1;
    f->bytes = (uint8_t *)bytes;
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    small_optimizer_release(&f->small);
    json_decref(f->run);
    directory_remove(f->folder);
    free(f->bytes);
    free(f);
    return 0;
}

static void read_back_to_the_bit(void **state) {
    struct fixture *f = *state;
    struct small_optimizer other;
    small_optimizer_init(&other);
    struct train_state read;
    memset(&read, 0xff, sizeof read);
    read.measures = NULL; // the only field that is read
    struct llm_error err = {0};
    assert_true(checkpoint_read(f->path, &read, f->run, 10, &other.optimizer, &err));
    for (int part = 0; part < SMALL_PARTS; part++) {
        if (part == 1) continue; // gradients are zero between steps
        assert_memory_equal(other.numbers[part], f->small.numbers[part], sizeof other.numbers[part]);
    }
    assert_int_equal(read.step, 42);
    assert_int_equal(read.epoch, 3);
    assert_int_equal(read.done, 6);
    assert_int_equal(read.examples, 336);
    assert_int_equal(read.tokens, 86016);
    assert_int_equal(read.evaluated, 40);
    assert_int_equal(read.best_step, 30);
    assert_int_equal(read.log_size, 123);
    assert_true(read.train_loss == 1.0 / 3 && isnan(read.val_loss) && read.best_val_loss == 5.4321);
    assert_true(read.seconds == 12.5 && read.step_seconds == 0.1);
    for (int i = 0; i < 1300; i++) {
        assert_true(random_u32(&read.random) == random_u32(&f->state.random));
        assert_true(random_u32(&read.epoch_random) == random_u32(&f->state.epoch_random));
    }
    assert_int_equal(read.random.has_normal, f->state.random.has_normal);
    assert_true(read.random.normal == f->state.random.normal);
    small_optimizer_release(&other);
}

// Many epochs have many measures: what is written is read again, or not written.
static void long_measures(void **state) {
    struct fixture *f = *state;
    struct small_optimizer other;
    small_optimizer_init(&other);
    struct llm_error err = {0};
    char *text = calloc(1, (64 << 20) + 1);
    assert_non_null(text);
    memset(text, 'm', 3 << 20);
    f->state.measures = json_pack("{s:s}", "long", text);
    assert_true(checkpoint_write(f->path, &f->state, f->run, &f->small.optimizer, &err));
    struct train_state read = {.measures = json_object()};
    if (!checkpoint_read(f->path, &read, f->run, 10, &other.optimizer, &err)) fail_msg("%s", err.text);
    assert_true(json_equal(read.measures, f->state.measures));
    json_decref(read.measures);
    json_decref(f->state.measures);

    memset(text, 'm', 64 << 20);
    f->state.measures = json_pack("{s:s}", "long", text);
    assert_false(checkpoint_write(f->path, &f->state, f->run, &f->small.optimizer, &err));
    assert_non_null(strstr(err.text, "bytes of settings and measures; at most"));
    read.measures = NULL;
    err = (struct llm_error){0};
    assert_true(checkpoint_read(f->path, &read, f->run, 10, &other.optimizer, &err));
    json_decref(f->state.measures);
    f->state.measures = NULL;
    free(text);
    small_optimizer_release(&other);
}

// Refused with this sentence, and nothing was changed.
static void assert_refused(const struct fixture *f, const uint8_t *bytes, size_t size, const json_t *run,
                           const char *sentence) {
    struct small_optimizer other;
    small_optimizer_init(&other);
    struct train_state read = {.step = -77};
    struct llm_error err = {0};
    // In memory of exactly this size, so that a sanitizer sees a byte too far.
    uint8_t *exact = malloc(size > 0 ? size : 1);
    memcpy(exact, bytes, size);
    if (checkpoint_parse(exact, size, &read, run, 10, &other.optimizer, &err))
        fail_msg("accepted; expected: %s", sentence);
    free(exact);
    if (strstr(err.text, sentence) == NULL) fail_msg("\"%s\" was expected, not \"%s\"", sentence, err.text);
    assert_int_equal(read.step, -77);
    for (int i = 0; i < N; i++) assert_true(other.numbers[0][i] == 0);
    small_optimizer_release(&other);
    (void)f;
}

static void cut_anywhere(void **state) {
    const struct fixture *f = *state;
    for (size_t size = 0; size < f->size; size += size < 64 || size + 300 > f->size ? 1 : 97) {
        assert_refused(f, f->bytes, size, f->run, "");
    }
    assert_refused(f, f->bytes, 10, f->run, "is not a checkpoint of this version");
    assert_refused(f, f->bytes, 30, f->run, "is cut short or damaged");
    assert_refused(f, f->bytes, f->size - 1, f->run, "bytes of numbers, 208 were expected");
}

static void a_bit_turned_anywhere(void **state) {
    struct fixture *f = *state;
    for (size_t at = 0; at < f->size; at += at < 64 || at + 300 > f->size ? 1 : 97) {
        f->bytes[at] ^= 16;
        assert_refused(f, f->bytes, f->size, f->run, "");
        f->bytes[at] ^= 16;
    }
    f->bytes[40] ^= 1;
    assert_refused(f, f->bytes, f->size, f->run, "the header's checksum does not agree");
    f->bytes[40] ^= 1;
    f->bytes[f->size - 40] ^= 1;
    assert_refused(f, f->bytes, f->size, f->run, "the checksum of its numbers does not agree");
    f->bytes[f->size - 40] ^= 1;
}

// The same file with another header, its checksum right.
static void assert_header_refused(struct fixture *f, const char *find, const char *put, const char *sentence) {
    uint64_t length;
    memcpy(&length, f->bytes + MAGIC_SIZE, sizeof length);
    const size_t head = MAGIC_SIZE + sizeof length;
    char *text = strndup((char *)f->bytes + head, length);
    char *place = strstr(text, find);
    if (place == NULL) fail_msg("%s is not in the header", find);
    const size_t changed = length - strlen(find) + strlen(put);
    const size_t rest = f->size - head - length - sizeof(uint32_t);
    uint8_t *bytes = calloc(1, head + changed + sizeof(uint32_t) + rest);
    memcpy(bytes, f->bytes, MAGIC_SIZE);
    const uint64_t long_changed = changed;
    memcpy(bytes + MAGIC_SIZE, &long_changed, sizeof long_changed);
    uint8_t *at = bytes + head;
    memcpy(at, text, (size_t)(place - text));
    at += place - text;
    memcpy(at, put, strlen(put));
    at += strlen(put);
    memcpy(at, place + strlen(find), strlen(place + strlen(find)));
    const uint32_t crc = crc32c(0, bytes, head + changed);
    memcpy(bytes + head + changed, &crc, sizeof crc);
    memcpy(bytes + head + changed + sizeof crc, f->bytes + f->size - rest, rest);
    assert_refused(f, bytes, head + changed + sizeof crc + rest, f->run, sentence);
    free(bytes);
    free(text);
}

static void each_field(void **state) {
    struct fixture *f = *state;
    assert_header_refused(f, "\"step\":42", "\"step\":-1", "step is -1");
    assert_header_refused(f, "\"step\":42", "\"step\":\"42\"", "step is missing or not a whole number");
    assert_header_refused(f, "\"step\":42,", "", "step is missing or not a whole number");
    assert_header_refused(f, "\"epoch\":3", "\"epoch\":4000000000", "epoch is 4000000000");
    assert_header_refused(f, "\"epoch\":3", "\"epoch\":3.5", "epoch is missing or not a whole number");
    assert_header_refused(f, "\"done\":6", "\"done\":null", "done is missing or not a whole number");
    assert_header_refused(f, "\"examples\":336", "\"examples\":-2", "examples is -2");
    assert_header_refused(f, "\"tokens\":86016", "\"tokens\":[]", "tokens is missing or not a whole number");
    assert_header_refused(f, "\"seconds\":12.5", "\"seconds\":true", "seconds is missing or not a number");
    assert_header_refused(f, "\"step_seconds\":", "\"other\":", "step_seconds is missing or not a number");
    assert_header_refused(f, "\"seconds\":12.5", "\"seconds\":-12.5", "seconds are -12.5");
    assert_header_refused(f, "\"seconds\":12.5", "\"seconds\":1e300", "seconds are 1e+300");
    assert_header_refused(f, "\"val_loss\":null", "\"val_loss\":\"x\"", "val_loss is missing or not a number");
    assert_header_refused(f, "\"evaluated\":40", "\"evaluated\":-5", "evaluated is -5");
    assert_header_refused(f, "\"best_step\":30", "\"best_step\":{}", "best_step is missing or not a whole number");
    assert_header_refused(f, "\"log_size\":123", "\"log_size\":99999999999999999999", "too big integer");
    assert_header_refused(f, "\"random\":{\"words\":[", "\"random\":{\"words\":[1,",
                          "random is not a generator of 624 words");
    assert_header_refused(f, "\"epoch_random\":{\"words\":[", "\"epoch_random\":{\"words\":[-",
                          "epoch_random has a word out of range");
    assert_header_refused(f, "\"used\":", "\"used\":999", "has used 999");
    assert_header_refused(f, "\"has_normal\":", "\"has_normal\":0,\"x\":", "random is not a generator of 624 words");
    assert_header_refused(f, "{\"settings\"", "{\"setting\"", "the run was begun with settings nothing");
    assert_header_refused(f, "{\"step\"", "[\"step\"", "']' expected");
}

static void another_run(void **state) {
    struct fixture *f = *state;
    json_t *other = json_pack("{s:{s:f}, s:s}", "settings", "lr", 0.2, "data", "abc");
    assert_refused(f, f->bytes, f->size, other, "the run was begun with lr 0.1, now it is 0.2");
    json_decref(other);
    struct train_state read = {0};
    struct llm_error err = {0};
    f->bytes[0] = 'M';
    assert_true(file_write(f->path, f->bytes, f->size, &err));
    assert_false(checkpoint_read(f->path, &read, f->run, 10, &f->small.optimizer, &err));
    assert_true(strncmp(err.text, f->path, strlen(f->path)) == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(read_back_to_the_bit, setup, teardown),
        cmocka_unit_test_setup_teardown(long_measures, setup, teardown),
        cmocka_unit_test_setup_teardown(cut_anywhere, setup, teardown),
        cmocka_unit_test_setup_teardown(a_bit_turned_anywhere, setup, teardown),
        cmocka_unit_test_setup_teardown(each_field, setup, teardown),
        cmocka_unit_test_setup_teardown(another_run, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
