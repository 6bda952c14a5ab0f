// checkpoint.c: see checkpoint.h.
#include "train/checkpoint.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/file.h"
#include "train/settings.h"

enum {
    MAGIC_SIZE = 16,
    HEAD_SIZE = MAGIC_SIZE + 8,
    CRC_SIZE = 4,
    MAX_JSON = 1 << 26, // two generators of 624 numbers and some settings have 16 kB, an epoch's measures some 30 bytes
    WRITE_BLOCK = 1 << 20
};

static const double max_seconds = 1e12; // that can be shown as a time

static const char magic[MAGIC_SIZE] = "my-llm-ckpt-1\n";

// ---- State as JSON --------------------------------------------------------------------------

static json_t *random_json(const struct random *random) {
    json_t *words = json_array();
    for (int i = 0; i < RANDOM_N; i++) {
        if (json_array_append_new(words, json_integer((json_int_t)random->state[i])) != 0) {
            json_decref(words);
            return NULL;
        }
    }
    return json_pack("{s:o, s:i, s:b, s:f}", "words", words, "used", random->used, "has_normal", random->has_normal,
                     "normal", random->normal);
}

// null for what JSON cannot say: NaN, infinity.
static json_t *loss_json(double loss) {
    return isfinite(loss) ? json_real(loss) : json_null();
}

static json_t *state_json(const struct train_state *state, const json_t *run) {
    return json_pack("{s:I, s:i, s:I, s:I, s:I, s:f, s:f, s:o, s:o, s:I, s:o, s:I, s:I, s:o, s:o, s:O, s:O?}", "step",
                     (json_int_t)state->step, "epoch", state->epoch, "done", (json_int_t)state->done, "examples",
                     (json_int_t)state->examples, "tokens", (json_int_t)state->tokens, "seconds", state->seconds,
                     "step_seconds", state->step_seconds, "train_loss", loss_json(state->train_loss), "val_loss",
                     loss_json(state->val_loss), "evaluated", (json_int_t)state->evaluated, "best_val_loss",
                     loss_json(state->best_val_loss), "best_step", (json_int_t)state->best_step, "log_size",
                     (json_int_t)state->log_size, "random", random_json(&state->random), "epoch_random",
                     random_json(&state->epoch_random), "run", run, "measures", state->measures);
}

static bool get_count(const json_t *json, const char *key, int64_t min, int64_t *value, struct llm_error *err) {
    if (!json_is_integer(json_object_get(json, key))) {
        return error_set(err, LLM_ERROR_FORMAT, "%s is missing or not a whole number", key);
    }
    return json_get_int(json, key, min, INT64_MAX / 2, value, err);
}

static bool get_real(const json_t *json, const char *key, double *value, struct llm_error *err) {
    if (!json_is_number(json_object_get(json, key))) {
        return error_set(err, LLM_ERROR_FORMAT, "%s is missing or not a number", key);
    }
    return json_get_double(json, key, value, err);
}

static bool get_loss(const json_t *json, const char *key, double *loss, struct llm_error *err) {
    *loss = (double)NAN;
    if (json_is_null(json_object_get(json, key))) return true;
    return get_real(json, key, loss, err);
}

static bool get_random(const json_t *json, const char *key, struct random *random, struct llm_error *err) {
    const json_t *object = json_object_get(json, key);
    const json_t *words = json_object_get(object, "words");
    const json_t *has_normal = json_object_get(object, "has_normal");
    int64_t used = 0;
    if (json_array_size(words) != RANDOM_N || !json_is_boolean(has_normal)) {
        return error_set(err, LLM_ERROR_FORMAT, "%s is not a generator of %d words", key, RANDOM_N);
    }
    if (!get_count(object, "used", 0, &used, err) || !get_real(object, "normal", &random->normal, err)) return false;
    if (used > RANDOM_N) return error_set(err, LLM_ERROR_FORMAT, "%s has used %lld words", key, (long long)used);
    for (size_t i = 0; i < RANDOM_N; i++) {
        const json_int_t word = json_integer_value(json_array_get(words, i));
        if (word < 0 || word > UINT32_MAX) return error_set(err, LLM_ERROR_FORMAT, "%s has a word out of range", key);
        random->state[i] = (uint32_t)word;
    }
    random->used = (int)used;
    random->has_normal = json_is_true(has_normal);
    return true;
}

