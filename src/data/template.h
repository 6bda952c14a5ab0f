// template.h: how an instruction becomes a prompt.
//
// A template is text with the marks {instruction}, {input} and {output}. The paragraph that holds {input} (paragraphs
// are parted by empty lines) is left out when there is no input. {output} comes last of the marks; what stands behind
// it is part of every answer's end. The style of Stanford Alpaca, which the book takes, is
//
//     Below is an instruction that describes a task. Write a response that appropriately completes the request.
//
//     ### Instruction:
//     {instruction}
//
//     ### Input:
//     {input}
//
//     ### Response:
//     {output}
#ifndef DATA_TEMPLATE_H
#define DATA_TEMPLATE_H

#include "base/str.h"
#include "data/instructions.h"

struct template {
    char *text; // [size]
    size_t size;
    size_t instruction, input, output; // where the marks are; input SIZE_MAX: there is none
    size_t input_begin, input_end;     // what is left out without an input
    size_t header;                     // where the response's paragraph begins: "\n\n### Response:\n{output}"
    size_t answer; // where the answer begins: at {output}, or at the spaces before it, which its first word's token has
};

// The Alpaca style.
bool template_alpaca(struct template *template, struct llm_error *err);
// A style of one's own, from a file or from memory. \r\n is taken as \n, and line ends at the file's end as nothing.
bool template_read(struct template *template, const char *path, struct llm_error *err);
bool template_parse(struct template *template, const char *bytes, size_t size, struct llm_error *err);
void template_release(struct template *template);

// Appends the prompt up to the response's paragraph, which the book's model writes by itself: format_input().
void template_put_prompt(struct strbuf *out, const struct template *template, const struct instruction *item);
// Appends what stands between the prompt and the answer: "\n\n### Response:\n".
void template_put_header(struct strbuf *out, const struct template *template, const struct instruction *item);
// Appends the answer and what the template has behind it.
void template_put_answer(struct strbuf *out, const struct template *template, const struct instruction *item);
// What the template has behind the answer, borrowed; "" in Alpaca's style.
const char *template_behind(const struct template *template);

#endif
