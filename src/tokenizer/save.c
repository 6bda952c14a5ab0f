// save.c: a vocabulary as Hugging Face has it: vocab.json, merges.txt and tokenizer.json.
//
// tokenizer.json is the pipeline of GPT-2 (see read_json.c) around the same vocabulary and merges. Tokens are written
// in the order of their ids, merges in the order of their ranks.
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/str.h"
#include "tokenizer/bytelevel.h"
#include "tokenizer/core.h"

enum {
    OUTPUT_MAX = 1 << 30 // bytes; far more than any vocabulary that could be read
};

static void put_spelling(struct strbuf *out, const struct llm_tokenizer *tokenizer, int32_t id) {
    const uint32_t start = tokenizer->starts[id];
    bytelevel_spell(out, tokenizer->bytes + start, tokenizer->starts[id + 1] - start);
}

// The spelling as a JSON string. Spellings hold no control characters; of the others only " and \ are escaped, and both
// are spelled as themselves.
static void put_json_spelling(struct strbuf *out, const struct llm_tokenizer *tokenizer, int32_t id) {
    strbuf_puts(out, "\"");
    for (uint32_t at = tokenizer->starts[id]; at < tokenizer->starts[id + 1]; at++) {
        const char byte = tokenizer->bytes[at];
        if (byte == '"' || byte == '\\') strbuf_puts(out, "\\");
        bytelevel_spell(out, &byte, 1);
    }
    strbuf_puts(out, "\"");
}

static void put_vocab(struct strbuf *out, const struct llm_tokenizer *tokenizer) {
    for (int32_t id = 0; id < tokenizer->n_tokens; id++) {
        strbuf_puts(out, id == 0 ? "{" : ", ");
        put_json_spelling(out, tokenizer, id);
        strbuf_printf(out, ": %d", id);
    }
    strbuf_puts(out, "}");
}

static void put_merges_txt(struct strbuf *out, const struct llm_tokenizer *tokenizer, const int32_t (*merges)[2]) {
    strbuf_puts(out, "#version: 0.2\n");
    for (int rank = 0; rank < tokenizer->n_merges; rank++) {
        put_spelling(out, tokenizer, merges[rank][0]);
        strbuf_puts(out, " ");
        put_spelling(out, tokenizer, merges[rank][1]);
        strbuf_puts(out, "\n");
    }
}

static void put_tokenizer_json(struct strbuf *out, const struct llm_tokenizer *tokenizer, const int32_t (*merges)[2]) {
    strbuf_puts(out,
                "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n  \"added_tokens\": [");
    if (tokenizer->eot >= 0) {
        strbuf_printf(out,
                      "\n    {\"id\": %d, \"content\": \"" EOT_TEXT "\", \"single_word\": false, \"lstrip\": false, "
                      "\"rstrip\": false, \"normalized\": true, \"special\": true}\n  ",
                      tokenizer->eot);
    }
    strbuf_puts(out, "],\n  \"normalizer\": null,\n"
                     "  \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
                     "\"trim_offsets\": true, \"use_regex\": true},\n"
                     "  \"post_processor\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, "
                     "\"trim_offsets\": false, \"use_regex\": true},\n"
                     "  \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, "
                     "\"trim_offsets\": true, \"use_regex\": true},\n"
                     "  \"model\": {\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": null,\n"
                     "    \"continuing_subword_prefix\": \"\",\n    \"end_of_word_suffix\": \"\",\n"
                     "    \"fuse_unk\": false,\n    \"byte_fallback\": false,\n    \"ignore_merges\": false,\n"
                     "    \"vocab\": ");
    put_vocab(out, tokenizer);
    strbuf_puts(out, ",\n    \"merges\": [");
    for (int rank = 0; rank < tokenizer->n_merges; rank++) {
        strbuf_puts(out, rank == 0 ? "[" : ", [");
        put_json_spelling(out, tokenizer, merges[rank][0]);
        strbuf_puts(out, ", ");
        put_json_spelling(out, tokenizer, merges[rank][1]);
        strbuf_puts(out, "]");
    }
    strbuf_puts(out, "]\n  }\n}\n");
}

