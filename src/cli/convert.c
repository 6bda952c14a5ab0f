// convert.c: `my-llm convert`: any model that can be opened, written as transformers, PyTorch or llama.cpp opens it.
#include "cli/command.h"
#include "cli/progress.h"

struct convert_args {
    int dtype;    // enum llm_dtype, in the order of `dtypes`; -1: as stored
    int quantize; // enum llm_quantize
    int64_t shard_size;
    int n_head;
    bool force;
};

static const char *const dtypes[] = {"f32", "f16", "bf16", NULL};
_Static_assert(LLM_F32 == 0 && LLM_F16 == 1 && LLM_BF16 == 2, "dtypes[] is in the order of enum llm_dtype");

static const struct option options[] = {
    {"dtype", 0, OPTION_CHOICE, offsetof(struct convert_args, dtype), "DTYPE",
     "number format of the weights (default: as stored)", 0, 0, dtypes},
    {"quantize", 0, OPTION_CHOICE, offsetof(struct convert_args, quantize), "FORMAT",
     "fewer bits a weight; q8 and q4 (GGUF's Q8_0 and Q4_0) for a DST that ends in .gguf", 0, 0, quantize_choices},
    {"shard-size", 0, OPTION_SIZE, offsetof(struct convert_args, shard_size), "SIZE",
     "split the weights into files of at most SIZE, or of one tensor that is larger (default: one file)", 1, 9e18,
     NULL},
    {"n-head", 0, OPTION_INT, offsetof(struct convert_args, n_head), "N",
     "heads of a SRC without a config.json (default: 64 numbers each, as GPT-2 has them)", 1, 1 << 14, NULL},
    {"force", 'f', OPTION_FLAG, offsetof(struct convert_args, force), NULL, "replace the model that is at DST", 0, 0,
     NULL},
};

static void convert_init(void *memory) {
    *(struct convert_args *)memory = (struct convert_args){.dtype = -1};
}

static int convert_run(void *memory, int n_operands, char **operands) {
    (void)n_operands; // exactly two
    const struct convert_args *args = memory;
    struct llm_error err = {0};
    struct llm_convert_options converting;
    llm_convert_options_init(&converting);
    converting.dtype = args->dtype;
    converting.quantize = args->quantize;
    converting.shard_size = args->shard_size;
    converting.n_head = args->n_head;
    converting.overwrite = args->force;
    converting.callbacks = command_callbacks();
    if (!llm_convert(operands[0], operands[1], &converting, &err)) return command_failed(&err);
    progress_clear();
    return 0;
}

const struct command command_convert = {
    .name = "convert",
    .summary = "write a model as a Hugging Face directory, a GGUF or a PyTorch file",
    .usage = "[--dtype DTYPE | --quantize FORMAT] [options] SRC DST",
    .description =
        "Writes model SRC (a name, a directory, or one .safetensors, .pth or .gguf file) as directory DST in Hugging "
        "Face "
        "layout: config.json, model.safetensors (or shards and their index), and the vocabulary. transformers opens "
        "the result.\n\n"
        "When DST ends in .pth or .pt it becomes one file of PyTorch's: the state dict of GPTModel in the book \"Build "
        "a Large Language Model (From Scratch)\", for torch.load() and load_state_dict(). It holds the weights alone; "
        "what GPTModel must be told is printed.\n\n"
        "When DST ends in .gguf it becomes one file of llama.cpp's architecture gpt2, vocabulary included. Vectors and "
        "position embeddings are F32 there, whatever the rest becomes.\n\n"
        "DST appears when it is whole: an interrupted conversion leaves nothing that passes for a model. With "
        "--force the model at DST is exchanged for the new one in one step.",
    .examples = "  $ my-llm convert gpt2 ./gpt2-hf\n"
                "  $ my-llm convert gpt2 gpt2.pth\n"
                "  $ my-llm convert --quantize q8 gpt2 gpt2-q8_0.gguf\n"
                "  $ my-llm convert model_and_optimizer.pth ./my-model\n"
                "  $ my-llm convert --dtype bf16 --shard-size 500MB gpt2-xl ./gpt2-xl-bf16",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .args_size = sizeof(struct convert_args),
    .min_operands = 2,
    .max_operands = 2,
    .init = convert_init,
    .run = convert_run,
};
