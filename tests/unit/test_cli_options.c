// test_cli_options.c: words in, fields out; every sentence of wrong usage; the check of the tables, on
// broken tables and on the program's own.
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/option_value.h"
#include "cli/options.h"

struct args {
    bool json;
    bool echo;
    int max_tokens;
    int64_t offset;
    uint64_t seed;
    float top_p;
    float temperature;
    int64_t shard_size;
    const char *model;
    struct strings stops;
    int dtype;
    double lr;
    bool given[16];
};

static const char *const dtypes[] = {"f32", "f16", "bf16", NULL};

#define FIELD(name) offsetof(struct args, name)

static const struct option rows[] = {
    {"json", 0, OPTION_FLAG, FIELD(json), NULL, "print JSON", 0, 0, NULL},
    {"no-echo", 0, OPTION_NO_FLAG, FIELD(echo), NULL, "leave out the prompt", 0, 0, NULL},
    {"max-tokens", 'n', OPTION_INT, FIELD(max_tokens), "N", "new tokens", 1, 1000000, NULL},
    {"offset", 'o', OPTION_INT64, FIELD(offset), "N", "any whole number", 0, 0, NULL},
    {"seed", 0, OPTION_UINT64, FIELD(seed), "N", "seed", 0, 0, NULL},
    {"top-p", 0, OPTION_FLOAT, FIELD(top_p), "P", "nucleus", 0, 1, NULL},
    {"temperature", 'T', OPTION_FLOAT, FIELD(temperature), "T", "temperature", 0, HUGE_VAL, NULL},
    {"shard-size", 0, OPTION_SIZE, FIELD(shard_size), "SIZE", "bytes a file", 1000, 9e18, NULL},
    {"model", 'm', OPTION_STRING, FIELD(model), "MODEL", "which model", 0, 0, NULL},
    {"stop", 0, OPTION_STRINGS, FIELD(stops), "TEXT", "end before this text", 0, 0, NULL},
    {"dtype", 0, OPTION_CHOICE, FIELD(dtype), "DTYPE", "number format", 0, 0, dtypes},
    {"lr", 0, OPTION_DOUBLE, FIELD(lr), "RATE", "learning rate", 0, 100, NULL},
};

static void args_init(void *memory) {
    *(struct args *)memory = (struct args){.echo = true, .max_tokens = 128, .temperature = 0.8F, .dtype = -1};
}

static int args_run(void *memory, int n_operands, char **operands) {
    (void)memory;
    (void)n_operands;
    (void)operands;
    return 0;
}

static const struct command command = {
    .name = "try",
    .summary = "try options",
    .usage = "[-m MODEL] A [B]\n--other",
    .description = "Tries.",
    .options = rows,
    .n_options = sizeof rows / sizeof rows[0],
    .args_size = sizeof(struct args),
    .min_operands = 0,
    .max_operands = 2,
    .init = args_init,
    .given = offsetof(struct args, given),
    .run = args_run,
};

enum {
    MAX_WORDS = 16
};

struct parsed {
    struct args args;
    enum options_outcome outcome;
    char *words[MAX_WORDS];
    int n_operands;
    struct llm_error err;
};

// Parses the NULL-terminated words; parsed_release() afterwards.
static void parse_words(struct parsed *parsed, const char *const *words) {
    memset(parsed, 0, sizeof *parsed);
    args_init(&parsed->args);
    int n = 0;
    for (; words[n] != NULL; n++) parsed->words[n] = (char *)words[n];
    parsed->outcome = options_parse(&command, n, parsed->words, &parsed->args, &parsed->n_operands, &parsed->err);
}

#define PARSE(parsed, ...) parse_words(parsed, (const char *const[]){__VA_ARGS__, NULL})

static void parsed_release(struct parsed *parsed) {
    options_release(&command, &parsed->args);
}

static void assert_refused(const char *sentence, const char *const *words) {
    struct parsed parsed;
    parse_words(&parsed, words);
    assert_int_equal(parsed.outcome, OPTIONS_WRONG);
    assert_string_equal(parsed.err.text, sentence);
    parsed_release(&parsed);
}

#define REFUSED(sentence, ...) assert_refused(sentence, (const char *const[]){__VA_ARGS__, NULL})

