// test_instructions.c: instructions to prompts, ids, targets and batches, as the book's chapter 7 makes them; templates
// of one's own; what is refused.
#include "data_support.h"

#include "base/random.h"
#include "data/examples.h"
#include "data/split.h"
#include "tokenizer/tokenizer.h"

static int tokenizer_setup(void **state) {
    *state = tokenizer_new_gpt2(NULL);
    return *state == NULL ? -1 : 0;
}

static int tokenizer_teardown(void **state) {
    llm_tokenizer_free(*state);
    return 0;
}

// What a test of batches works on.
struct bench {
    struct instructions instructions;
    struct template template;
    struct examples examples;
};

static void bench_release(struct bench *bench) {
    examples_release(&bench->examples);
    template_release(&bench->template);
    instructions_release(&bench->instructions);
}

static void assert_ids(const int32_t *ids, size_t n, const json_t *expected) {
    assert_int_equal(n, json_array_size(expected));
    for (size_t i = 0; i < n; i++) assert_int_equal(ids[i], json_integer_value(json_array_get(expected, i)));
}

// ---- A few entries, to the last id ----------------------------------------------------------------

static void small_setup(struct bench *bench, const json_t *small, const struct llm_tokenizer *tokenizer) {
    struct llm_error err = {0};
    char *text = json_dump(json_object_get(small, "entries"), 0);
    assert_non_null(text);
    if (!instructions_parse(&bench->instructions, text, strlen(text), true, &err)) fail_msg("%s", err.text);
    free(text);
    assert_true(template_alpaca(&bench->template, &err));
    if (!examples_encode(&bench->examples, bench->instructions.items, bench->instructions.n, "entry", &bench->template,
                         tokenizer, EXAMPLES_MAX_LENGTH, &err)) {
        fail_msg("%s", err.text);
    }
}

static void prompts_and_ids_are_the_book_s(void **state) {
    json_t *small = fixture_json("instruct/small.json");
    struct bench bench;
    small_setup(&bench, small, *state);
    assert_int_equal(bench.examples.n, 7);
    assert_int_equal(bench.examples.n_cut, 0);
    struct strbuf out;
    strbuf_init(&out, 1 << 20);
    for (size_t i = 0; i < bench.examples.n; i++) {
        const struct example *example = &bench.examples.items[i];
        strbuf_clear(&out);
        template_put_prompt(&out, &bench.template, &bench.instructions.items[i]);
        assert_string_equal(out.bytes, json_string_value(json_array_get(json_object_get(small, "prompts"), i)));
        assert_ids(bench.examples.ids + example->at, (size_t)example->n_ids,
                   json_array_get(json_object_get(small, "ids"), i));
        assert_int_equal(example->response, json_integer_value(json_array_get(json_object_get(small, "response"), i)));
    }
    strbuf_release(&out);
    bench_release(&bench);
    json_decref(small);
}

// A matrix of the fixture against rows of the batch that lie one after another.
static void assert_matrix(const int32_t *found, const struct examples_batch *batch, const json_t *rows) {
    assert_int_equal(batch->n_sequences, json_array_size(rows));
    for (int s = 0; s < batch->n_sequences; s++) {
        const int begin = batch->starts[s];
        assert_ids(found + begin, (size_t)(batch->starts[s + 1] - begin), json_array_get(rows, (size_t)s));
    }
}

// The packed batch is the padded one without the tokens behind the end of each sequence.
static void assert_packed(const struct examples_batch *packed, const struct examples_batch *padded) {
    assert_int_equal(packed->n_sequences, padded->n_sequences);
    assert_int_equal(packed->n_targets, padded->n_targets);
    for (int s = 0; s < packed->n_sequences; s++) {
        const int begin = packed->starts[s], other = padded->starts[s], length = packed->starts[s + 1] - begin;
        for (int i = 0; i < length; i++) {
            assert_int_equal(packed->ids[begin + i], padded->ids[other + i]);
            assert_int_equal(packed->targets[begin + i], padded->targets[other + i]);
            assert_int_equal(packed->positions[begin + i], i);
        }
        for (int i = other + length; i < padded->starts[s + 1]; i++) {
            assert_int_equal(padded->targets[i], EXAMPLES_IGNORE);
        }
    }
}

