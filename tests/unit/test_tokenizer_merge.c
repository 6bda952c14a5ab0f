// test_tokenizer_merge.c: pre-split and merging against slow references written straight from their definitions.
//
// The splitter's reference tries the alternatives of GPT-2's pattern one after another at each place. The reference for
// merging works on spellings: it looks every two neighbours up as a line of vocab.bpe and joins the earliest line's.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/random.h"
#include "base/str.h"
#include "base/utf8.h"
#include "tokenizer/bytelevel.h"
#include "tokenizer/merge.h"
#include "tokenizer/split.h"

#define VOCAB_BPE MY_LLM_SOURCE_DIR "/src/tokenizer/gpt2/vocab.bpe"

// ---- The reference for splitting --------------------------------------------------------------

struct character {
    size_t begin;
    enum char_class class;
    char ascii; // 0 when it is not
};

// How many characters from `at` on are of the class.
static size_t run(const struct character *text, size_t n, size_t at, enum char_class class) {
    size_t end = at;
    while (end < n && text[end].class == class) end++;
    return end - at;
}

static size_t match_contraction(const struct character *text, size_t n, size_t at) {
    static const char *const forms[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
        size_t i = 0;
        while (forms[f][i] != '\0' && at + i < n && text[at + i].ascii == forms[f][i]) i++;
        if (forms[f][i] == '\0') return i;
    }
    return 0;
}

// " ?X+"; giving the space back never helps, as no X is a space
static size_t match_word(const struct character *text, size_t n, size_t at, enum char_class class) {
    const size_t space = text[at].ascii == ' ';
    const size_t length = run(text, n, at + space, class);
    return length > 0 ? space + length : 0;
}

// "\s+(?!\S)": the longest run that is not followed by something else
static size_t match_space_before_space(const struct character *text, size_t n, size_t at) {
    for (size_t length = run(text, n, at, CHAR_SPACE); length > 0; length--) {
        if (at + length == n || text[at + length].class == CHAR_SPACE) return length;
    }
    return 0;
}

static size_t reference_piece(const struct character *text, size_t n, size_t at) {
    size_t length = match_contraction(text, n, at);
    if (length == 0) length = match_word(text, n, at, CHAR_LETTER);
    if (length == 0) length = match_word(text, n, at, CHAR_NUMBER);
    if (length == 0) length = match_word(text, n, at, CHAR_OTHER);
    if (length == 0) length = match_space_before_space(text, n, at);
    if (length == 0) length = run(text, n, at, CHAR_SPACE);
    return length;
}

static void assert_ends(struct splitter *splitter, size_t most, const size_t *expected, size_t n) {
    size_t ends[200];
    for (size_t at = 0, found = 0; at < n; at += found) {
        found = split_next(splitter, ends, most);
        assert_in_range(found, 1, n - at);
        assert_memory_equal(ends, expected + at, found * sizeof *ends);
    }
    assert_int_equal(split_next(splitter, ends, most), 0);
}

// One piece at a time and many, with every way of classing bytes.
static void assert_split(const char *bytes, size_t size) {
    struct character *text = calloc(size + 1, sizeof *text);
    size_t *expected = calloc(size + 1, sizeof *expected);
    size_t n = 0, n_pieces = 0;
    for (size_t at = 0; at < size; n++) {
        size_t length = 0;
        text[n].begin = at;
        text[n].class = split_class((const uint8_t *)bytes + at, size - at, &length);
        text[n].ascii = (uint8_t)bytes[at] < 0x80 ? bytes[at] : 0;
        at += length;
    }
    text[n].begin = size;
    for (size_t at = 0; at < n;) {
        at += reference_piece(text, n, at);
        expected[n_pieces++] = text[at].begin;
    }
    split_classify_fn *const ways[] = {split_classify_plain, split_classify_best()};
    for (int way = 0; way < 2; way++) {
        struct splitter one = {.text = (const uint8_t *)bytes, .size = size, .classify = ways[way]};
        struct splitter many = one;
        assert_ends(&one, 1, expected, n_pieces);
        assert_ends(&many, 200, expected, n_pieces);
    }
    free(expected);
    free(text);
}

// ---- The reference for merging ----------------------------------------------------------------

struct reference {
    char *lines; // vocab.bpe, its lines made strings: the keys of `ranks`
    struct hsearch_data ranks;
    struct hsearch_data ids;
    char *names[256 + 50000]; // the keys of `ids`
    struct llm_tokenizer *tokenizer;
};

static void enter(struct hsearch_data *table, char *key, intptr_t value) {
    ENTRY *entry = NULL;
    assert_true(hsearch_r((ENTRY){key, (void *)value}, ENTER, &entry, table) != 0);
}