static void every_form_is_taken(void **state) {
    (void)state;
    struct parsed p;
    PARSE(&p, "--max-tokens", "5", "--seed=7", "-o-3", "-m", "gpt2", "--json", "--no-echo", "--dtype", "bf16");
    assert_int_equal(p.outcome, OPTIONS_OK);
    assert_int_equal(p.args.max_tokens, 5);
    assert_int_equal(p.args.seed, 7);
    assert_int_equal(p.args.offset, -3);
    assert_string_equal(p.args.model, "gpt2");
    assert_true(p.args.json);
    assert_false(p.args.echo);
    assert_int_equal(p.args.dtype, 2);
    assert_int_equal(p.n_operands, 0);
    parsed_release(&p);

    PARSE(&p, "-n5", "-n", "6", "--model=", "--top-p", "0.25", "--temperature", "1e2");
    assert_int_equal(p.args.max_tokens, 6); // the last wins
    assert_string_equal(p.args.model, "");
    assert_float_equal(p.args.top_p, 0.25F, 0);
    assert_float_equal(p.args.temperature, 100.0F, 0);
    parsed_release(&p);
}

static void values_may_begin_with_a_dash(void **state) {
    (void)state;
    struct parsed p;
    PARSE(&p, "--offset", "-5", "--model", "--json", "--stop=--", "--stop", "-", "--stop", "");
    assert_int_equal(p.outcome, OPTIONS_OK);
    assert_int_equal(p.args.offset, -5);
    assert_string_equal(p.args.model, "--json");
    assert_false(p.args.json);
    assert_int_equal(p.args.stops.n, 3);
    assert_string_equal(p.args.stops.items[0], "--");
    assert_string_equal(p.args.stops.items[1], "-");
    assert_string_equal(p.args.stops.items[2], "");
    parsed_release(&p);
}

static void operands_and_options_mix(void **state) {
    (void)state;
    struct parsed p;
    PARSE(&p, "one", "--json", "-");
    assert_int_equal(p.outcome, OPTIONS_OK);
    assert_int_equal(p.n_operands, 2);
    assert_string_equal(p.words[0], "one");
    assert_string_equal(p.words[1], "-");
    assert_true(p.args.json);
    parsed_release(&p);

    PARSE(&p, "-n", "3", "--", "--json", "--");
    assert_int_equal(p.outcome, OPTIONS_OK);
    assert_int_equal(p.n_operands, 2);
    assert_string_equal(p.words[0], "--json");
    assert_string_equal(p.words[1], "--");
    assert_false(p.args.json);
    parsed_release(&p);
}

static void numbers_of_double_precision(void **state) {
    (void)state;
    struct parsed p;
    PARSE(&p, "--lr", "0.0004");
    assert_int_equal(p.outcome, OPTIONS_OK);
    assert_true(p.args.lr == 4e-4); // as a float it would be another number
    char text[32];
    option_value_text(&rows[sizeof rows / sizeof rows[0] - 1], &p.args, text, sizeof text);
    assert_string_equal(text, "0.0004");
    parsed_release(&p);
    REFUSED("--lr is \"fast\", a number from 0 to 100 was expected", "--lr", "fast");
    REFUSED("--lr is \"101\", a number from 0 to 100 was expected", "--lr", "101");
    REFUSED("--lr is \"inf\", a number from 0 to 100 was expected", "--lr", "inf");
}

// What was given goes over other defaults, and nothing else does.
static void given_options_overlay_a_preset(void **state) {
    (void)state;
    struct parsed p;
    PARSE(&p, "--lr", "0.1", "--max-tokens", "128", "--json");
    struct args preset = {.lr = 0.5, .max_tokens = 7, .temperature = 0.25F, .echo = false, .model = "mine"};
    options_overlay(&command, &p.args, &preset);
    assert_true(preset.lr == 0.1 && preset.max_tokens == 128 && preset.json); // 128 is the default, but was given
    assert_true(preset.temperature == 0.25F && !preset.echo);
    assert_string_equal(preset.model, "mine");
    parsed_release(&p);
}

static void help_ends_the_parse(void **state) {
    (void)state;
    struct parsed p;
    PARSE(&p, "--json", "--help", "--nonsense");
    assert_int_equal(p.outcome, OPTIONS_HELP);
    parsed_release(&p);
    PARSE(&p, "-h");
    assert_int_equal(p.outcome, OPTIONS_HELP);
    parsed_release(&p);
    PARSE(&p, "--model", "--help"); // a value here
    assert_int_equal(p.outcome, OPTIONS_OK);
    parsed_release(&p);
}

static void limits_are_inclusive(void **state) {
    (void)state;
    struct parsed p;
    PARSE(&p, "-n", "1", "--top-p", "1", "--seed", "18446744073709551615", "--offset", "-9223372036854775808");
    assert_int_equal(p.outcome, OPTIONS_OK);
    assert_int_equal(p.args.max_tokens, 1);
    assert_true(p.args.seed == UINT64_MAX);
    assert_true(p.args.offset == INT64_MIN);
    parsed_release(&p);
}