static void batches_are_the_book_s(void **state) {
    json_t *small = fixture_json("instruct/small.json");
    const json_t *batches = json_object_get(small, "batches");
    struct bench bench;
    struct examples_batch batch = {0}, packed = {0};
    struct llm_error err = {0};
    small_setup(&bench, small, *state);
    assert_int_equal(json_array_size(batches), 6);
    for (size_t i = 0; i < json_array_size(batches); i++) {
        const json_t *item = json_array_get(batches, i), *numbers = json_object_get(item, "numbers");
        int64_t order[8];
        const size_t n = json_array_size(numbers);
        assert_true(n <= 8);
        for (size_t j = 0; j < n; j++) order[j] = json_integer_value(json_array_get(numbers, j));
        bench.examples.max_length = (int)fixture_size(item, "max_length");
        assert_true(examples_batch(&batch, &bench.examples, order, n, true, false, &err));
        assert_matrix(batch.ids, &batch, json_object_get(item, "inputs"));
        assert_matrix(batch.targets, &batch, json_object_get(item, "targets"));
        assert_true(examples_batch(&packed, &bench.examples, order, n, false, false, &err));
        assert_packed(&packed, &batch);
        assert_true(examples_batch(&batch, &bench.examples, order, n, true, true, &err));
        assert_matrix(batch.targets, &batch, json_object_get(item, "response"));
        assert_true(examples_batch(&packed, &bench.examples, order, n, false, true, &err));
        assert_packed(&packed, &batch);
    }
    examples_batch_release(&batch);
    examples_batch_release(&packed);
    bench_release(&bench);
    json_decref(small);
}

// ---- All 1,100 entries ------------------------------------------------------------------------------

static uint64_t hash_ids(uint64_t hash, const int32_t *ids, int n) {
    return fnv(hash, ids, (size_t)n * sizeof *ids);
}

static void assert_book_batch(const struct examples *examples, const int64_t *order, size_t n, const json_t *expected) {
    struct examples_batch batch = {0};
    assert_true(examples_batch(&batch, examples, order, n, true, false, NULL));
    uint64_t hash = hash_ids(FNV_BEGIN, batch.ids, batch.n_tokens);
    hash = hash_ids(hash, batch.targets, batch.n_tokens);
    assert_true(examples_batch(&batch, examples, order, n, true, true, NULL));
    hash = hash_ids(hash, batch.targets, batch.n_tokens);
    assert_hash(hash, json_object_get(expected, "padded"));
    assert_int_equal(batch.n_tokens, fixture_size(expected, "tokens"));
    assert_int_equal(batch.n_targets, fixture_size(expected, "targets"));
    assert_true(examples_batch(&batch, examples, order, n, false, true, NULL));
    hash = hash_ids(FNV_BEGIN, batch.ids, batch.n_tokens);
    assert_hash(hash_ids(hash, batch.targets, batch.n_tokens), json_object_get(expected, "packed"));
    examples_batch_release(&batch);
}

static void assert_pass(struct random *random, const struct examples *all, const json_t *pass, size_t begin, size_t n) {
    const json_t *batches = json_object_get(pass, "batches");
    const bool shuffle = strcmp(json_string_value(json_object_get(pass, "part")), "train") == 0;
    const size_t n_batches = shuffle ? n / 8 : (n + 7) / 8;
    int64_t order[1100];
    struct examples part = *all;
    part.items += begin;
    part.n = n;
    random_loader_order(random, order, n, shuffle);
    assert_int_equal(json_array_size(batches), n_batches);
    for (size_t i = 0; i < n_batches; i++) {
        const size_t left = n - 8 * i;
        assert_book_batch(&part, order + 8 * i, left < 8 ? left : 8, json_array_get(batches, i));
    }
}

