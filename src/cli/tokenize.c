// tokenize.c: `my-llm tokenize`: text to ids and back, from standard input or a file to standard output. With --train
// it learns a vocabulary instead: tokenize_train.c.
//
// Works on text of any length in bounded memory: it is read in blocks, each cut where llm_tokenizer_cut() allows. Only
// a stretch without any such place (megabytes of white space, or of one word) makes the block grow.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/command.h"
#include "cli/tokenize_train.h"

enum {
    // Enough for several threads to share.
    BLOCK = 8 << 20,
};

enum {
    MAX_OPTIONS = 16
};

enum format {
    FORMAT_TEXT,
    FORMAT_U16,
    FORMAT_U32,
};

static const char *const formats[] = {"text", "u16", "u32", NULL};

struct tokenize_args {
    const char *model;
    int format; // enum format
    bool count;
    bool decode;
    bool allow_special;
    int n_threads;
    bool train;
    struct tokenize_train_args training;
    bool given[MAX_OPTIONS];
};

static const struct option tokenize_options[] = {
    {.name = "model",
     .letter = 'm',
     .type = OPTION_STRING,
     .offset = offsetof(struct tokenize_args, model),
     .placeholder = "MODEL",
     .help = "use the vocabulary of this model, or tokenizer.json; GPT-2's, which is built in, when not given"},
    {.name = "format",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct tokenize_args, format),
     .placeholder = "FORMAT",
     .help = "how ids are written or read; u16 and u32: raw, little-endian",
     .choices = formats},
    {.name = "count",
     .type = OPTION_FLAG,
     .offset = offsetof(struct tokenize_args, count),
     .help = "print only how many ids there are"},
    {.name = "decode",
     .type = OPTION_FLAG,
     .offset = offsetof(struct tokenize_args, decode),
     .help = "read ids and write their text"},
    {.name = "allow-special",
     .type = OPTION_FLAG,
     .offset = offsetof(struct tokenize_args, allow_special),
     .help = "take <|endoftext|> in the text for the end-of-text id"},
    {.name = "threads",
     .type = OPTION_INT,
     .offset = offsetof(struct tokenize_args, n_threads),
     .placeholder = "N",
     .help = "threads (0: as many as there are cores to use)",
     .min = 0,
     .max = 1024},
    {.name = "train",
     .type = OPTION_FLAG,
     .offset = offsetof(struct tokenize_args, train),
     .help = "learn a vocabulary from the FILEs; the options below belong to it"},
    {.name = "out",
     .letter = 'o',
     .type = OPTION_STRING,
     .offset = offsetof(struct tokenize_args, training.out),
     .placeholder = "DIR",
     .help = "write vocab.json, merges.txt and tokenizer.json as this directory"},
    {.name = "vocab-size",
     .type = OPTION_INT,
     .offset = offsetof(struct tokenize_args, training.vocab_size),
     .placeholder = "N",
     .help = "ids, the 256 bytes and <|endoftext|> among them",
     .min = 257,
     .max = (1 << 21) - 1},
    {.name = "min-frequency",
     .type = OPTION_INT64,
     .offset = offsetof(struct tokenize_args, training.min_frequency),
     .placeholder = "N",
     .help = "learn no token from a pair that occurs less often",
     .min = 0,
     .max = 9e15},
    {.name = "force",
     .letter = 'f',
     .type = OPTION_FLAG,
     .offset = offsetof(struct tokenize_args, training.force),
     .help = "replace DIR if it is there"},
};

_Static_assert(sizeof tokenize_options / sizeof tokenize_options[0] <= MAX_OPTIONS, "tokenize_args.given has room");

static void tokenize_init(void *memory) {
    struct tokenize_args *args = memory;
    struct llm_tokenizer_train_options training;
    llm_tokenizer_train_options_init(&training);
    *args = (struct tokenize_args){
        .format = FORMAT_TEXT,
        .training = {.vocab_size = training.vocab_size, .min_frequency = training.min_frequency},
    };
}

// ---- Input and output -----------------------------------------------------------------------

struct input {
    int fd;
    struct llm_text *text; // what the descriptor gives, as text; NULL: bytes as they are, of ids
    const char *name;
    char *bytes;           // [capacity] what has been read and not yet used up
    size_t size, capacity; // bytes in use, bytes allocated
    bool ended;
};