static void wrong_numbers_are_named(void **state) {
    (void)state;
    REFUSED("--max-tokens is \"abc\", a whole number from 1 to 1000000 was expected", "--max-tokens", "abc");
    REFUSED("--max-tokens is \"\", a whole number from 1 to 1000000 was expected", "--max-tokens=");
    REFUSED("-n is \"0\", a whole number from 1 to 1000000 was expected", "-n0");
    REFUSED("-n is \"1000001\", a whole number from 1 to 1000000 was expected", "-n", "1000001");
    REFUSED("-n is \"5x\", a whole number from 1 to 1000000 was expected", "-n", "5x");
    REFUSED("-n is \" 5\", a whole number from 1 to 1000000 was expected", "-n", " 5");
    REFUSED("-n is \"1.5\", a whole number from 1 to 1000000 was expected", "-n", "1.5");
    REFUSED("-n is \"0x10\", a whole number from 1 to 1000000 was expected", "-n", "0x10");
    REFUSED("-n is \"99999999999999999999\", a whole number from 1 to 1000000 was expected", "-n",
            "99999999999999999999");
    REFUSED("--offset is \"9223372036854775808\", a whole number was expected", "--offset", "9223372036854775808");
    REFUSED("--seed is \"-1\", a whole number of at least 0 was expected", "--seed", "-1");
    REFUSED("--seed is \"18446744073709551616\", a whole number of at least 0 was expected", "--seed",
            "18446744073709551616");
    REFUSED("--top-p is \"1.01\", a number from 0 to 1 was expected", "--top-p", "1.01");
    REFUSED("--top-p is \"nan\", a number from 0 to 1 was expected", "--top-p", "nan");
    REFUSED("-T is \"inf\", a number of at least 0 was expected", "-T", "inf");
    REFUSED("-T is \"1e400\", a number of at least 0 was expected", "-T", "1e400");
    REFUSED("-T is \"-0.5\", a number of at least 0 was expected", "-T-0.5");
    REFUSED("--dtype is \"f64\", f32, f16 or bf16 was expected", "--dtype", "f64");
}

static void sizes_have_units(void **state) {
    (void)state;
    static const struct {
        const char *word;
        int64_t bytes;
    } cases[] = {{"4096", 4096},       {"2kB", 2000},       {"500MB", 500000000}, {"1.5GB", 1500000000},
                 {"64KiB", 64 * 1024}, {"2gb", 2000000000}, {"1M", 1000000},      {"1TiB", INT64_C(1) << 40}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct parsed p;
        PARSE(&p, "--shard-size", cases[i].word);
        assert_int_equal(p.outcome, OPTIONS_OK);
        assert_int_equal(p.args.shard_size, cases[i].bytes);
        parsed_release(&p);
    }
    const char *sentence =
        "--shard-size is \"12 apples\", a size such as 500MB, 2GiB or 4096 from 1kB to 9000000TB was "
        "expected";
    REFUSED(sentence, "--shard-size", "12 apples");
    REFUSED("--shard-size is \"999\", a size such as 500MB, 2GiB or 4096 from 1kB to 9000000TB was expected",
            "--shard-size", "999");
    REFUSED("--shard-size is \"-5MB\", a size such as 500MB, 2GiB or 4096 from 1kB to 9000000TB was expected",
            "--shard-size", "-5MB");
    REFUSED("--shard-size is \"1e30TB\", a size such as 500MB, 2GiB or 4096 from 1kB to 9000000TB was expected",
            "--shard-size", "1e30TB");
}

static void unknown_options_have_neighbours(void **state) {
    (void)state;
    REFUSED("there is no option --tempreature; did you mean --temperature?", "--tempreature", "1");
    REFUSED("there is no option --temp; did you mean --temperature?", "--temp=1");
    REFUSED("there is no option --max_tokens; did you mean --max-tokens?", "--max_tokens");
    REFUSED("there is no option --frobnicate", "--frobnicate");
    REFUSED("there is no option -json; did you mean --json?", "-json");
    REFUSED("there is no option -5", "-5");
    char longest[300];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    memcpy(longest, "--", 2);
    struct parsed p;
    PARSE(&p, longest);
    assert_int_equal(p.outcome, OPTIONS_WRONG);
    parsed_release(&p);
}

static void missing_and_superfluous_words(void **state) {
    (void)state;
    REFUSED("--max-tokens needs a value: --max-tokens N", "--max-tokens");
    REFUSED("-m needs a value: -m MODEL", "-m");
    REFUSED("--json takes no value, but \"yes\" was given", "--json=yes");
    REFUSED("\"c\" is one too many; the usage is: my-llm try [-m MODEL] A [B]", "a", "b", "c");
    struct command wants = command;
    wants.min_operands = 1;
    int n = 0;
    struct llm_error err = {0};
    struct args args;
    args_init(&args);
    assert_int_equal(options_parse(&wants, 0, NULL, &args, &n, &err), OPTIONS_WRONG);
    assert_string_equal(err.text, "something is missing; the usage is: my-llm try [-m MODEL] A [B]");
}