static void every_batch_of_the_book_is_the_same(void **state) {
    need_shared(SHARED_DATA "instruct/instruction-data.json");
    json_t *book = fixture_json("instruct/book.json");
    const json_t *sizes = json_object_get(book, "n"), *passes = json_object_get(book, "passes");
    struct bench bench = {0};
    struct llm_error err = {0};
    if (!instructions_read(&bench.instructions, SHARED_DATA "instruct/instruction-data.json", true, &err)) {
        fail_msg("%s", err.text);
    }
    const size_t n = bench.instructions.n;
    assert_int_equal(n, 1100);
    assert_true(template_alpaca(&bench.template, &err));
    struct strbuf prompts;
    strbuf_init(&prompts, 1 << 24);
    for (size_t i = 0; i < n; i++) {
        if (i > 0) strbuf_puts(&prompts, "\1");
        template_put_prompt(&prompts, &bench.template, &bench.instructions.items[i]);
    }
    assert_hash(fnv(FNV_BEGIN, prompts.bytes, prompts.size), json_object_get(book, "prompts"));
    strbuf_release(&prompts);

    const struct split split = split_in_order(n, 0.85, 0.1);
    assert_int_equal(split.train, fixture_size(sizes, "train"));
    assert_int_equal(split.validation - split.train, fixture_size(sizes, "test"));
    assert_int_equal(n - split.validation, fixture_size(sizes, "validation"));
    assert_true(examples_encode(&bench.examples, bench.instructions.items, n, "entry", &bench.template, *state,
                                EXAMPLES_MAX_LENGTH, &err));
    struct random random;
    random_init(&random, 123);
    assert_int_equal(json_array_size(passes), 4);
    assert_pass(&random, &bench.examples, json_array_get(passes, 0), 0, split.train);
    assert_pass(&random, &bench.examples, json_array_get(passes, 1), 0, split.train);
    assert_pass(&random, &bench.examples, json_array_get(passes, 2), split.validation, n - split.validation);
    assert_pass(&random, &bench.examples, json_array_get(passes, 3), split.train, split.validation - split.train);
    bench_release(&bench);
    json_decref(book);
}

static void what_is_too_long_is_cut_and_counted(void **state) {
    static const char text[] = "[{\"instruction\": \"a b c d e f g h i j\", \"output\": \"yes\"}]";
    struct bench bench = {0};
    struct examples_batch batch = {0};
    assert_true(instructions_parse(&bench.instructions, text, sizeof text - 1, true, NULL));
    assert_true(template_alpaca(&bench.template, NULL));
    const struct instruction *items = bench.instructions.items;
    assert_true(examples_encode(&bench.examples, items, 1, "entry", &bench.template, *state, 20, NULL));
    assert_int_equal(bench.examples.n_cut, 1);
    assert_int_equal(bench.examples.n_no_answer, 1);
    assert_true(examples_batch(&batch, &bench.examples, NULL, 1, false, true, NULL));
    assert_int_equal(batch.n_tokens, 20);
    assert_int_equal(batch.n_targets, 0);
    assert_true(examples_batch(&batch, &bench.examples, NULL, 1, false, false, NULL));
    assert_int_equal(batch.n_targets, 20);
    examples_batch_release(&batch);
    bench_release(&bench);
}

// ---- Templates --------------------------------------------------------------------------------------

static void assert_template(const char *text, const char *input, const char *prompt, const char *header,
                            const char *answer) {
    const struct instruction item = {"DO", input, "OUT", 1};
    struct template template;
    struct llm_error err = {0};
    struct strbuf out;
    strbuf_init(&out, 1 << 16);
    if (!template_parse(&template, text, strlen(text), &err)) fail_msg("%s", err.text);
    template_put_prompt(&out, &template, &item);
    assert_string_equal(out.bytes == NULL ? "" : out.bytes, prompt);
    strbuf_clear(&out);
    template_put_header(&out, &template, &item);
    assert_string_equal(out.bytes == NULL ? "" : out.bytes, header);
    strbuf_clear(&out);
    template_put_answer(&out, &template, &item);
    assert_string_equal(out.bytes, answer);
    strbuf_release(&out);
    template_release(&template);
}

