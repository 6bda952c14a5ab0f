// download.c: `my-llm download`: models and data sets into $MY_LLM_HOME.
//
// stdout has the directory of each thing that was asked for, one a line, so that a script can use it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/progress.h"

struct download_args {
    struct llm_download_options options;
    bool list;
    bool json;
};

static const struct option download_options[] = {
    {.name = "from",
     .type = OPTION_STRING,
     .offset = offsetof(struct download_args, options.from),
     .placeholder = "URL",
     .help = "a mirror instead of the origin: http://, https:// or file:// (MY_LLM_MIRROR)"},
    {.name = "force",
     .type = OPTION_FLAG,
     .offset = offsetof(struct download_args, options.force),
     .help = "fetch again what is already there"},
    {.name = "timeout",
     .type = OPTION_INT,
     .offset = offsetof(struct download_args, options.timeout),
     .placeholder = "SECONDS",
     .help = "give up when nothing has come for so long",
     .min = 1,
     .max = 86400},
    {.name = "list",
     .type = OPTION_FLAG,
     .offset = offsetof(struct download_args, list),
     .help = "show what there is, with sizes and licences"},
    {.name = "json", .type = OPTION_FLAG, .offset = offsetof(struct download_args, json), .help = "the list as JSON"},
};

static void download_init(void *memory) {
    struct download_args *args = memory;
    *args = (struct download_args){0};
    llm_download_options_init(&args->options);
}

static void size_text(char *text, size_t size, const struct llm_download_item *item) {
    char amount[32];
    amount_text(amount, sizeof amount, item->size, "bytes");
    snprintf(text, size, "%s%s", item->approximate ? "about " : "", amount);
}

static void print_table(void) {
    int n = 0;
    const struct llm_download_item *items = llm_download_items(&n);
    int names = (int)strlen("NAME"), sizes = (int)strlen("SIZE"), licences = (int)strlen("LICENCE");
    char text[64];
    for (int i = 0; i < n; i++) {
        size_text(text, sizeof text, &items[i]);
        const int name = (int)strlen(items[i].name), size = (int)strlen(text), licence = (int)strlen(items[i].licence);
        if (name > names) names = name;
        if (size > sizes) sizes = size;
        if (licence > licences) licences = licence;
    }
    printf("%-*s  %*s  %-*s  %s\n", names, "NAME", sizes, "SIZE", licences, "LICENCE", "WHAT");
    for (int i = 0; i < n; i++) {
        size_text(text, sizeof text, &items[i]);
        printf("%-*s  %*s  %-*s  %s\n", names, items[i].name, sizes, text, licences, items[i].licence,
               items[i].description);
    }
}

static bool print_json(struct llm_error *err) {
    int n = 0;
    const struct llm_download_item *items = llm_download_items(&n);
    json_t *list = json_array();
    for (int i = 0; i < n; i++) {
        json_t *item = json_pack("{s:s, s:I, s:b, s:s, s:s}", "name", items[i].name, "size", (json_int_t)items[i].size,
                                 "approximate", items[i].approximate, "licence", items[i].licence, "description",
                                 items[i].description);
        if (json_array_append_new(list, item) == 0) continue;
        json_decref(list);
        return error_memory(err, "list");
    }
    const bool ok = json_dumpf(list, stdout, JSON_INDENT(2)) == 0;
    putchar('\n');
    json_decref(list);
    return ok || error_set(err, LLM_ERROR_IO, "cannot write the list");
}

static int download_run(void *memory, int n_operands, char **operands) {
    struct download_args *args = memory;
    struct llm_error err = {0};
    if (args->json && !args->list) return command_usage(&command_download, "--json goes with --list");
    if (args->list && n_operands > 0) return command_usage(&command_download, "--list goes without a name");
    if (args->list && args->json) return print_json(&err) ? 0 : command_failed(&err);
    if (args->list) {
        print_table();
        return 0;
    }
    if (n_operands == 0) return command_usage(&command_download, "a name is missing; --list shows them all");
    args->options.callbacks = command_callbacks();
    for (int i = 0; i < n_operands; i++) {
        char *path = NULL;
        if (!llm_download(operands[i], &args->options, &path, &err)) {
            error_prefix(&err, "cannot download %s", operands[i]);
            return command_failed(&err);
        }
        printf("%s\n", path);
        llm_free(path);
    }
    return 0;
}

const struct command command_download = {
    .name = "download",
    .summary = "get models and data sets",
    .usage = "[options] NAME...\n--list [--json]",
    .description =
        "Fetches models and data sets by name into $MY_LLM_HOME (default $XDG_DATA_HOME/my-llm, else\n"
        "~/.local/share/my-llm) and prints the directory each is in. What was cut off is resumed, sizes and\n"
        "SHA-256 sums are checked, and nothing counts as there before it is whole.\n"
        "\n"
        "A mirror (--from, or MY_LLM_MIRROR) holds the origin's paths, for example\n"
        "  URL/gpt-2/models/124M/hparams.json and OpenAI's six other files; likewise 355M, 774M, 1558M\n"
        "  URL/static/public/228/sms+spam+collection.zip\n"
        "  URL/rasbt/LLMs-from-scratch/main/ch07/01_main-chapter-code/instruction-data.json\n"
        "  URL/rasbt/LLMs-from-scratch/main/ch02/01_main-chapter-code/the-verdict.txt\n"
        "or just the files: URL/hparams.json. SMSSpamCollection may lie there unpacked. Files with a\n"
        "published SHA-256 must have it; the others are held to the sum of their first download, which\n"
        "$MY_LLM_HOME/downloads/NAME.sha256 keeps.",
    .examples = "  $ my-llm download gpt2\n"
                "  $ my-llm download --from file:///media/usb/mirror gpt2-xl sms-spam\n"
                "  $ MY_LLM_MIRROR=https://mirror.example.org/llm my-llm download instructions",
    .options = download_options,
    .n_options = sizeof download_options / sizeof download_options[0],
    .args_size = sizeof(struct download_args),
    .max_operands = -1,
    .init = download_init,
    .run = download_run,
};
