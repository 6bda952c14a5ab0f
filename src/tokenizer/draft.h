// draft.h: a vocabulary while it is being read from files.
//
// Vocabulary files hold an object {spelling: id} (spellings as in bytelevel.h, in any order) and merges that name
// tokens by spelling. A draft keeps the object, whose seeded hash no file can be built to overload, checks that its ids
// are whole, and turns merges into ids. Both file layouts (read_pair.c, read_json.c) go through it and so fail alike.
//
//     draft_init, draft_add_special ..., draft_finish_tokens, draft_add_merge ..., draft_build; draft_release
#ifndef TOKENIZER_DRAFT_H
#define TOKENIZER_DRAFT_H

#include <jansson.h>

#include "base/str.h"
#include "tokenizer/tokenizer.h"

enum {
    VOCABULARY_FILE_MAX = 64 << 20 // bytes; the largest vocabularies in use have about 20 MB
};

struct draft {
    json_t *ids;          // {spelling: id}
    const char **names;   // [n_tokens] borrowed from ids
    struct strbuf bytes;  // what the names stand for, one after another
    uint32_t *starts;     // [n_tokens + 1]
    int32_t (*merges)[3]; // [n_merges]
    int n_tokens, n_merges, merges_capacity;
    struct strbuf joined; // the spelling that the merge at hand gives
};

// Takes over the reference to `ids`, which must be an object; changes it.
bool draft_init(struct draft *draft, json_t *ids, struct llm_error *err);
void draft_release(struct draft *draft);

// Adds a token that stands beside the others, by its text, not its spelling; it may be among them already.
bool draft_add_special(struct draft *draft, const char *text, int64_t id, struct llm_error *err);

// Checks that n tokens have the ids 0 .. n - 1, each once, and finds their bytes.
bool draft_finish_tokens(struct draft *draft, struct llm_error *err);

// Adds the next merge. Both parts, and what they give together, must be tokens.
bool draft_add_merge(struct draft *draft, const char *left, size_t left_size, const char *right, size_t right_size,
                     struct llm_error *err);
// The same from "left right".
bool draft_add_merge_line(struct draft *draft, const char *line, size_t size, struct llm_error *err);

struct llm_tokenizer *draft_build(const struct draft *draft, struct llm_error *err);

// A name from a file as it may be shown in a sentence: quoted, cut after 40 bytes, with \xNN for what is neither
// printable ASCII nor valid UTF-8.
struct shown {
    char text[200];
};
struct shown show_name(const char *name, size_t size);

#endif
