// test_torch_model.c: models in PyTorch's files: the book's names and layouts, sizes read off shapes, classifiers, and
// files written for the book's class. What the book's code makes of a file of ours is in tools/check_torch.py.
#include "formats_support.h"

#include <unistd.h>

#include "formats/torch_zip.h"
#include "model/save.h"

#define MODELS MY_LLM_SOURCE_DIR "/tests/fixtures/models/"

struct place {
    char directory[64], out[128], back[128];
    char notices[2048];
};

static int place_setup(void **state) {
    struct place *place = calloc(1, sizeof *place);
    if (place == NULL) return -1;
    strcpy(place->directory, "/tmp/my-llm-torch-XXXXXX");
    if (mkdtemp(place->directory) == NULL) return -1;
    snprintf(place->out, sizeof place->out, "%s/out.pth", place->directory);
    snprintf(place->back, sizeof place->back, "%s/back", place->directory);
    *state = place;
    return 0;
}

static int place_teardown(void **state) {
    struct place *place = *state;
    directory_remove(place->directory);
    free(place);
    return 0;
}

static void hear(void *user, const char *sentence) {
    struct place *place = user;
    const size_t used = strlen(place->notices);
    snprintf(place->notices + used, sizeof place->notices - used, "%s\n", sentence);
}

static struct llm_engine *open_heard(struct place *place, const char *path) {
    const struct llm_engine_options options = {
        .isa = "ref", .n_threads = 1, .callbacks = {.notice = hear, .user = place}};
    struct llm_error err = {0};
    place->notices[0] = '\0';
    struct llm_engine *engine = llm_engine_open(path, &options, &err);
    if (engine == NULL) fail_msg("%s", err.text);
    return engine;
}

static struct llm_convert_options options_new(struct place *place, int dtype, int n_head) {
    struct llm_convert_options options;
    llm_convert_options_init(&options);
    options.dtype = dtype;
    options.n_head = n_head;
    options.overwrite = true;
    options.callbacks = (struct llm_callbacks){.notice = hear, .user = place};
    place->notices[0] = '\0';
    return options;
}

static void convert(struct place *place, const char *from, const char *to, int dtype, int n_head) {
    const struct llm_convert_options options = options_new(place, dtype, n_head);
    struct llm_error err = {0};
    if (!llm_convert(from, to, &options, &err)) fail_msg("%s: %s", from, err.text);
}

static void expect_refusal(struct place *place, const char *from, const char *to, int n_head, const char *sentence) {
    const struct llm_convert_options options = options_new(place, -1, n_head);
    struct llm_error err = {0};
    assert_false(llm_convert(from, to, &options, &err));
    assert_string_equal(err.text, sentence);
}

// The weights of both, as the operations see them.
static void assert_same_weights(const struct llm_engine *a, const struct llm_engine *b) {
    for (int p = 0; p < PARAM_COUNT; p++) {
        const enum param param = (enum param)p;
        assert_int_equal(param_count(&a->config, param), param_count(&b->config, param));
        for (int layer = 0; layer < param_count(&a->config, param); layer++) {
            const struct matrix *x = weights_get(&a->weights, param, layer),
                                *y = weights_get(&b->weights, param, layer);
            assert_int_equal(x->dtype, y->dtype);
            const size_t n = (size_t)param_size(&a->config, param);
            if (memcmp(x->data, y->data, dtype_bytes(x->dtype, n)) != 0) {
                fail_msg("%s of layer %d differs", params[p].name, layer);
            }
        }
    }
}

// ---- Reading --------------------------------------------------------------------------------

static void the_books_layout_is_ours_after_reading(void **state) {
    struct place *place = *state;
    struct llm_engine *book = open_heard(place, MODELS "book"), *ours = open_heard(place, MODELS "prefix");
    assert_ptr_equal(book->map.dialect, &dialect_book);
    assert_string_equal(book->container->format, "PyTorch");
    assert_true(book->config.tied_head && book->config.qkv_bias);
    assert_same_weights(book, ours);
    assert_int_equal(llm_engine_check(book), 0);
    // The fixture has W_query and its like turned in their storages, as assigning W.T leaves them, the others not.
    assert_true(container_find(book->container, "trf_blocks.0.att.W_query.weight")->transposed);
    assert_false(container_find(book->container, "trf_blocks.0.att.out_proj.weight")->transposed);
    // What is as we want it is used where it lies.
    assert_ptr_equal(weights_get(&book->weights, PARAM_WTE, 0)->data,
                     container_find(book->container, "tok_emb.weight")->data);
    llm_engine_free(book);
    llm_engine_free(ours);
}

