// items.c: see items.h. The rows here and those of llm_download_items() stand in the same order.
//
// Where the numbers are from: sizes of the 124M and 355M files as the book's own checks of both servers
// have them (LLMs-from-scratch, ch05/01_main-chapter-code/tests.py); the weights of 774M and 1558M are
// 4 bytes a parameter (774,030,080 and 1,557,611,200 of them), as in the smaller two, and their index and
// meta files are estimates in proportion to the layers. OpenAI publishes no sums; those of vocab.bpe and
// encoder.json are the well-known ones of GPT-2's vocabulary, the same for all four models. The sums of
// the data sets are of the files at their origins in November 2026.
#include "store/items.h"

#include <string.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof(array)[0]))

#define VOCAB_BPE_SHA256 "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"
#define ENCODER_JSON_SHA256 "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"

// OpenAI's seven files. Small ones first, so that what is wrong shows early.
#define GPT2_FILES(hparams_size, data_size, index_size, meta_size, estimated)                                          \
    {                                                                                                                  \
        {.name = "checkpoint", .size = 77, .approximate = estimated},                                                  \
            {.name = "hparams.json", .size = hparams_size, .approximate = estimated},                                  \
            {.name = "encoder.json", .size = 1042301, .sha256 = ENCODER_JSON_SHA256},                                  \
            {.name = "vocab.bpe", .size = 456318, .sha256 = VOCAB_BPE_SHA256},                                         \
            {.name = "model.ckpt.index", .size = index_size, .approximate = estimated},                                \
            {.name = "model.ckpt.meta", .size = meta_size, .approximate = estimated},                                  \
            {.name = "model.ckpt.data-00000-of-00001", .size = data_size, .approximate = estimated},                   \
    }

static const struct store_file files_124m[] = GPT2_FILES(90, 497759232, 5215, 471155, false);
static const struct store_file files_355m[] = GPT2_FILES(91, 1419292672, 10399, 926519, false);
static const struct store_file files_774m[] = GPT2_FILES(91, 3096120320, 15600, 1382000, true);
static const struct store_file files_1558m[] = GPT2_FILES(91, 6230444800, 20800, 1837000, true);

static const struct store_file files_sms[] = {{
    .name = "SMSSpamCollection",
    .size = 477907,
    .sha256 = "7d039a24a6083ed9ef0f806ebad56bbb976e3aeb8de05669173bfdc4996c239d",
    .archive = "sms+spam+collection.zip",
    .elsewhere = "https://f001.backblazeb2.com/file/LLMs-from-scratch/sms%2Bspam%2Bcollection.zip",
}};

static const struct store_file files_instructions[] = {{
    .name = "instruction-data.json",
    .size = 203524,
    .sha256 = "7e09a9af353722ca15c18bc580f093f9c39d3178335a75177319cb1e1d163944",
}};

static const struct store_file files_verdict[] = {{
    .name = "the-verdict.txt",
    .size = 20479,
    .sha256 = "b41e41a68f0398a3154ae69e2e4c0e2694e17fe0d66730536837f1b01935b31f",
}};

#define OPENAI "https://openaipublic.blob.core.windows.net"
#define BOOK_MIRROR "https://f001.backblazeb2.com/file/LLMs-from-scratch"
#define GITHUB "https://raw.githubusercontent.com"
#define BOOK_PATH "/rasbt/LLMs-from-scratch/main"

static const struct store_item items[] = {
    {"gpt2", true, OPENAI, "/gpt-2/models/124M", BOOK_MIRROR "/gpt2/124M", files_124m, COUNT(files_124m)},
    {"gpt2-medium", true, OPENAI, "/gpt-2/models/355M", BOOK_MIRROR "/gpt2/355M", files_355m, COUNT(files_355m)},
    {"gpt2-large", true, OPENAI, "/gpt-2/models/774M", BOOK_MIRROR "/gpt2/774M", files_774m, COUNT(files_774m)},
    {"gpt2-xl", true, OPENAI, "/gpt-2/models/1558M", BOOK_MIRROR "/gpt2/1558M", files_1558m, COUNT(files_1558m)},
    {"sms-spam", false, "https://archive.ics.uci.edu", "/static/public/228", NULL, files_sms, 1},
    {"instructions", false, GITHUB, BOOK_PATH "/ch07/01_main-chapter-code", NULL, files_instructions, 1},
    {"the-verdict", false, GITHUB, BOOK_PATH "/ch02/01_main-chapter-code", NULL, files_verdict, 1},
};

#define VOCABULARY_SIZE (1042301 + 456318)

static const struct llm_download_item shown[] = {
    {"gpt2", "GPT-2 124M, OpenAI's TensorFlow checkpoint", "Modified MIT (OpenAI)",
     VOCABULARY_SIZE + 77 + 90 + 497759232 + 5215 + 471155, false},
    {"gpt2-medium", "GPT-2 355M, OpenAI's TensorFlow checkpoint", "Modified MIT (OpenAI)",
     VOCABULARY_SIZE + 77 + 91 + 1419292672 + 10399 + 926519, false},
    {"gpt2-large", "GPT-2 774M, OpenAI's TensorFlow checkpoint", "Modified MIT (OpenAI)",
     VOCABULARY_SIZE + 77 + 91 + 3096120320 + 15600 + 1382000, true},
    {"gpt2-xl", "GPT-2 1558M, OpenAI's TensorFlow checkpoint", "Modified MIT (OpenAI)",
     VOCABULARY_SIZE + 77 + 91 + 6230444800 + 20800 + 1837000, true},
    {"sms-spam", "SMS Spam Collection, 5,574 labelled messages (Almeida and Gomez Hidalgo, UCI)", "CC BY 4.0", 477907,
     false},
    {"instructions", "1,100 instructions with answers (Raschka, Build a Large Language Model From Scratch)",
     "Apache-2.0", 203524, false},
    {"the-verdict", "The Verdict, a short story (Edith Wharton, 1908)", "public domain", 20479, false},
};

_Static_assert(sizeof files_124m / sizeof files_124m[0] <= STORE_MAX_FILES, "the largest item fits");
_Static_assert(sizeof items / sizeof items[0] == sizeof shown / sizeof shown[0], "one row for each item");

const struct store_item *store_item_find(const char *name) {
    for (int i = 0; i < COUNT(items); i++) {
        if (strcmp(items[i].name, name) == 0) return &items[i];
    }
    return NULL;
}

const struct llm_download_item *llm_download_items(int *n_items) {
    *n_items = COUNT(shown);
    return shown;
}