static bool input_open(struct input *input, const char *path, const struct tokenize_args *args, struct llm_error *err) {
    const bool standard = strcmp(path, "-") == 0;
    *input = (struct input){.fd = STDIN_FILENO, .name = standard ? "standard input" : path};
    if (!standard) input->fd = open(path, O_RDONLY | O_CLOEXEC); // pipes are welcome, so this is not file_read()
    if (input->fd < 0) return error_errno(err, "%s: cannot open this file", path);
    if (args->decode) return true; // raw ids may begin with any bytes
    input->text = command_open_text(input->fd, input->name, args->n_threads, err);
    return input->text != NULL;
}

static void input_close(struct input *input) {
    llm_text_close(input->text);
    if (input->fd > STDIN_FILENO) close(input->fd);
    free(input->bytes);
}

// Reads at most `size` bytes into `bytes`; *n gets 0 only at the end.
static bool input_read(struct input *input, char *bytes, size_t size, size_t *n, struct llm_error *err) {
    if (input->text != NULL) return llm_text_read(input->text, bytes, size, n, err);
    for (;;) {
        const ssize_t got = read(input->fd, bytes, size);
        if (got < 0 && errno == EINTR && !command_interrupted()) continue;
        if (got < 0 && errno == EINTR) return error_set(err, LLM_ERROR_CANCELLED, "%s: interrupted", input->name);
        if (got < 0) return error_errno(err, "%s: cannot read", input->name);
        *n = (size_t)got;
        return true;
    }
}

// Reads until `size` bytes are there or the input ends.
static bool input_fill(struct input *input, size_t size, struct llm_error *err) {
    if (size > input->capacity) {
        char *bytes = realloc(input->bytes, size);
        if (bytes == NULL) {
            error_memory(err, input->name);
            return false;
        }
        input->bytes = bytes;
        input->capacity = size;
    }
    while (!input->ended && input->size < size) {
        size_t n = 0;
        if (!input_read(input, input->bytes + input->size, size - input->size, &n, err)) return false;
        input->size += n;
        input->ended = n == 0;
    }
    return true;
}

// Forgets the first n bytes.
static void input_use(struct input *input, size_t n) {
    input->size -= n;
    if (input->size > 0) memmove(input->bytes, input->bytes + n, input->size);
}

// Ends the work when stdout has failed; the sentence about it is main()'s.
static bool write_bytes(const void *bytes, size_t size, struct llm_error *err) {
    if (size == 0 || fwrite(bytes, 1, size, stdout) == size) return true;
    command_output_failed();
    return error_errno(err, "cannot write standard output");
}

// ---- Encoding -------------------------------------------------------------------------------

// Writes an id in decimal at `out`, which has room for 11 bytes, a space before it if there is one; returns the bytes.
static size_t put_decimal(char *out, int32_t id, bool space) {
    char digits[10];
    size_t n = 0;
    for (uint32_t rest = (uint32_t)id; n == 0 || rest > 0; rest /= 10) digits[n++] = (char)('0' + rest % 10);
    size_t size = 0;
    if (space) out[size++] = ' ';
    while (n > 0) out[size++] = digits[--n];
    return size;
}

// Writes an id as `width` bytes, lowest first.
static size_t put_raw(char *out, int32_t id, size_t width) {
    for (size_t i = 0; i < width; i++) out[i] = (char)((uint32_t)id >> (8 * i) & 0xff);
    return width;
}

// Writes ids [n]; n_before have been written already.
static bool write_ids(const int32_t *ids, size_t n, uint64_t n_before, enum format format, struct llm_error *err) {
    char block[1 << 16];
    size_t size = 0;
    for (size_t i = 0; i < n; i++) {
        if (sizeof block - size < 11) {
            if (!write_bytes(block, size, err)) return false;
            size = 0;
        }
        if (format == FORMAT_TEXT) {
            size += put_decimal(block + size, ids[i], n_before + i > 0);
        } else {
            size += put_raw(block + size, ids[i], format == FORMAT_U16 ? 2 : 4);
        }
    }
    return write_bytes(block, size, err);
}

static bool encode_input(const struct llm_tokenizer *tokenizer, const struct tokenize_args *args, struct input *input,
                         struct llm_error *err) {
    uint64_t total = 0;
    size_t wanted = BLOCK;
    for (bool more = true; more;) {
        if (!input_fill(input, wanted, err)) return false;
        const size_t size = input->ended ? input->size : llm_tokenizer_cut(input->bytes, input->size);
        more = !input->ended;
        if (size == 0 && more) { // no place to cut yet
            if (wanted > SIZE_MAX / 2) return error_memory(err, input->name);
            wanted *= 2;
            continue;
        }
        int32_t *ids = NULL;
        size_t n_ids = 0;
        if (!llm_tokenizer_encode_parallel(tokenizer, input->bytes, size, args->allow_special, args->n_threads, &ids,
                                           &n_ids, err)) {
            return false;
        }
        const bool ok = args->count || write_ids(ids, n_ids, total, (enum format)args->format, err);
        llm_free(ids);
        if (!ok) return false;
        total += n_ids;
        input_use(input, size);
    }
    if (args->count) printf("%" PRIu64 "\n", total);
    if (!args->count && args->format == FORMAT_TEXT) putchar('\n');
    return true;
}

