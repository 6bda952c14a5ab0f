// score_file.c: the answers and their scores as a file of JSON; see score.h.
//
// Everything an entry has is kept, in its order; "score", "score_judge" and, after a failure, "score_answer" are set.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "tasks/score.h"

static const size_t file_max = (size_t)1 << 30; // bytes

int score_parse(const char *text) {
    int score = 0, digits = 0;
    text += strspn(text, " \t\r\n");
    for (; *text >= '0' && *text <= '9' && digits < 4; text++, digits++) score = score * 10 + (*text - '0');
    text += strspn(text, " \t\r\n");
    return digits == 0 || digits > 3 || *text != '\0' || score > 100 ? -1 : score;
}

// ---- Opening ------------------------------------------------------------------------------------

// Points *text to the entry's string; null and missing are "" if that is allowed.
static bool take_string(const json_t *entry, size_t i, const char *key, bool needed, const char **text,
                        struct llm_error *err) {
    const json_t *value = json_object_get(entry, key);
    *text = json_string_value(value);
    if (*text != NULL) return true;
    *text = "";
    if (!needed && (value == NULL || json_is_null(value))) return true;
    return error_set(err, LLM_ERROR_FORMAT, "entry %zu: its \"%s\" is %s, a string was expected", i + 1, key,
                     value == NULL         ? "missing"
                     : json_is_null(value) ? "null"
                                           : "something else");
}

static bool take_entry(const struct score_file *file, size_t i, struct instruction *item, const char **response,
                       struct llm_error *err) {
    const json_t *entry = json_array_get(file->list, i);
    if (!json_is_object(entry)) return error_set(err, LLM_ERROR_FORMAT, "entry %zu: is not an object", i + 1);
    return take_string(entry, i, "instruction", true, &item->instruction, err) &&
           take_string(entry, i, "input", false, &item->input, err) &&
           take_string(entry, i, "output", true, &item->output, err) &&
           take_string(entry, i, file->options->response_key, true, response, err);
}

// The score that this judge has given before, or -1.
static int earlier_score(const struct score_file *file, size_t i) {
    const json_t *entry = json_array_get(file->list, i), *score = json_object_get(entry, "score");
    const char *judge = json_string_value(json_object_get(entry, "score_judge"));
    if (!json_is_integer(score) || judge == NULL || strcmp(judge, file->options->judge) != 0) return -1;
    const json_int_t number = json_integer_value(score);
    return number < 0 || number > 100 ? -1 : (int)number;
}

static bool check_list(struct score_file *file, struct llm_error *err) {
    if (!json_is_array(file->list)) return error_set(err, LLM_ERROR_FORMAT, "is not a JSON list of entries");
    file->n = json_array_size(file->list);
    if (file->n == 0) return error_set(err, LLM_ERROR_FORMAT, "holds no entries");
    file->states = calloc(file->n, sizeof *file->states);
    if (file->states == NULL) return error_memory(err, "scores");
    for (size_t i = 0; i < file->n; i++) {
        struct instruction item = {0};
        const char *response = NULL;
        if (!take_entry(file, i, &item, &response, err)) return false;
        if (!file->options->again && earlier_score(file, i) >= 0) file->states[i] = SCORE_KEPT;
    }
    return true;
}

bool score_file_open(struct score_file *file, const char *path, const struct llm_score_options *options,
                     struct llm_error *err) {
    file->path = path;
    file->options = options;
    if (!template_alpaca(&file->template, err)) return false;
    file->list = json_parse_file(path, file_max, err);
    if (file->list == NULL) return false;
    struct llm_error wrong = {0};
    if (check_list(file, &wrong)) return true;
    error_prefix(&wrong, "%s", path);
    return error_set(err, wrong.code, "%s", wrong.text);
}

void score_file_close(struct score_file *file) {
    template_release(&file->template);
    json_decref(file->list);
    free(file->states);
    *file = (struct score_file){0};
}

// ---- One entry ----------------------------------------------------------------------------------