// The spellings of one or two tokens, with a space between them, behind their size.
static void put_sized(struct strbuf *out, const struct llm_tokenizer *tokenizer, const int32_t *ids, int n) {
    const size_t begin = out->size;
    uint8_t front[8] = {0};
    strbuf_append(out, front, sizeof front);
    for (int i = 0; i < n; i++) {
        if (i > 0) strbuf_puts(out, " ");
        put_spelling(out, tokenizer, ids[i]);
    }
    if (!strbuf_ok(out)) return;
    const uint64_t size = out->size - begin - sizeof front;
    for (int b = 0; b < 8; b++) front[b] = (uint8_t)(size >> (8 * b));
    memcpy(out->bytes + begin, front, sizeof front);
}

bool tokenizer_write_lists(const struct llm_tokenizer *tokenizer, struct strbuf *tokens, struct strbuf *merges,
                           int *n_merges, struct llm_error *err) {
    strbuf_init(tokens, OUTPUT_MAX);
    strbuf_init(merges, OUTPUT_MAX);
    int32_t(*ranked)[2] = tokenizer_list_merges(tokenizer, err);
    if (ranked == NULL) return false;
    for (int32_t id = 0; id < tokenizer->n_tokens; id++) put_sized(tokens, tokenizer, &id, 1);
    for (int rank = 0; rank < tokenizer->n_merges; rank++) put_sized(merges, tokenizer, ranked[rank], 2);
    free(ranked);
    *n_merges = tokenizer->n_merges;
    return (strbuf_ok(tokens) && strbuf_ok(merges)) || error_memory(err, "vocabulary");
}

// Writes `text` to a file of the directory and empties it.
static bool write_out(const char *directory, const char *name, struct strbuf *text, struct llm_error *err) {
    char *path = path_join(directory, name);
    if (path == NULL || !strbuf_ok(text)) {
        free(path);
        return error_memory(err, name);
    }
    const bool ok = file_write(path, text->bytes, text->size, err);
    free(path);
    strbuf_clear(text);
    return ok;
}

bool tokenizer_save(const struct llm_tokenizer *tokenizer, const char *directory, struct llm_error *err) {
    int32_t(*merges)[2] = tokenizer_list_merges(tokenizer, err);
    if (merges == NULL) return false;
    const int32_t(*const ranked)[2] = (const int32_t(*)[2])merges;
    struct strbuf text;
    strbuf_init(&text, OUTPUT_MAX);
    put_vocab(&text, tokenizer);
    bool ok = write_out(directory, "vocab.json", &text, err);
    if (ok) {
        put_merges_txt(&text, tokenizer, ranked);
        ok = write_out(directory, "merges.txt", &text, err);
    }
    if (ok) {
        put_tokenizer_json(&text, tokenizer, ranked);
        ok = write_out(directory, "tokenizer.json", &text, err);
    }
    strbuf_release(&text);
    free(merges);
    return ok;
}

// Refuses to replace a directory in which there is more than a vocabulary.
static bool check_replaceable(const char *directory, struct llm_error *err) {
    static const char *const vocabulary[] = {"vocab.json", "merges.txt", "tokenizer.json", NULL};
    char name[256];
    return !directory_has_other(directory, vocabulary, name) ||
           error_set(err, LLM_ERROR_ARGUMENT, "%s: holds %s, which is no part of a vocabulary, so it is not replaced",
                     directory, name);
}

bool llm_tokenizer_save_check(const char *directory, bool overwrite, struct llm_error *err) {
    if (overwrite && !check_replaceable(directory, err)) return false;
    struct directory_writer *writer = directory_writer_open(directory, overwrite, err);
    if (writer == NULL) return false;
    directory_writer_abort(writer);
    return true;
}

bool llm_tokenizer_save(const struct llm_tokenizer *tokenizer, const char *directory, bool overwrite,
                        struct llm_error *err) {
    if (overwrite && !check_replaceable(directory, err)) return false;
    struct directory_writer *writer = directory_writer_open(directory, overwrite, err);
    if (writer == NULL) return false;
    if (tokenizer_save(tokenizer, directory_writer_path(writer), err)) return directory_writer_commit(writer, err);
    directory_writer_abort(writer);
    return false;
}
