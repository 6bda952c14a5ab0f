// fuzz_judge.c: any bytes as what a chat server sends: an answer's text, or a sentence.
#include <stdlib.h>

#include "tasks/judge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct strbuf answer;
    struct llm_error err = {0};
    strbuf_init(&answer, (size_t)1 << 24);
    const bool ok = judge_parse((const char *)data, size, &answer, &err);
    if (ok != (err.code == LLM_OK) || ok != (err.text[0] == '\0') || answer.size > size) abort();
    strbuf_release(&answer);
    return 0;
}
