// known.c: recognises GPT-2's own vocabulary files, so that opening them costs a checksum and not a parse.
//
// Reading 50,257 tokens and 50,000 merges through a strict JSON reader takes some 50 ms, most of what starting a small
// model takes; the same vocabulary is in the program (gpt2.c). Only files equal byte for byte to OpenAI's, or to what
// tokenizer_save() makes of them, count: anything else is read.
#include <string.h>

#include "base/checksum.h"
#include "tokenizer/read.h"

struct known {
    size_t size;
    const char *sha256;
};

// encoder.json (Hugging Face's vocab.json is the same file), and vocab.json as saved
static const struct known vocabularies[] = {
    {1042301, "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"},
    {898669, "03087853bc70c618b66e7c7a43e787d2db4c469416beac9a483e53dad1f72f27"},
    {0, NULL},
};

// vocab.bpe, which merges.txt equals
static const struct known merge_lists[] = {
    {456318, "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"},
    {0, NULL},
};

// tokenizer.json as saved
static const struct known pipelines[] = {
    {1756019, "82de9a820e5fd56a6fdeba675852ba019fa51dd20ae3f259fd9104823e77b821"},
    {0, NULL},
};

// the two lists of a GGUF file, as llama.cpp's converter and we write them
static const struct known token_lists[] = {
    {758791, "1b0b4d1f2288958613732175557fa89f8db2b619574bc7500c5b8cb8269c16ee"},
    {0, NULL},
};
static const struct known lists_of_merges[] = {
    {806304, "dca569b10de5f0a468dfe0d780bc5db55facb46b3bfbd8c29c9a18d3df1cac41"},
    {0, NULL},
};

static bool is_known(const struct read_file *file, const struct known *known) {
    while (known->sha256 != NULL && known->size != file->size) known++;
    if (known->sha256 == NULL) return false; // other sizes are not even summed
    struct checksum sum;
    char text[CHECKSUM_TEXT];
    checksum_init(&sum);
    checksum_update(&sum, file->bytes, file->size);
    checksum_text(&sum, text);
    return strcmp(text, known->sha256) == 0;
}

bool known_gpt2_pair(const struct read_file *vocab, const struct read_file *merges) {
    return is_known(vocab, vocabularies) && is_known(merges, merge_lists);
}

bool known_gpt2_json(const struct read_file *json) {
    return is_known(json, pipelines);
}

bool known_gpt2_lists(const struct read_file *tokens, const struct read_file *merges) {
    return is_known(tokens, token_lists) && is_known(merges, lists_of_merges);
}