static void values_are_shown_as_typed(void **state) {
    (void)state;
    struct args args;
    args_init(&args);
    static const char *const expected[] = {"", "", "128", "0", "0", "0", "0.8", "", "", "", "", "0"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[64];
        option_value_text(&rows[i], &args, text, sizeof text); // shard size: 0 is outside its limits, so not given
        assert_string_equal(text, expected[i]);
    }
    char text[64];
    size_text(65536, text, sizeof text);
    assert_string_equal(text, "64KiB");
    size_text(1001, text, sizeof text);
    assert_string_equal(text, "1001");
}

static void broken_tables_are_found(void **state) {
    (void)state;
    const struct {
        struct option row;
        const char *sentence;
    } cases[] = {
        {{"json", 0, OPTION_FLAG, FIELD(echo), NULL, "x", 0, 0, NULL}, "try --json: its name is there twice"},
        {{"other", 'n', OPTION_FLAG, FIELD(echo), NULL, "x", 0, 0, NULL}, "try --other: its letter is there twice"},
        {{"other", 'h', OPTION_FLAG, FIELD(echo), NULL, "x", 0, 0, NULL},
         "try --other: --help and -h are every command's own"},
        {{"other", '5', OPTION_FLAG, FIELD(echo), NULL, "x", 0, 0, NULL}, "try --other: its letter is not a letter"},
        {{"Other", 0, OPTION_FLAG, FIELD(echo), NULL, "x", 0, 0, NULL},
         "try --Other: its name is not 2 to 40 of a-z, 0-9 and -"},
        {{"other", 0, OPTION_INT64, sizeof(struct args) - 4, "N", "x", 0, 0, NULL},
         "try --other: its field lies outside the argument struct"},
        {{"other", 0, OPTION_INT, FIELD(max_tokens) + 1, "N", "x", 0, 0, NULL},
         "try --other: its field is not aligned"},
        {{"other", 0, OPTION_INT, FIELD(max_tokens), "N", "x", 0, 0, NULL},
         "try --other: its field is another option's too"},
        {{"other", 0, OPTION_INT, FIELD(max_tokens), NULL, "x", 0, 0, NULL},
         "try --other: placeholder and type do not agree"},
        {{"other", 0, OPTION_CHOICE, FIELD(dtype), "D", "x", 0, 0, NULL}, "try --other: choices and type do not agree"},
        {{"other", 0, OPTION_INT, FIELD(max_tokens), "N", "x", 2, 1, NULL}, "try --other: its limits are not in order"},
        {{"other", 0, OPTION_STRING, FIELD(model), "N", "x", 0, 1, NULL}, "try --other: limits are for numbers"},
        {{"other", 0, OPTION_FLAG, FIELD(echo), NULL, "", 0, 0, NULL}, "try --other: it has no help"},
        {{"other", 0, OPTION_FLAG, FIELD(echo), NULL, "a.", 0, 0, NULL}, "try --other: its help ends in a full stop"},
        {{"other", 0, OPTION_FLAG, FIELD(echo), NULL, "Help", 0, 0, NULL},
         "try --other: its help begins with a capital"},
    };
    enum {
        N_ROWS = sizeof rows / sizeof rows[0]
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct option broken[N_ROWS + 1];
        memcpy(broken, rows, sizeof rows);
        broken[N_ROWS] = cases[i].row;
        struct command with = command;
        with.options = broken;
        with.n_options = N_ROWS + 1;
        struct llm_error err = {0};
        assert_false(options_check(&with, &err));
        assert_string_equal(err.text, cases[i].sentence);
    }
    assert_true(options_check(&command, NULL));
}

static void the_programs_own_tables_are_sound(void **state) {
    (void)state;
    for (int i = 0; i < n_commands; i++) {
        struct llm_error err = {0};
        if (!options_check(commands[i], &err)) fail_msg("%s", err.text);
        for (int j = 0; j < i; j++) assert_string_not_equal(commands[i]->name, commands[j]->name);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_is_taken),
        cmocka_unit_test(values_may_begin_with_a_dash),
        cmocka_unit_test(operands_and_options_mix),
        cmocka_unit_test(numbers_of_double_precision),
        cmocka_unit_test(given_options_overlay_a_preset),
        cmocka_unit_test(help_ends_the_parse),
        cmocka_unit_test(limits_are_inclusive),
        cmocka_unit_test(wrong_numbers_are_named),
        cmocka_unit_test(sizes_have_units),
        cmocka_unit_test(unknown_options_have_neighbours),
        cmocka_unit_test(missing_and_superfluous_words),
        cmocka_unit_test(values_are_shown_as_typed),
        cmocka_unit_test(broken_tables_are_found),
        cmocka_unit_test(the_programs_own_tables_are_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