static bool get_state(const json_t *json, struct train_state *state, struct llm_error *err) {
    int64_t epoch = 0;
    const bool ok =
        get_count(json, "step", 0, &state->step, err) && get_count(json, "epoch", 0, &epoch, err) &&
        get_count(json, "done", 0, &state->done, err) && get_count(json, "examples", 0, &state->examples, err) &&
        get_count(json, "tokens", 0, &state->tokens, err) && get_real(json, "seconds", &state->seconds, err) &&
        get_real(json, "step_seconds", &state->step_seconds, err) &&
        get_loss(json, "train_loss", &state->train_loss, err) && get_loss(json, "val_loss", &state->val_loss, err) &&
        get_count(json, "evaluated", -1, &state->evaluated, err) &&
        get_loss(json, "best_val_loss", &state->best_val_loss, err) &&
        get_count(json, "best_step", -1, &state->best_step, err) &&
        get_count(json, "log_size", 0, &state->log_size, err) && get_random(json, "random", &state->random, err) &&
        get_random(json, "epoch_random", &state->epoch_random, err);
    if (!ok) return false;
    if (!(state->seconds >= 0 && state->seconds < max_seconds && state->step_seconds >= 0 &&
          state->step_seconds < max_seconds)) {
        return error_set(err, LLM_ERROR_FORMAT, "seconds are %g, a step's %g", state->seconds, state->step_seconds);
    }
    if (epoch > INT32_MAX) return error_set(err, LLM_ERROR_FORMAT, "epoch is %lld", (long long)epoch);
    state->epoch = (int)epoch;
    return true;
}

static bool get_measures(const json_t *json, json_t *measures, struct llm_error *err) {
    json_t *saved = json_object_get(json, "measures");
    if (measures == NULL) return true;
    if (!json_is_object(saved)) return error_set(err, LLM_ERROR_FORMAT, "measures is missing or not an object");
    json_object_clear(measures);
    return json_object_update(measures, saved) == 0 || error_memory(err, "checkpoint");
}

// ---- Writing --------------------------------------------------------------------------------

static bool write_checked(struct file_writer *writer, const void *bytes, size_t size, uint32_t *crc,
                          struct llm_error *err) {
    const char *at = bytes;
    while (size > 0) {
        const size_t n = size < WRITE_BLOCK ? size : WRITE_BLOCK; // still in the cache when it is copied
        *crc = crc32c(*crc, at, n);
        if (!file_writer_write(writer, at, n, err)) return false;
        at += n;
        size -= n;
    }
    return true;
}

static bool write_header(struct file_writer *writer, const char *text, struct llm_error *err) {
    const uint64_t size = strlen(text);
    uint32_t crc = 0;
    return write_checked(writer, magic, sizeof magic, &crc, err) &&
           write_checked(writer, &size, sizeof size, &crc, err) && write_checked(writer, text, size, &crc, err) &&
           file_writer_write(writer, &crc, sizeof crc, err);
}

static bool write_numbers(struct file_writer *writer, const struct optimizer *optimizer, struct llm_error *err) {
    struct ops *ops = optimizer->ops;
    uint32_t crc = 0;
    for (int i = 0; i < optimizer->n_tensors; i++) {
        const struct train_tensor *tensor = &optimizer->tensors[i];
        const float *parts[] = {tensor->weight, tensor->m, tensor->v};
        for (size_t p = 0; p < sizeof parts / sizeof parts[0]; p++) {
            const float *numbers = ops->get(ops, parts[p], (size_t)tensor->n);
            if (!write_checked(writer, numbers, (size_t)tensor->n * sizeof *numbers, &crc, err)) return false;
        }
    }
    return file_writer_write(writer, &crc, sizeof crc, err);
}

bool checkpoint_write(const char *path, const struct train_state *state, const json_t *run,
                      const struct optimizer *optimizer, struct llm_error *err) {
    json_t *json = state_json(state, run);
    char *text = json == NULL ? NULL : json_dump(json, JSON_COMPACT | JSON_REAL_PRECISION(17));
    json_decref(json);
    if (text == NULL) return error_memory(err, "checkpoint");
    if (strlen(text) > MAX_JSON) {
        error_set(err, LLM_ERROR_UNSUPPORTED, "%s: %zu bytes of settings and measures; at most %d can be kept", path,
                  strlen(text), MAX_JSON);
        free(text);
        return false;
    }
    struct file_writer *writer = file_writer_open(path, err);
    bool ok = writer != NULL && write_header(writer, text, err) && write_numbers(writer, optimizer, err);
    free(text);
    if (ok) return file_writer_commit(writer, err);
    file_writer_abort(writer);
    return false;
}

