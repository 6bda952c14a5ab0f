// instruct_score.c: `my-llm instruct score`: a second model scores the answers of a first one.
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/command.h"
#include "cli/instruct_score.h"
#include "cli/progress.h"

struct score_args {
    struct llm_score_options score;
    const char *url;
    bool json;
};

static const char *const apis[] = {"ollama", "openai", NULL};

static const struct option options[] = {
    {"url", 0, OPTION_STRING, offsetof(struct score_args, url), "URL",
     "the judge's server; http://localhost:11434 for Ollama when not given", 0, 0, NULL},
    {"judge", 0, OPTION_STRING, offsetof(struct score_args, score.judge), "NAME", "the model that judges", 0, 0, NULL},
    {"api", 0, OPTION_CHOICE, offsetof(struct score_args, score.api), "API", "what the server speaks", 0, 0, apis},
    {"response-key", 0, OPTION_STRING, offsetof(struct score_args, score.response_key), "KEY",
     "the key of an entry that holds the answer", 0, 0, NULL},
    {"parallel", 'j', OPTION_INT, offsetof(struct score_args, score.parallel), "N", "requests at a time", 1, 64, NULL},
    {"no-stream", 0, OPTION_NO_FLAG, offsetof(struct score_args, score.stream), NULL,
     "have the server send each answer at once", 0, 0, NULL},
    {"timeout", 0, OPTION_INT, offsetof(struct score_args, score.timeout), "SECONDS", "how long one answer may take", 1,
     86400, NULL},
    {"again", 0, OPTION_FLAG, offsetof(struct score_args, score.again), NULL,
     "score anew what this judge has scored before", 0, 0, NULL},
    {"json", 0, OPTION_FLAG, offsetof(struct score_args, json), NULL, "print JSON: the numbers and every score", 0, 0,
     NULL},
};

static void score_init(void *memory) {
    struct score_args *args = memory;
    *args = (struct score_args){0};
    llm_score_options_init(&args->score);
}

// ---- For people -----------------------------------------------------------------------------------

enum {
    SHOWN = 3, // best and worst entries
    SHOWN_FAILED = 20,
};

// A stranger's text in one short line.
static const char *in_line(const char *text, char out[STR_QUOTE_SIZE]) {
    return str_quote(text == NULL ? "" : text, out);
}

static void print_entry(const struct llm_scores *scores, int64_t i) {
    const struct llm_score *entry = &scores->entries[i];
    char instruction[STR_QUOTE_SIZE], response[STR_QUOTE_SIZE];
    printf("  entry %" PRId64 ": %d\n", i + 1, entry->score);
    printf("    instruction %s\n", in_line(entry->instruction, instruction));
    printf("    answer      %s\n", in_line(entry->response, response));
}

// The entries with the highest (sign 1) or lowest (-1) scores, equal ones in the file's order.
static void print_extremes(const struct llm_scores *scores, int sign) {
    int last = sign * 1000;
    int64_t place = -1;
    for (int shown = 0; shown < SHOWN && shown < scores->n_scored; shown++) {
        int64_t best = -1;
        for (int64_t i = 0; i < scores->n_entries; i++) {
            const int score = scores->entries[i].score;
            const bool behind = sign * score < sign * last || (score == last && i > place);
            if (score >= 0 && behind && (best < 0 || sign * score > sign * scores->entries[best].score)) best = i;
        }
        if (best < 0) break;
        print_entry(scores, best);
        last = scores->entries[best].score;
        place = best;
    }
}

static void print_failed(const struct llm_scores *scores) {
    int shown = 0;
    char quoted[STR_QUOTE_SIZE];
    for (int64_t i = 0; i < scores->n_entries && shown < SHOWN_FAILED; i++) {
        if (scores->entries[i].score >= 0) continue;
        printf("  entry %" PRId64 ": %s\n", i + 1, in_line(scores->entries[i].answer, quoted));
        shown++;
    }
    if (scores->n_failed > shown) printf("  and %" PRId64 " others\n", scores->n_failed - shown);
}