static void enter_name(struct reference *reference, const char *name, int id) {
    reference->names[id] = strdup(name);
    enter(&reference->ids, reference->names[id], id);
}

static int look_up(struct hsearch_data *table, char *key) {
    ENTRY *entry = NULL;
    return hsearch_r((ENTRY){key, NULL}, FIND, &entry, table) != 0 ? (int)(intptr_t)entry->data : -1;
}

static int setup(void **state) {
    struct reference *reference = calloc(1, sizeof *reference);
    size_t size = 0;
    if (!file_read(VOCAB_BPE, 1 << 20, &reference->lines, &size, NULL)) return -1;
    hcreate_r(200000, &reference->ranks);
    hcreate_r(200000, &reference->ids);
    for (int id = 0; id < 256; id++) {
        char spelling[5] = "";
        utf8_encode(bytelevel_char(bytelevel_gpt2_byte(id)), spelling);
        enter_name(reference, spelling, id);
    }
    char *rest = NULL;
    int rank = -1; // the first line is the version
    for (char *line = strtok_r(reference->lines, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        if (rank >= 0) {
            char joined[256];
            const size_t left = strcspn(line, " ");
            snprintf(joined, sizeof joined, "%.*s%s", (int)left, line, line + left + 1);
            enter(&reference->ranks, line, rank);
            enter_name(reference, joined, 256 + rank);
        }
        rank++;
    }
    assert_int_equal(rank, 50000);
    reference->tokenizer = tokenizer_new_gpt2(NULL);
    *state = reference;
    return reference->tokenizer != NULL ? 0 : -1;
}

static int teardown(void **state) {
    struct reference *reference = *state;
    llm_tokenizer_free(reference->tokenizer);
    hdestroy_r(&reference->ranks);
    hdestroy_r(&reference->ids);
    for (int id = 0; id < 256 + 50000; id++) free(reference->names[id]);
    free(reference->lines);
    free(reference);
    return 0;
}

// Ids of a piece of at most 400 bytes.
static size_t reference_merge(struct reference *reference, const uint8_t *piece, size_t size, int32_t *ids) {
    static char parts[400][1024];
    size_t n = size;
    for (size_t i = 0; i < size; i++) {
        memset(parts[i], 0, 5);
        utf8_encode(bytelevel_char(piece[i]), parts[i]);
    }
    while (n > 1) {
        int best = -1;
        size_t where = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            char line[2100];
            snprintf(line, sizeof line, "%s %s", parts[i], parts[i + 1]);
            const int rank = look_up(&reference->ranks, line);
            if (rank >= 0 && (best < 0 || rank < best)) {
                best = rank;
                where = i;
            }
        }
        if (best < 0) break;
        char joined[sizeof *parts + sizeof *parts];
        snprintf(joined, sizeof joined, "%s%s", parts[where], parts[where + 1]);
        memcpy(parts[where], joined, strlen(joined) + 1);
        memmove(parts[where + 1], parts[where + 2], (n - where - 2) * sizeof *parts);
        n--;
    }
    for (size_t i = 0; i < n; i++) ids[i] = look_up(&reference->ids, parts[i]);
    return n;
}

static void assert_merges(struct reference *reference, const uint8_t *piece, size_t size) {
    int32_t expected[400];
    int32_t ids[400];
    struct merge_scratch scratch = {0};
    const size_t n_expected = reference_merge(reference, piece, size, expected);
    size_t n = 0;
    assert_true(merge_long(reference->tokenizer, &scratch, piece, size, ids, &n, NULL));
    assert_int_equal(n, n_expected);
    assert_memory_equal(ids, expected, n * sizeof *ids);
    if (size <= MERGE_SHORT) {
        assert_int_equal(merge_short(reference->tokenizer, &scratch, piece, size, ids), n_expected);
        assert_memory_equal(ids, expected, n * sizeof *ids);
    }
    merge_scratch_release(&scratch);
}

// ---- Tests ------------------------------------------------------------------------------------

// Random text of few kinds of characters, so that all alternatives meet; some of it is not UTF-8.
static void random_bytes(struct random *random, struct strbuf *text, uint32_t max) {
    // clang-format off
    static const char *const parts[] = { // "": a zero byte
        " ", " ", "\n", "\t", "\xc2\xa0", "\xc2\x85", "\xe3\x80\x80", "'", "s", "t", "r", "e", "l", "d", "A",
        "\xc3\xa9", "\xe4\xb8\xad", "\xcc\x81", "0", "9", "\xc2\xbd", ".", "-", "\xf0\x9f\x99\x82",
        "\xff", "\xe2\x80", ""};
    // clang-format on
    strbuf_clear(text);
    const uint32_t n = random_u32(random) % max;
    for (uint32_t i = 0; i < n; i++) {
        const char *part = parts[random_u32(random) % (sizeof parts / sizeof *parts)];
        strbuf_append(text, part, part[0] == '\0' ? 1 : strlen(part));
    }
    strbuf_append(text, "", 0);
}