static void a_model_may_lack_the_bias_of_qkv(void **state) {
    struct place *place = *state;
    struct llm_engine *engine = open_heard(place, MODELS "booknobias");
    assert_false(engine->config.qkv_bias);
    assert_false(engine->config.tied_head);
    assert_int_equal(param_count(&engine->config, PARAM_ATTN_QKV_BIAS), 0);
    llm_engine_free(engine);
    // For transformers the bias is there, and zero; for the book it is not there.
    convert(place, MODELS "booknobias", place->back, -1, 0);
    struct llm_engine *back = open_heard(place, place->back);
    assert_false(back->config.qkv_bias);
    const struct tensor_view *bias = container_find(back->container, "transformer.h.0.attn.c_attn.bias");
    assert_non_null(bias);
    for (size_t i = 0; i < bias->size; i++) assert_int_equal(bias->data[i], 0);
    convert(place, place->back, place->out, -1, 0);
    struct llm_error err = {0};
    struct container *file = container_open(place->out, &err);
    assert_string_equal(err.text, "");
    assert_null(container_find(file, "trf_blocks.0.att.W_query.bias"));
    container_free(file);
    engine = open_heard(place, MODELS "booknobias");
    assert_same_weights(engine, back);
    llm_engine_free(engine);
    llm_engine_free(back);
}

static void sizes_are_read_off_the_shapes(void **state) {
    struct place *place = *state;
    // head64 has one head of 64, as GPT-2's heads are.
    convert(place, MODELS "head64", place->out, -1, 0);
    char expected[512];
    snprintf(expected, sizeof expected,
             "%s: for GPTModel({\"vocab_size\": 101, \"context_length\": 64, \"emb_dim\": 64, \"n_heads\": 1, "
             "\"n_layers\": 1, \"drop_rate\": 0.0, \"qkv_bias\": True})\n",
             place->out);
    assert_string_equal(place->notices, expected);
    struct llm_engine *engine = open_heard(place, place->out);
    snprintf(expected, sizeof expected,
             "%s: there is no config.json beside it; n_head 1 is assumed: heads of 64 numbers, as GPT-2 has them\n",
             place->out);
    assert_string_equal(place->notices, expected);
    const struct config *config = &engine->config;
    assert_int_equal(config->n_layer, 1);
    assert_int_equal(config->n_embd, 64);
    assert_int_equal(config->n_inner, 256);
    assert_int_equal(config->n_ctx, 64);
    assert_int_equal(config->vocab_size, 101);
    assert_int_equal(config->n_labels, 0);
    assert_int_equal(config->eos, -1);
    struct llm_model_info info;
    llm_engine_info(engine, &info);
    assert_int_equal(info.n_files, 1);
    assert_string_equal(info.files[0].path, place->out);
    struct llm_engine *original = open_heard(place, MODELS "head64");
    assert_same_weights(engine, original);
    llm_engine_free(original);
    llm_engine_free(engine);

    // One of 24 numbers has no such heads.
    convert(place, MODELS "prefix", place->out, -1, 0);
    snprintf(expected, sizeof expected,
             "%s: how many heads it has cannot be told: n_embd 24 is no multiple of GPT-2's 64; put a config.json "
             "beside it, or convert it with --n-head",
             place->out);
    expect_refusal(place, place->out, place->back, 0, expected);
    snprintf(expected, sizeof expected, "%s: n_head is 5, which does not divide n_embd, 24", place->out);
    expect_refusal(place, place->out, place->back, 5, expected);
    expect_refusal(place, MODELS "book", place->back, 3,
                   MODELS "book/config.json: says how many heads there are, so they cannot be chosen");
}

// The vocabulary of a file alone is GPT-2's where the sizes agree.
static void gpt2s_vocabulary_is_taken_by_size(void **state) {
    struct place *place = *state;
    const struct config config = {.n_layer = 1,
                                  .n_head = 1,
                                  .n_embd = 64,
                                  .n_inner = 256,
                                  .n_ctx = 8,
                                  .vocab_size = 50257,
                                  .activation = ACTIVATION_GELU_TANH,
                                  .layer_norm_epsilon = 1e-5F,
                                  .scale_attn_weights = true,
                                  .tied_head = true,
                                  .qkv_bias = true,
                                  .eos = 50256};
    struct llm_error err = {0};
    struct llm_engine *engine = engine_synthesize("synthetic", &config, 1, NULL, &err);
    assert_string_equal(err.text, "");
    const struct llm_convert_options options = options_new(place, LLM_BF16, 0);
    struct save_counts counts;
    assert_true(save_torch(engine, place->out, &options, &counts, &err));
    llm_engine_free(engine);
    engine = open_heard(place, place->out);
    assert_non_null(engine->tokenizer);
    assert_int_equal(engine->config.eos, 50256);
    assert_int_equal(llm_tokenizer_vocab_size(engine->tokenizer), 50257);
    llm_engine_free(engine);
}