static void templates_of_one_s_own(void **state) {
    (void)state;
    static const char chat[] = "\xef\xbb\xbfUser: {instruction}\r\n\r\n{input}\r\n\r\nBot: {output}</s>\r\n\r\n";
    assert_template(chat, "IN", "User: DO\n\nIN", "\n\nBot:", " OUT</s>"); // as tokens have it: " OUT"
    assert_template(chat, "", "User: DO", "\n\nBot:", " OUT</s>");
    // The input first; in the instruction's paragraph, where it cannot be left out; not at all.
    assert_template("{input}\n\nQ: {instruction}\nA: {output}", "", "Q: DO", "\nA:", " OUT");
    assert_template("{input}\n\nQ: {instruction}\nA: {output}", "IN", "IN\n\nQ: DO", "\nA:", " OUT");
    assert_template("{instruction} ({input}){output}", "", "DO (", ")", "OUT");
    assert_template("{instruction}\n\n{output}", "", "DO", "\n\n", "OUT");
    // What only looks like a mark is text; a mark within what is filled in stays as it is.
    assert_template("{x}{instruction}{\n\nR{output}", "", "{x}DO{", "\n\nR", "OUT");
    assert_template("{instruction}\n\n{input}\n\n{output}", "{output}", "DO\n\n{output}", "\n\n", "OUT");
}

static void bad_templates_are_refused(void **state) {
    static const struct {
        const char *text, *sentence;
    } cases[] = {
        {"", "has no response mark: {output} must stand where the answer goes"},
        {"{instruction}\n\n{input}", "has no response mark"},
        {"{output}", "has no {instruction}"},
        {"{output}{instruction}", "{output} is not the last of its marks"},
        {"{instruction}{output}{input}", "{output} is not the last of its marks"},
        {"{instruction}{output}{output}", "has {output} more than once"},
        {"{instruction}{instruction}{output}", "has {instruction} more than once"},
        {"{instruction}\xff{output}", "is not text in UTF-8"},
    };
    struct template template;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct llm_error err = {0};
        assert_false(template_parse(&template, cases[i].text, strlen(cases[i].text), &err));
        assert_says(&err, cases[i].sentence);
        template_release(&template);
    }
    struct llm_error err = {0};
    char *path = path_join(*state, "style.txt");
    assert_true(file_create(path, "{instruction}", 13, NULL));
    assert_false(template_read(&template, path, &err));
    assert_says(&err, "style.txt: has no response mark");
    template_release(&template);
    free(path);
    err = (struct llm_error){0};
    assert_false(template_read(&template, *state, &err));
    assert_says(&err, "is a directory");
}

static void an_input_without_a_place_is_refused(void **state) {
    static const char text[] =
        "{\"instruction\": \"a\", \"output\": \"b\"}\n\n{\"instruction\": \"a\", \"input\": \"b\", "
        "\"output\": \"c\"}";
    struct bench bench = {0};
    struct llm_error err = {0};
    assert_true(instructions_parse(&bench.instructions, text, sizeof text - 1, true, &err));
    assert_true(template_parse(&bench.template, "{instruction}\n{output}", 22, &err));
    assert_false(examples_encode(&bench.examples, bench.instructions.items, 2, bench.instructions.records.unit,
                                 &bench.template, *state, 1024, &err));
    assert_string_equal(err.text, "line 3 has an input, but the template has no {input}");
    bench_release(&bench);
}

// ---- Files ------------------------------------------------------------------------------------------

