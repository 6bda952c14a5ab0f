// fuzz_instructions.c: any bytes as a template and, behind the first NUL, as a file of instructions. What is accepted
// must fill in within bounds, and a failure must leave a sentence.
#include <stdlib.h>
#include <string.h>

#include "data/instructions.h"
#include "data/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fill(const struct template *template, const struct instruction *item) {
    struct strbuf out;
    strbuf_init(&out, (size_t)1 << 28);
    template_put_prompt(&out, template, item);
    template_put_header(&out, template, item);
    template_put_answer(&out, template, item);
    if (!strbuf_ok(&out) || strstr(out.bytes, item->instruction) == NULL || strstr(out.bytes, item->output) == NULL) {
        abort();
    }
    strbuf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = (const char *)data;
    const char *end = size == 0 ? NULL : memchr(text, '\0', size);
    const size_t n = end == NULL ? size : (size_t)(end - text);
    const struct instruction plain = {"I", "", "O", 1};
    struct template template;
    struct instructions instructions;
    struct llm_error err = {0}, other = {0};
    const bool ok = template_parse(&template, text, n, &err);
    if (ok != (err.code == LLM_OK) || ok != (err.text[0] == '\0')) abort();
    if (ok) fill(&template, &plain);
    const char *rest = end == NULL ? "" : end + 1;
    const bool read = instructions_parse(&instructions, rest, end == NULL ? 0 : size - n - 1, true, &other);
    if (read != (other.code == LLM_OK) || read != (other.text[0] == '\0')) abort();
    for (size_t i = 0; ok && read && i < instructions.n; i++) fill(&template, &instructions.items[i]);
    instructions_release(&instructions);
    template_release(&template);
    return 0;
}