// ---- There and back -------------------------------------------------------------------------

static void there_and_back_changes_no_bit(void **state) {
    struct place *place = *state;
    static const struct {
        const char *name;
        int n_head;
    } models[] = {{"prefix", 3}, {"f16", 3}, {"bf16", 3}, {"untied", 3}, {"openai", 3}, {"book", 3}, {"padded", 3}};
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        char path[512];
        snprintf(path, sizeof path, MODELS "%s", models[i].name);
        convert(place, path, place->out, -1, 0);
        convert(place, place->out, place->back, -1, models[i].n_head);
        struct llm_engine *there = open_heard(place, path), *back = open_heard(place, place->back);
        assert_same_weights(there, back);
        llm_engine_free(there);
        llm_engine_free(back);
    }
}

static void the_file_is_what_the_class_wants(void **state) {
    struct place *place = *state;
    convert(place, MODELS "prefix", place->out, LLM_F16, 0);
    struct llm_error err = {0};
    struct container *file = container_open(place->out, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(file->n_tensors, 2 + 2 * 17 + 3);
    const struct tensor_view *mask = container_find(file, "trf_blocks.1.att.mask");
    assert_int_equal(mask->dtype, DTYPE_F32); // a buffer, not a weight
    assert_ptr_equal(mask->data, container_find(file, "trf_blocks.0.att.mask")->data);
    for (int row = 0; row < 64; row++) {
        for (int col = 0; col < 64; col++) {
            float number;
            memcpy(&number, mask->data + 4 * (64 * row + col), sizeof number);
            assert_true(number == (col > row ? 1.0F : 0.0F));
        }
    }
    const struct tensor_view *fc = container_find(file, "trf_blocks.0.ff.layers.0.weight");
    assert_int_equal(fc->dtype, DTYPE_F16);
    assert_true(fc->shape[0] == 96 && fc->shape[1] == 24);
    assert_ptr_equal(container_find(file, "out_head.weight")->data, container_find(file, "tok_emb.weight")->data);
    container_free(file);
}

static void refuses_what_the_class_has_not(void **state) {
    struct place *place = *state;
    static const struct {
        const char *name, *what;
    } cases[] = {
        {"relu", "an activation other than gelu_new"},
        {"gelu", "an activation other than gelu_new"},
        {"inner", "a feed-forward that is not four times as wide as the model"},
        {"epsilon", "a layer_norm_epsilon other than 1e-05"},
        {"noscale", "another scale of attention's scores"},
        {"bylayer", "another scale of attention's scores"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[512], sentence[512];
        snprintf(path, sizeof path, MODELS "%s", cases[i].name);
        snprintf(sentence, sizeof sentence,
                 "the model has %s, which the book's GPTModel has not, whose state dict a file of PyTorch's is written "
                 "as",
                 cases[i].what);
        expect_refusal(place, path, place->out, 0, sentence);
        assert_false(path_exists(place->out));
    }
}

static void keeps_what_is_there(void **state) {
    struct place *place = *state;
    struct llm_error err = {0};
    assert_true(file_write(place->out, "old", 3, &err));
    struct llm_convert_options options = options_new(place, -1, 0);
    options.overwrite = false;
    assert_false(llm_convert(MODELS "prefix", place->out, &options, &err));
    char sentence[512];
    snprintf(sentence, sizeof sentence, "%s: is there already; name another place, or allow it to be replaced",
             place->out);
    assert_string_equal(err.text, sentence);

    options = options_new(place, -1, 0);
    options.shard_size = 1;
    err = (struct llm_error){0};
    assert_false(llm_convert(MODELS "prefix", place->out, &options, &err));
    snprintf(sentence, sizeof sentence, "%s: PyTorch's files are not written in shards", place->out);
    assert_string_equal(err.text, sentence);
    char *bytes = NULL;
    size_t size = 0;
    assert_true(file_read(place->out, 10, &bytes, &size, NULL));
    assert_string_equal(bytes, "old");
    free(bytes);

    unlink(place->out);
    assert_true(directory_create(place->out, NULL));
    snprintf(sentence, sizeof sentence, "%s: is there already; name another place", place->out);
    expect_refusal(place, MODELS "prefix", place->out, 0, sentence);
    directory_remove(place->out);
    convert(place, MODELS "prefix", place->out, -1, 0);
    snprintf(sentence, sizeof sentence, "%s: is the source itself; another place was expected", place->out);
    expect_refusal(place, place->out, place->out, 3, sentence);
}

// ---- Wrong state dicts ----------------------------------------------------------------------

// The tensors of a one-layer model with n_embd 64 in the book's names; one left out or another shape for it.
static void write_state(const char *path, const char *changed, int rank, int64_t rows, int64_t cols) {
    struct llm_error err = {0};
    struct torch_zip_writer *writer = torch_zip_writer_new(path, &err);
    size_t total = 0;
    for (int i = 0; i < dialect_book.n_rows; i++) {
        const struct dialect_row *row = &dialect_book.rows[i];
        if (row->param == PARAM_COUNT || row->param == PARAM_SCORE || row->param == PARAM_SCORE_BIAS) continue;
        const struct config config = {.n_embd = 64, .n_inner = 256, .n_ctx = 8, .vocab_size = 9};
        int shape_rows, shape_cols;
        param_shape(&config, row->param, &shape_rows, &shape_cols);
        if (row->piece != PIECE_WHOLE) shape_cols /= 3;
        int64_t shape[2] = {shape_rows, shape_cols};
        if (row->layout == LAYOUT_TRANSPOSED) {
            shape[0] = shape_cols;
            shape[1] = shape_rows;
        }
        int n = params[row->param].is_matrix ? 2 : 1;
        if (n == 1) shape[0] = shape_cols;
        char name[128];
        assert_true(dialect_row_name(row, 0, name, sizeof name));
        if (changed != NULL && strcmp(name, changed) == 0) {
            if (rank == 0) continue;
            n = rank;
            shape[0] = rows;
            shape[1] = cols;
        }
        assert_true(torch_zip_writer_declare(writer, name, DTYPE_F32, n, shape, -1, &err));
        total += 4 * (size_t)(n == 2 ? shape[0] * shape[1] : shape[0]);
    }
    char *zeros = calloc(total, 1);
    assert_true(torch_zip_writer_data(writer, zeros, total, &err));
    assert_true(torch_zip_writer_finish(writer, &err));
    assert_string_equal(err.text, "");
    free(zeros);
}

static void says_what_is_wrong_with_a_state_dict(void **state) {
    struct place *place = *state;
    static const struct {
        const char *changed;
        int rank, rows, cols;
        const char *sentence;
    } cases[] = {
        {"trf_blocks.0.att.W_key.weight", 0, 0, 0, "tensor trf_blocks.0.att.W_key.weight is missing"},
        {"trf_blocks.0.att.W_value.bias", 0, 0, 0, "tensor trf_blocks.0.att.W_value.bias is missing"},
        {"out_head.weight", 0, 0, 0, "tensor out_head.weight is missing"},
        {"trf_blocks.0.norm1.scale", 0, 0, 0, "tensor trf_blocks.0.norm1.scale is missing"},
        {"trf_blocks.0.att.W_key.weight", 2, 64, 63,
         "tensor trf_blocks.0.att.W_key.weight has shape [64, 63], [64, 64] was expected (n_embd 64)"},
        {"trf_blocks.0.ff.layers.2.weight", 2, 256, 64,
         "tensor trf_blocks.0.ff.layers.2.weight has shape [256, 64], [64, 256] was expected (it is transposed)"},
        {"pos_emb.weight", 0, 0, 0,
         "there is no config.json beside it, and not all tensors that its sizes can be read off"},
        {"pos_emb.weight", 2, 0, 64, "n_positions is 0, a number from 1 to 1048576 was expected"},
        {"tok_emb.weight", 1, 64, 0,
         "how many heads it has cannot be told: n_embd 0 is no multiple of GPT-2's 64; put "
         "a config.json beside it, or convert it with --n-head"},
    };
    write_state(place->out, NULL, 0, 0, 0);
    llm_engine_free(open_heard(place, place->out));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_state(place->out, cases[i].changed, cases[i].rank, cases[i].rows, cases[i].cols);
        struct llm_error err = {0};
        char sentence[512];
        snprintf(sentence, sizeof sentence, "%s: %s", place->out, cases[i].sentence);
        assert_null(llm_engine_open(place->out, NULL, &err));
        assert_string_equal(err.text, sentence);
    }
}

// ---- Classifiers ----------------------------------------------------------------------------

static void a_classifier_has_labels(void **state) {
    struct place *place = *state;
    struct llm_engine *engine = open_heard(place, MODELS "classifier");
    struct llm_model_info info;
    llm_engine_info(engine, &info);
    assert_int_equal(info.n_labels, 3);
    assert_string_equal(info.labels[0], "ham");
    assert_string_equal(info.labels[2], "\xc3\xa9");
    assert_false(info.tied_head);
    assert_int_equal(engine->config.pad, 10);
    assert_int_equal(param_count(&engine->config, PARAM_SCORE), 1);
    assert_int_equal(param_count(&engine->config, PARAM_SCORE_BIAS), 0);
    assert_int_equal(param_count(&engine->config, PARAM_HEAD), 0);
    assert_int_equal(info.n_params, 11 * 8 + 8 * 8 + 872 + 16 + 3 * 8);

    struct llm_error err = {0};
    assert_null(llm_session_new(engine, 1, &err));
    assert_string_equal(err.text,
                        MODELS "classifier: is a classifier of 3 labels, which writes no text; a model with a "
                               "vocabulary for its output was expected");
    struct llm_evaluation evaluation;
    err = (struct llm_error){0};
    assert_false(llm_evaluate(engine, (const int32_t[]){1, 2}, (const size_t[]){0, 2}, 1, NULL, &evaluation, &err));
    assert_int_equal(err.code, LLM_ERROR_UNSUPPORTED);

    // Labels and all, there and back; in the book's class the head has a bias.
    convert(place, MODELS "classifier", place->back, -1, 0);
    struct llm_engine *back = open_heard(place, place->back);
    assert_same_weights(engine, back);
    assert_string_equal(back->labels[1], "spam");
    assert_int_equal(back->config.pad, 10);
    llm_engine_free(back);
    convert(place, MODELS "classifier", place->out, -1, 0);
    struct container *file = container_open(place->out, &err);
    const struct tensor_view *bias = container_find(file, "out_head.bias");
    assert_int_equal(bias->n_elements, 3);
    for (size_t i = 0; i < bias->size; i++) assert_int_equal(bias->data[i], 0);
    container_free(file);
    llm_engine_free(engine);
}

static void the_books_classifier_is_known_by_its_head(void **state) {
    struct place *place = *state;
    convert(place, MODELS "bookclassifier.pth", place->back, -1, 2);
    assert_string_equal(place->notices,
                        "score.bias is written, but GPT2ForSequenceClassification has no such parameter: "
                        "transformers leaves it out\n");
    struct llm_engine *engine = open_heard(place, place->back);
    assert_int_equal(engine->config.n_labels, 2);
    assert_true(engine->config.score_bias);
    assert_string_equal(engine->labels[1], "LABEL_1");
    struct llm_error err = {0};
    struct container *file = container_open(MODELS "bookclassifier.pth", &err);
    const struct matrix *score = weights_get(&engine->weights, PARAM_SCORE, 0);
    const struct matrix *bias = weights_get(&engine->weights, PARAM_SCORE_BIAS, 0);
    assert_memory_equal(score->data, container_find(file, "out_head.weight")->data, 64);
    assert_memory_equal(bias->data, container_find(file, "out_head.bias")->data, 8);
    container_free(file);
    // And back into the book's names, the same numbers.
    convert(place, place->back, place->out, -1, 0);
    file = container_open(place->out, &err);
    assert_memory_equal(bias->data, container_find(file, "out_head.bias")->data, 8);
    assert_memory_equal(score->data, container_find(file, "out_head.weight")->data, 64);
    container_free(file);
    llm_engine_free(engine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_books_layout_is_ours_after_reading, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(a_model_may_lack_the_bias_of_qkv, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(sizes_are_read_off_the_shapes, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(gpt2s_vocabulary_is_taken_by_size, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(there_and_back_changes_no_bit, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(the_file_is_what_the_class_wants, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(refuses_what_the_class_has_not, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(keeps_what_is_there, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(says_what_is_wrong_with_a_state_dict, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(a_classifier_has_labels, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(the_books_classifier_is_known_by_its_head, place_setup, place_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