// ---- Decoding -------------------------------------------------------------------------------

static bool write_token(const struct llm_tokenizer *tokenizer, int64_t id, struct llm_error *err) {
    size_t size = 0;
    const char *bytes = id <= INT32_MAX ? llm_tokenizer_token(tokenizer, (int32_t)id, &size) : NULL;
    if (bytes != NULL) return write_bytes(bytes, size, err);
    return error_set(err, LLM_ERROR_FORMAT, "there is no token %lld: ids run from 0 to %d", (long long)id,
                     llm_tokenizer_vocab_size(tokenizer) - 1);
}

static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

// The number that is the word [size], or -1 if it is none.
static int64_t read_decimal(const char *word, size_t size) {
    if (size == 0 || size > 10) return -1;
    int64_t value = 0;
    for (size_t i = 0; i < size; i++) {
        if (word[i] < '0' || word[i] > '9') return -1;
        value = value * 10 + (word[i] - '0');
    }
    return value;
}

// Decodes the whole words among the bytes at hand and sets *used to where they end; `offset` is where the bytes lie in
// the input.
static bool decode_words(const struct llm_tokenizer *tokenizer, const struct input *input, uint64_t offset,
                         size_t *used, struct llm_error *err) {
    *used = 0;
    for (size_t at = 0; at < input->size;) {
        const size_t begin = at;
        while (at < input->size && !is_space(input->bytes[at])) at++;
        if (at == input->size && !input->ended && at - begin <= 10) return true; // may go on
        if (at > begin) {
            const int64_t id = read_decimal(input->bytes + begin, at - begin);
            if (id < 0) {
                return error_set(err, LLM_ERROR_FORMAT,
                                 "at byte %" PRIu64 ": decimal ids with spaces between were expected", offset + begin);
            }
            if (!write_token(tokenizer, id, err)) return false;
        }
        while (at < input->size && is_space(input->bytes[at])) at++;
        *used = at;
    }
    return true;
}

// The same for raw ids of `width` bytes.
static bool decode_raw(const struct llm_tokenizer *tokenizer, const struct input *input, size_t width, size_t *used,
                       struct llm_error *err) {
    size_t at = 0;
    for (; input->size - at >= width; at += width) {
        int64_t id = 0;
        for (size_t i = 0; i < width; i++) id |= (int64_t)(uint8_t)input->bytes[at + i] << (8 * i);
        if (!write_token(tokenizer, id, err)) return false;
    }
    *used = at;
    return true;
}

static bool decode_input(const struct llm_tokenizer *tokenizer, enum format format, struct input *input,
                         struct llm_error *err) {
    const size_t width = format == FORMAT_U16 ? 2 : 4;
    uint64_t offset = 0;
    while (!input->ended) {
        if (!input_fill(input, 1 << 16, err)) return false;
        size_t used = 0;
        const bool ok = format == FORMAT_TEXT ? decode_words(tokenizer, input, offset, &used, err)
                                              : decode_raw(tokenizer, input, width, &used, err);
        if (!ok) {
            error_prefix(err, "%s", input->name);
            return false;
        }
        input_use(input, used);
        offset += used;
    }
    if (input->size == 0) return true;
    return error_set(err, LLM_ERROR_FORMAT, "%s: has %" PRIu64 " bytes, a multiple of %zu was expected (--format %s)",
                     input->name, offset + input->size, width, formats[format]);
}

// ---- The command ----------------------------------------------------------------------------

static bool tokenize(const struct tokenize_args *args, const char *path, struct llm_error *err) {
    struct llm_engine_options options;
    llm_engine_options_init(&options);
    if (args->model != NULL) options.callbacks = command_callbacks();
    struct llm_tokenizer *tokenizer = llm_tokenizer_open(args->model, &options, err);
    if (tokenizer == NULL) return false;
    struct input input = {0};
    bool ok = false;
    if (args->format == FORMAT_U16 && llm_tokenizer_vocab_size(tokenizer) > 65536) {
        error_set(err, LLM_ERROR_ARGUMENT,
                  "ids of this vocabulary go up to %d, which 16 bits do not hold: use --format u32",
                  llm_tokenizer_vocab_size(tokenizer) - 1);
    } else {
        ok = input_open(&input, path, args, err) &&
             (args->decode ? decode_input(tokenizer, (enum format)args->format, &input, err)
                           : encode_input(tokenizer, args, &input, err));
        input_close(&input);
    }
    llm_tokenizer_free(tokenizer);
    return ok;
}