static void lists_and_lines_are_read(void **state) {
    (void)state;
    static const char *const texts[] = {
        "[{\"instruction\": \"a\", \"input\": \"b\", \"output\": \"c\"}, {\"instruction\": \"d\", \"input\": null, "
        "\"output\": \"\", \"more\": [1]}]",
        "\xef\xbb\xbf{\"instruction\": \"a\", \"input\": \"b\", \"output\": \"c\"}\r\n{\"output\": \"\", "
        "\"instruction\": \"d\"}",
    };
    for (size_t i = 0; i < 2; i++) {
        struct instructions instructions;
        struct llm_error err = {0};
        if (!instructions_parse(&instructions, texts[i], strlen(texts[i]), true, &err)) fail_msg("%s", err.text);
        assert_int_equal(instructions.n, 2);
        assert_string_equal(instructions.items[0].input, "b");
        assert_string_equal(instructions.items[0].output, "c");
        assert_string_equal(instructions.items[1].instruction, "d");
        assert_string_equal(instructions.items[1].input, "");
        assert_string_equal(instructions.items[1].output, "");
        assert_string_equal(instructions.records.unit, i == 0 ? "entry" : "line");
        instructions_release(&instructions);
    }
    struct instructions instructions;
    assert_true(instructions_parse(&instructions, "[{\"instruction\": \"a\"}]", 22, false, NULL));
    assert_string_equal(instructions.items[0].output, "");
    instructions_release(&instructions);
}

static void bad_instructions_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *sentence;
    } cases[] = {
        {"[]", "holds no instructions"},
        {"", "holds no instructions"},
        {"{}", "line 1: has no \"instruction\" (or it is null); a string was expected"},
        {"[{\"instruction\": \"a\", \"output\": \"b\"}, {\"instruction\": null, \"output\": \"b\"}]",
         "entry 2: has no \"instruction\" (or it is null)"},
        {"[{\"instruction\": \"a\"}]", "entry 1: has no \"output\" (or it is null)"},
        {"[{\"instruction\": \" \\n\", \"output\": \"b\"}]", "entry 1: its \"instruction\" is empty"},
        {"[{\"instruction\": \"a\", \"output\": 4}]", "entry 1: its \"output\" is '4', a string was expected"},
        {"[{\"instruction\": \"a\", \"output\": \"b\", \"input\": [\"c\"]}]",
         "entry 1: its \"input\" is a list, a string was expected"},
        {"[{\"instruction\": \"a\", \"instruction\": \"b\", \"output\": \"c\"}]", "duplicate object key"},
        {"[{\"instruction\": \"a\", \"output\": \"b\"}, [\"c\"]]", "entry 2: is a list, an object"},
        {"\"instruction\"", "line 1: is a string, an object"},
        {"[{\"instruction\": \"a\", \"output\": \"b\"},]", "not valid JSON"},
        {"{\"instruction\": \"a\", \"output\": \"b\"}\n{\"instruction\"", "line 2: not valid JSON"},
        {"[{\"instruction\": \"\\ud800\"}]", "not valid JSON"},
        {"[{\"instruction\": \"a\\u0000\"}]", "not valid JSON"},
        {"instruction: a", "line 1: not valid JSON"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct instructions instructions;
        struct llm_error err = {0};
        if (instructions_parse(&instructions, cases[i].text, strlen(cases[i].text), true, &err)) {
            fail_msg("accepted: %s", cases[i].text);
        }
        assert_says(&err, cases[i].sentence);
        instructions_release(&instructions);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(prompts_and_ids_are_the_book_s, tokenizer_setup, tokenizer_teardown),
        cmocka_unit_test_setup_teardown(batches_are_the_book_s, tokenizer_setup, tokenizer_teardown),
        cmocka_unit_test_setup_teardown(every_batch_of_the_book_is_the_same, tokenizer_setup, tokenizer_teardown),
        cmocka_unit_test_setup_teardown(what_is_too_long_is_cut_and_counted, tokenizer_setup, tokenizer_teardown),
        cmocka_unit_test_setup_teardown(an_input_without_a_place_is_refused, tokenizer_setup, tokenizer_teardown),
        cmocka_unit_test_setup_teardown(bad_templates_are_refused, folder_setup, folder_teardown),
        cmocka_unit_test(templates_of_one_s_own),
        cmocka_unit_test(lists_and_lines_are_read),
        cmocka_unit_test(bad_instructions_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