// ---- Reading --------------------------------------------------------------------------------

static uint32_t read_u32(const uint8_t *bytes) {
    uint32_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

// The JSON of a checkpoint, its checksum compared; *head is where the numbers begin.
static json_t *parse_header(const uint8_t *bytes, size_t size, size_t *head, struct llm_error *err) {
    uint64_t length = 0;
    if (size < HEAD_SIZE || memcmp(bytes, magic, sizeof magic) != 0) {
        error_set(err, LLM_ERROR_FORMAT, "is not a checkpoint of this version of my-llm");
        return NULL;
    }
    memcpy(&length, bytes + MAGIC_SIZE, sizeof length);
    if (length > MAX_JSON || length + HEAD_SIZE + CRC_SIZE > size) {
        error_set(err, LLM_ERROR_FORMAT, "is cut short or damaged: a header of %llu bytes in a file of %zu",
                  (unsigned long long)length, size);
        return NULL;
    }
    *head = HEAD_SIZE + (size_t)length;
    if (read_u32(bytes + *head) != crc32c(0, bytes, *head)) {
        error_set(err, LLM_ERROR_FORMAT, "is damaged: the header's checksum does not agree");
        return NULL;
    }
    json_t *json = json_parse((const char *)bytes + HEAD_SIZE, (size_t)length, err);
    *head += CRC_SIZE;
    return json;
}

static bool check_numbers(const uint8_t *bytes, size_t size, const struct optimizer *optimizer, struct llm_error *err) {
    const uint64_t expected = 3 * (uint64_t)optimizer_size(optimizer) * sizeof(float) + CRC_SIZE;
    if (size != expected) {
        return error_set(err, LLM_ERROR_FORMAT, "has %zu bytes of numbers, %llu were expected", size,
                         (unsigned long long)expected);
    }
    if (read_u32(bytes + size - CRC_SIZE) != crc32c(0, bytes, size - CRC_SIZE)) {
        return error_set(err, LLM_ERROR_FORMAT, "is damaged: the checksum of its numbers does not agree");
    }
    return true;
}

bool checkpoint_parse(const uint8_t *bytes, size_t size, struct train_state *state, const json_t *run,
                      int64_t steps_an_epoch, const struct optimizer *optimizer, struct llm_error *err) {
    size_t head = 0;
    json_t *json = parse_header(bytes, size, &head, err);
    if (json == NULL) return false;
    struct train_state read = {0};
    const int64_t done = json_integer_value(json_object_get(json, "step"));
    const bool ok = train_resume_check(json_object_get(json, "run"), run, steps_an_epoch, done, err) &&
                    get_state(json, &read, err) && check_numbers(bytes + head, size - head, optimizer, err) &&
                    get_measures(json, state->measures, err);
    json_decref(json);
    read.measures = state->measures;
    if (!ok) return false;
    *state = read;
    const uint8_t *at = bytes + head;
    for (int i = 0; i < optimizer->n_tensors; i++) {
        const struct train_tensor *tensor = &optimizer->tensors[i];
        float *const parts[] = {tensor->weight, tensor->m, tensor->v};
        const size_t n = (size_t)tensor->n * sizeof(float);
        for (size_t p = 0; p < sizeof parts / sizeof parts[0]; p++) {
            memcpy(parts[p], at, n);
            at += n;
        }
    }
    return true;
}

bool checkpoint_read(const char *path, struct train_state *state, const json_t *run, int64_t steps_an_epoch,
                     const struct optimizer *optimizer, struct llm_error *err) {
    struct file_map map;
    if (!file_map_open(&map, path, err)) return false;
    const bool ok = checkpoint_parse(map.bytes, map.size, state, run, steps_an_epoch, optimizer, err);
    if (!ok) error_prefix(err, "%s", path);
    file_map_close(&map);
    return ok;
}
