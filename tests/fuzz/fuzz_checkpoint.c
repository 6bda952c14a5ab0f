// fuzz_checkpoint.c: any bytes as a checkpoint of a run with one small tensor, once as they are and once with length
// and checksums made right, as random bytes never have them. What is refused changes nothing.
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "train/checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    N = 2,
    MAGIC_SIZE = 16,
    HEAD_SIZE = MAGIC_SIZE + 8,
    CRC_SIZE = 4,
    NUMBERS_SIZE = 3 * N * 4 + CRC_SIZE
};

static void check(bool holds) {
    if (!holds) abort();
}

static void parse(const uint8_t *bytes, size_t size) {
    float numbers[4][N] = {{0}};
    struct train_tensor tensor = {numbers[0], numbers[1], numbers[2], numbers[3], N, true};
    const struct optimizer optimizer = {.tensors = &tensor, .n_tensors = 1};
    struct train_state state = {.step = -7};
    struct llm_error err = {0};
    json_t *run = json_pack("{s:s}", "data", "abc");
    const bool ok = checkpoint_parse(bytes, size, &state, run, 10, &optimizer, &err);
    json_decref(run);
    check(ok == (err.code == LLM_OK));
    if (ok) {
        check(state.step >= 0 && state.epoch >= 0 && state.done >= 0 && state.log_size >= 0);
        check(state.random.used >= 0 && state.random.used <= RANDOM_N);
        random_u32(&state.random);
        random_u32(&state.epoch_random);
    } else {
        check(state.step == -7 && numbers[0][0] == 0 && numbers[3][N - 1] == 0);
    }
}

static void make_right(uint8_t *bytes, size_t size) {
    memcpy(bytes, "my-llm-ckpt-1\n\0\0", MAGIC_SIZE);
    const uint64_t length = size - HEAD_SIZE - CRC_SIZE - NUMBERS_SIZE;
    memcpy(bytes + MAGIC_SIZE, &length, sizeof length);
    uint32_t crc = crc32c(0, bytes, HEAD_SIZE + length);
    memcpy(bytes + HEAD_SIZE + length, &crc, sizeof crc);
    crc = crc32c(0, bytes + size - NUMBERS_SIZE, NUMBERS_SIZE - CRC_SIZE);
    memcpy(bytes + size - CRC_SIZE, &crc, sizeof crc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t *bytes = calloc(1, size == 0 ? 1 : size); // of the very size, for AddressSanitizer
    check(bytes != NULL);
    if (size > 0) memcpy(bytes, data, size);
    parse(bytes, size);
    if (size >= HEAD_SIZE + CRC_SIZE + NUMBERS_SIZE) {
        make_right(bytes, size);
        parse(bytes, size);
    }
    free(bytes);
    return 0;
}
