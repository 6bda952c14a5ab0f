// read_pair.c: vocabularies in two files: OpenAI's encoder.json + vocab.bpe, Hugging Face's vocab.json + merges.txt.
//
// The first is {"spelling": id, ...}; the second has one merge a line, "left right", most important first, with an
// optional first line "#version: 0.2". Lines end in LF or CRLF; the last may lack its end; empty lines are skipped.
#include <string.h>

#include "base/json.h"
#include "tokenizer/draft.h"
#include "tokenizer/read.h"

static bool read_merges(struct draft *draft, const char *merges, size_t size, struct llm_error *err) {
    const char *const end = merges + size;
    const char *line = merges;
    for (int number = 1; line < end; number++) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        const char *next = newline != NULL ? newline + 1 : end;
        size_t length = (size_t)((newline != NULL ? newline : end) - line);
        if (length > 0 && line[length - 1] == '\r') length--;
        const bool version = number == 1 && length >= 8 && memcmp(line, "#version", 8) == 0;
        if (length > 0 && !version && !draft_add_merge_line(draft, line, length, err)) {
            error_prefix(err, "line %d", number);
            return false;
        }
        line = next;
    }
    return true;
}

struct llm_tokenizer *read_pair(const struct read_file *vocab, const struct read_file *merges, struct llm_error *err) {
    struct draft draft;
    json_t *ids = json_parse(vocab->bytes, vocab->size, err);
    if (ids == NULL || !draft_init(&draft, ids, err) || !draft_finish_tokens(&draft, err)) {
        error_prefix(err, "%s", vocab->name);
        if (ids != NULL) draft_release(&draft);
        return NULL;
    }
    struct llm_tokenizer *tokenizer = NULL;
    if (read_merges(&draft, merges->bytes, merges->size, err)) tokenizer = draft_build(&draft, err);
    if (tokenizer == NULL) error_prefix(err, "%s", merges->name);
    draft_release(&draft);
    return tokenizer;
}

struct llm_tokenizer *tokenizer_parse_pair(const char *vocab_json, size_t vocab_size, const char *merges,
                                           size_t merges_size, struct llm_error *err) {
    const struct read_file vocab_file = {"vocabulary", vocab_json, vocab_size};
    const struct read_file merges_file = {"merges", merges, merges_size};
    return read_pair(&vocab_file, &merges_file, err);
}