static int train_run(const struct tokenize_args *args, int n_operands, char **operands) {
    if (args->decode || args->count || args->allow_special || args->model != NULL || args->format != FORMAT_TEXT) {
        return command_usage(&command_tokenize,
                             "--train learns a vocabulary; it does not go with options that use one");
    }
    if (n_operands == 0) return command_usage(&command_tokenize, "--train needs at least one FILE or folder");
    if (args->training.out == NULL) return command_usage(&command_tokenize, "--train needs --out DIR");
    struct llm_error err = {0};
    return tokenize_train(&args->training, args->n_threads, operands, n_operands, &err) ? 0 : command_failed(&err);
}

// The first option that was given and is only for --train; NULL: there is none.
static const char *given_for_training(const struct tokenize_args *args) {
    static const char *const names[] = {"out", "vocab-size", "min-frequency", "force"};
    for (size_t i = 0; i < sizeof tokenize_options / sizeof tokenize_options[0]; i++) {
        for (size_t j = 0; j < sizeof names / sizeof *names; j++) {
            if (args->given[i] && strcmp(tokenize_options[i].name, names[j]) == 0) return names[j];
        }
    }
    return NULL;
}

static int tokenize_run(void *memory, int n_operands, char **operands) {
    const struct tokenize_args *args = memory;
    if (args->decode && args->count) return command_usage(&command_tokenize, "--decode and --count exclude each other");
    if (args->decode && args->allow_special) {
        return command_usage(&command_tokenize, "--allow-special is about encoding; it does not go with --decode");
    }
    const char *lone = args->train ? NULL : given_for_training(args);
    if (lone != NULL) return command_usage(&command_tokenize, "--%s needs --train", lone);
    if (args->train) return train_run(args, n_operands, operands);
    if (n_operands > 1) return command_usage(&command_tokenize, "only --train takes several files");
    struct llm_error err = {0};
    if (tokenize(args, n_operands > 0 ? operands[0] : "-", &err)) return 0;
    return ferror(stdout) ? 1 : command_failed(&err);
}

const struct command command_tokenize = {
    .name = "tokenize",
    .summary = "turn text into ids or back, or learn a vocabulary",
    .usage = "[-m MODEL] [--format FORMAT] [--allow-special] [--count] [FILE]\n"
             "--decode [-m MODEL] [--format FORMAT] [FILE]\n"
             "--train FILE... --out DIR [--vocab-size N]",
    .description = "Reads text from FILE, or standard input, and writes its ids on one line, separated by spaces, or\n"
                   "raw (--format u16, u32). --decode reads what the same --format writes and gives back the text,\n"
                   "byte for byte, be it UTF-8 or not. Text that is compressed, as .xz or .gz, is unpacked.\n"
                   "\n"
                   "<|endoftext|> in the text is text like any other unless --allow-special is given.\n"
                   "\n"
                   "Text of any length takes about 100 MB of memory at most; only a single stretch of white space, or\n"
                   "a single word, of many megabytes takes more.\n"
                   "\n"
                   "--train learns a byte-level BPE vocabulary from texts: files, plain, .xz or .gz, and folders of\n"
                   "*.txt, *.text and *.md (links to folders are not followed). <|endoftext|> parts documents and\n"
                   "gets the last id. The merges are those that Hugging Face tokenizers learn from the same\n"
                   "documents. A text with few different words gives fewer ids than asked for; one with more than 64\n"
                   "MiB on end in which no white space follows a word is refused.",
    .examples = "  $ echo -n 'Hello world' | my-llm tokenize\n"
                "  15496 995\n"
                "  $ my-llm tokenize --count book.txt\n"
                "  $ my-llm tokenize --format u16 book.txt > book.u16\n"
                "  $ my-llm tokenize --decode --format u16 book.u16 | cmp - book.txt\n"
                "  $ my-llm tokenize --train books.txt.xz notes/ --vocab-size 8192 --out my-vocabulary\n"
                "  $ my-llm tokenize -m my-vocabulary book.txt",
    .options = tokenize_options,
    .n_options = sizeof tokenize_options / sizeof tokenize_options[0],
    .args_size = sizeof(struct tokenize_args),
    .given = offsetof(struct tokenize_args, given),
    .max_operands = -1,
    .init = tokenize_init,
    .run = tokenize_run,
};