static void print_scores(const struct llm_scores *scores) {
    printf("Number of entries scored: %" PRId64 "\n", scores->n_scored);
    if (scores->n_scored > 0) {
        printf("Average score: %.2f\n", scores->average);
        printf("Spread: standard deviation %.2f, median %g, from %d to %d\n", scores->deviation, scores->median,
               scores->lowest, scores->highest);
    }
    printf("Failed: %" PRId64 "%s\n", scores->n_failed,
           scores->n_failed > 0 ? " (asked twice, no integer from 0 to 100 came)" : "");
    print_failed(scores);
    if (scores->n_scored == 0) return;
    puts("Best:");
    print_extremes(scores, 1);
    puts("Worst:");
    print_extremes(scores, -1);
}

// ---- For scripts ----------------------------------------------------------------------------------

static bool print_json(const struct llm_scores *scores, const char *judge, struct llm_error *err) {
    json_t *list = json_array();
    bool ok = list != NULL;
    for (int64_t i = 0; ok && i < scores->n_entries; i++) {
        const int score = scores->entries[i].score;
        ok = json_array_append_new(list, score < 0 ? json_null() : json_integer(score)) == 0;
    }
    json_t *value =
        json_pack("{s:s, s:I, s:I, s:I, s:f, s:f, s:f, s:i, s:i, s:o?}", "judge", judge, "n_scored",
                  (json_int_t)scores->n_scored, "n_failed", (json_int_t)scores->n_failed, "n_kept",
                  (json_int_t)scores->n_kept, "average", scores->average, "deviation", scores->deviation, "median",
                  scores->median, "lowest", scores->lowest, "highest", scores->highest, "scores", list);
    char *text = ok && value != NULL ? json_dump(value, JSON_REAL_PRECISION(10)) : NULL;
    ok = text != NULL || error_memory(err, "JSON");
    if (ok) puts(text);
    free(text);
    json_decref(value);
    return ok;
}

// ---- The command ----------------------------------------------------------------------------------

int score_and_show(const char *file, const struct llm_score_options *scoring, bool json) {
    struct llm_error err = {0};
    struct llm_scores scores;
    if (!llm_score_answers(file, scoring, &scores, &err)) return command_failed(&err);
    progress_clear();
    const bool nothing = scores.n_scored == 0;
    bool ok = true;
    if (json) {
        ok = print_json(&scores, scoring->judge, &err);
    } else {
        print_scores(&scores);
    }
    llm_scores_release(&scores);
    if (ok && nothing) {
        ok = error_set(&err, LLM_ERROR_FORMAT, "%s: the judge %s scored none of the answers", file, scoring->judge);
    }
    return ok ? 0 : command_failed(&err);
}

static int score_run(void *memory, int n_operands, char **operands) {
    (void)n_operands;
    struct score_args *args = memory;
    if (args->score.api == LLM_SCORE_OPENAI) {
        if (args->url == NULL) return command_usage(&command_instruct_score, "--api openai needs the server's --url");
        const char *key = getenv("OPENAI_API_KEY");
        if (key != NULL && key[0] != '\0') args->score.api_key = key;
    }
    if (args->url != NULL) args->score.url = args->url;
    args->score.callbacks = command_callbacks();
    return score_and_show(operands[0], &args->score, args->json);
}

const struct command command_instruct_score = {
    .name = "instruct score",
    .summary = "have a second model score answers",
    .usage = "[options] FILE",
    .description =
        "FILE is a JSON list of entries with instruction, input, output and model_response, as `instruct\n"
        "respond` writes it. The judge, a larger model behind Ollama or any server that speaks OpenAI's API,\n"
        "is asked about each how good the response is, and takes an integer from 0 to 100 for an answer. Anything\n"
        "else is asked again once, then counted and listed.\n"
        "\n"
        "The scores are written into FILE beside the answers every few entries: score (null where there is none,\n"
        "with score_answer) and score_judge. When something ends the run, the same command goes on from there.\n"
        "\n"
        "With --api openai the key is taken from OPENAI_API_KEY, if that is set.",
    .examples = "  $ my-llm instruct score instruction-data-with-response.json\n"
                "  $ my-llm instruct score -j 4 --url http://gpu:11434 --judge llama3.1:70b answers.json\n"
                "  $ my-llm instruct score --api openai --url http://localhost:8000 --judge any answers.json",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .args_size = sizeof(struct score_args),
    .min_operands = 1,
    .max_operands = 1,
    .init = score_init,
    .run = score_run,
};
