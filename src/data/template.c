// template.c: see template.h.
#include "data/template.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/utf8.h"

enum {
    TEMPLATE_MAX = 1 << 20 // bytes
};

#define INSTRUCTION "{instruction}"
#define INPUT "{input}"
#define OUTPUT "{output}"

static const char alpaca[] =
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n" INSTRUCTION "\n\n### Input:\n" INPUT "\n\n### Response:\n" OUTPUT;

void template_release(struct template *template) {
    free(template->text);
    *template = (struct template){0};
}

bool template_alpaca(struct template *template, struct llm_error *err) {
    return template_parse(template, alpaca, sizeof alpaca - 1, err);
}

// Copies the text with \n for \r\n, without a byte order mark and without line ends at the end.
static bool copy_text(struct template *template, const char *bytes, size_t size, struct llm_error *err) {
    if (size >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0) bytes += 3, size -= 3;
    if (memchr(bytes, '\0', size) != NULL || !utf8_valid(bytes, size)) {
        return error_set(err, LLM_ERROR_FORMAT, "is not text in UTF-8");
    }
    template->text = calloc(size + 1, 1);
    if (template->text == NULL) return error_memory(err, "template");
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] == '\r' && i + 1 < size && bytes[i + 1] == '\n') continue;
        template->text[template->size++] = bytes[i];
    }
    while (template->size > 0 && template->text[template->size - 1] == '\n') template->size--;
    template->text[template->size] = '\0';
    return true;
}

// Finds a mark, which may be there once. *at stays SIZE_MAX when it is not.
static bool find_mark(const struct template *template, const char *mark, size_t *at, struct llm_error *err) {
    *at = SIZE_MAX;
    const char *found = strstr(template->text, mark);
    if (found == NULL) return true;
    *at = (size_t)(found - template->text);
    if (strstr(found + 1, mark) == NULL) return true;
    return error_set(err, LLM_ERROR_FORMAT, "has %s more than once", mark);
}

// The last empty line that ends at or before `end` and begins at or after `begin`; SIZE_MAX when there is none.
static size_t last_break(const struct template *template, size_t begin, size_t end) {
    for (size_t at = end; at >= begin + 2; at--) {
        if (template->text[at - 1] == '\n' && template->text[at - 2] == '\n') return at - 2;
    }
    return SIZE_MAX;
}

// The paragraph around {input}, with the empty line before it; when it is the first one, with the one behind.
// A paragraph that holds another mark stays.
static void find_input_paragraph(struct template *template) {
    const size_t before = last_break(template, 0, template->input);
    const char *after = strstr(template->text + template->input, "\n\n");
    const size_t end = after == NULL ? template->size : (size_t)(after - template->text);
    const size_t begin = before == SIZE_MAX ? 0 : before;
    const bool alone = (template->instruction < begin || template->instruction > end) && template->output > end;
    template->input_begin = alone ? begin : template->size;
    template->input_end = alone ? end + (before == SIZE_MAX ? 2 : 0) : template->size;
}

bool template_parse(struct template *template, const char *bytes, size_t size, struct llm_error *err) {
    *template = (struct template){0};
    if (!copy_text(template, bytes, size, err) || !find_mark(template, INSTRUCTION, &template->instruction, err) ||
        !find_mark(template, INPUT, &template->input, err) || !find_mark(template, OUTPUT, &template->output, err)) {
        return false;
    }
    if (template->output == SIZE_MAX) {
        return error_set(err, LLM_ERROR_FORMAT, "has no response mark: %s must stand where the answer goes", OUTPUT);
    }
    if (template->instruction == SIZE_MAX) {
        return error_set(err, LLM_ERROR_FORMAT, "has no %s, so that no model could know what is asked", INSTRUCTION);
    }
    const bool has_input = template->input != SIZE_MAX;
    size_t last = template->instruction + strlen(INSTRUCTION); // the end of the marks before {output}
    if (has_input && template->input + strlen(INPUT) > last) last = template->input + strlen(INPUT);
    if (last > template->output) return error_set(err, LLM_ERROR_FORMAT, "%s is not the last of its marks", OUTPUT);
    template->input_begin = template->input_end = template->size;
    if (has_input) find_input_paragraph(template);
    template->header = last_break(template, last, template->output);
    if (template->header == SIZE_MAX) template->header = last;
    template->answer = template->header;
    for (size_t at = template->header; at < template->output; at++) {
        if (template->text[at] != ' ') template->answer = at + 1;
    }
    return true;
}

bool template_read(struct template *template, const char *path, struct llm_error *err) {
    char *bytes = NULL;
    size_t size = 0;
    *template = (struct template){0};
    if (!file_read(path, TEMPLATE_MAX, &bytes, &size, err)) return false;
    struct llm_error wrong = {0};
    const bool ok = template_parse(template, bytes, size, &wrong);
    free(bytes);
    if (ok) return true;
    error_prefix(&wrong, "%s", path);
    return error_set(err, wrong.code, "%s", wrong.text);
}

// ---- Filling in ---------------------------------------------------------------------------------

// Appends the template's text from `begin` to `end` with what the marks stand for.
static void put_range(struct strbuf *out, const struct template *template, size_t begin, size_t end,
                      const struct instruction *item) {
    for (size_t at = begin; at < end;) {
        if (item->input[0] == '\0' && at == template->input_begin && template->input_end > at) {
            at = template->input_end;
        } else if (at == template->instruction) {
            strbuf_puts(out, item->instruction);
            at += strlen(INSTRUCTION);
        } else if (at == template->input) {
            strbuf_puts(out, item->input);
            at += strlen(INPUT);
        } else if (at == template->output) {
            strbuf_puts(out, item->output);
            at += strlen(OUTPUT);
        } else {
            strbuf_append(out, template->text + at++, 1);
        }
    }
}

void template_put_prompt(struct strbuf *out, const struct template *template, const struct instruction *item) {
    put_range(out, template, 0, template->header, item);
}

void template_put_header(struct strbuf *out, const struct template *template, const struct instruction *item) {
    put_range(out, template, template->header, template->answer, item);
}

void template_put_answer(struct strbuf *out, const struct template *template, const struct instruction *item) {
    put_range(out, template, template->answer, template->size, item);
}

const char *template_behind(const struct template *template) {
    return template->text + template->output + strlen(OUTPUT);
}