static void splitting_follows_the_pattern(void **state) {
    (void)state;
    struct random random;
    random_init(&random, 1);
    struct strbuf text;
    strbuf_init(&text, 1 << 20);
    for (int round = 0; round < 30000; round++) {
        random_bytes(&random, &text, 40);
        assert_split(text.bytes, text.size);
    }
    for (int round = 0; round < 3000; round++) {
        strbuf_clear(&text);
        for (uint32_t i = random_u32(&random) % 200; i > 0; i--) {
            const uint8_t byte = (uint8_t)random_u32(&random);
            strbuf_append(&text, &byte, 1);
        }
        strbuf_append(&text, "", 0);
        assert_split(text.bytes, text.size);
    }
    strbuf_release(&text);
}

static void random_pieces_merge_as_the_reference(void **state) {
    struct reference *reference = *state;
    struct random random;
    random_init(&random, 2);
    static const char letters[] = "aaeeiot nrsl hdcu-=.\n";
    for (int round = 0; round < 3000; round++) {
        uint8_t piece[400];
        const size_t size = 1 + random_u32(&random) % (round % 50 == 0 ? 400 : 80);
        const uint32_t kind = random_u32(&random) % 3;
        for (size_t i = 0; i < size; i++) {
            const uint32_t number = random_u32(&random);
            piece[i] = kind == 0   ? (uint8_t)number
                       : kind == 1 ? (uint8_t)letters[number % (sizeof letters - 1)]
                                   : (uint8_t) "ab"[number % 2];
        }
        assert_merges(reference, piece, size);
    }
}

static void runs_merge_as_the_reference(void **state) {
    for (int byte = 0; byte < 256; byte++) {
        uint8_t piece[80];
        memset(piece, byte, sizeof piece);
        for (size_t size = 1; size <= sizeof piece; size += byte < 128 ? 1 : 7) assert_merges(*state, piece, size);
    }
}

// tiktoken joins neighbours when their bytes together are any token; we, like GPT-2 itself, only when a merge has just
// these two. Both give the same ids if every token's own bytes merge to that token: then, when the merges below a rank
// are done, the bytes of the token of this rank can only stand there as its own two parts.
static void every_token_merges_to_itself(void **state) {
    const struct llm_tokenizer *tokenizer = ((struct reference *)*state)->tokenizer;
    struct merge_scratch scratch = {0};
    for (int32_t id = 0; id < llm_tokenizer_eot(tokenizer); id++) {
        size_t size = 0;
        const char *bytes = llm_tokenizer_token(tokenizer, id, &size);
        int32_t ids[256];
        size_t n = 0;
        assert_in_range(size, 1, 256);
        assert_true(merge_piece(tokenizer, &scratch, (const uint8_t *)bytes, size, ids, &n, NULL));
        assert_int_equal(n, 1);
        assert_int_equal(ids[0], id);
    }
    merge_scratch_release(&scratch);
}

// Work for one piece of n bytes: at most a few steps a byte, and as many again for each level of the heap.
static void work_grows_with_n_log_n(void **state) {
    const struct llm_tokenizer *tokenizer = ((struct reference *)*state)->tokenizer;
    struct random random;
    random_init(&random, 3);
    for (int kind = 0; kind < 5; kind++) {
        for (size_t size = 1000; size <= 1000000; size *= 10) {
            uint8_t *piece = malloc(size);
            int32_t *ids = malloc(size * sizeof *ids);
            for (size_t i = 0; i < size; i++) {
                piece[i] = kind < 4 ? (uint8_t) "a \n-"[kind] : (uint8_t)('a' + random_u32(&random) % 26);
            }
            struct merge_scratch scratch = {0};
            size_t n = 0;
            assert_true(merge_piece(tokenizer, &scratch, piece, size, ids, &n, NULL));
            size_t levels = 1;
            while (size >> levels != 0) levels++;
            assert_in_range(scratch.steps, size, 4 * size * (levels + 1));
            merge_scratch_release(&scratch);
            free(piece);
            free(ids);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splitting_follows_the_pattern), cmocka_unit_test(random_pieces_merge_as_the_reference),
        cmocka_unit_test(runs_merge_as_the_reference),   cmocka_unit_test(every_token_merges_to_itself),
        cmocka_unit_test(work_grows_with_n_log_n),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