bool score_file_question(const struct score_file *file, size_t i, struct strbuf *question, struct llm_error *err) {
    struct instruction item = {0};
    const char *response = NULL;
    if (!take_entry(file, i, &item, &response, err)) return false;
    strbuf_clear(question);
    strbuf_puts(question, "Given the input `");
    template_put_prompt(question, &file->template, &item);
    strbuf_puts(question, "` and correct output `");
    strbuf_puts(question, item.output);
    strbuf_puts(question, "`, score the model response `");
    strbuf_puts(question, response);
    strbuf_puts(question, "` on a scale from 0 to 100, where 100 is the best score. "
                          "Respond with the integer number only.");
    return strbuf_ok(question) || error_memory(err, "question");
}

bool score_file_set(struct score_file *file, size_t i, int score, const char *answer, struct llm_error *err) {
    json_t *entry = json_array_get(file->list, i);
    bool ok = json_object_set_new(entry, "score", score < 0 ? json_null() : json_integer(score)) == 0 &&
              json_object_set_new(entry, "score_judge", json_string(file->options->judge)) == 0;
    if (score >= 0) {
        json_object_del(entry, "score_answer");
    } else {
        ok = ok && json_object_set_new(entry, "score_answer", json_text(answer, strlen(answer))) == 0;
    }
    file->states[i] = score < 0 ? SCORE_FAILED : SCORE_MADE;
    return ok || error_memory(err, "scores");
}

bool score_file_save(const struct score_file *file, struct llm_error *err) {
    char *text = json_dump(file->list, JSON_INDENT(4)); // laid out as Python's json.dump(indent=4)
    const bool ok = text == NULL ? error_memory(err, "scores") : file_write(file->path, text, strlen(text), err);
    free(text);
    return ok;
}

// ---- The summary --------------------------------------------------------------------------------

static int compare_scores(const void *a, const void *b) {
    return *(const int *)a - *(const int *)b;
}

// Average, spread and the extremes of scores [n > 0], which are sorted.
static void measure(struct llm_scores *scores, int *values, size_t n) {
    double sum = 0, squares = 0;
    qsort(values, n, sizeof *values, compare_scores);
    for (size_t i = 0; i < n; i++) sum += values[i];
    scores->average = sum / (double)n;
    for (size_t i = 0; i < n; i++) squares += (values[i] - scores->average) * (values[i] - scores->average);
    scores->deviation = sqrt(squares / (double)n);
    scores->median = (values[(n - 1) / 2] + values[n / 2]) / 2.0;
    scores->lowest = values[0];
    scores->highest = values[n - 1];
}

bool score_file_summary(const struct score_file *file, struct llm_scores *scores, struct llm_error *err) {
    int *values = calloc(file->n, sizeof *values);
    scores->entries = calloc(file->n, sizeof *scores->entries);
    if (values == NULL || scores->entries == NULL) {
        free(values);
        llm_scores_release(scores);
        return error_memory(err, "scores");
    }
    scores->owner = json_incref(file->list);
    scores->n_entries = (int64_t)file->n;
    for (size_t i = 0; i < file->n; i++) {
        const json_t *entry = json_array_get(file->list, i);
        struct llm_score *score = &scores->entries[i];
        score->instruction = json_string_value(json_object_get(entry, "instruction"));
        score->response = json_string_value(json_object_get(entry, file->options->response_key));
        score->score = earlier_score(file, i);
        if (score->score < 0) {
            score->answer = json_string_value(json_object_get(entry, "score_answer"));
            scores->n_failed++;
        } else {
            values[scores->n_scored++] = score->score;
            scores->n_kept += file->states[i] == SCORE_KEPT;
        }
    }
    if (scores->n_scored > 0) measure(scores, values, (size_t)scores->n_scored);
    free(values);
    return true;
}

void llm_scores_release(struct llm_scores *scores) {
    free(scores->entries);
    json_decref(scores->owner);
    *scores = (struct llm_scores){0};
}
