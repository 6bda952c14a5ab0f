// fuzz_text.c: any bytes as a text file, which may begin as .xz or .gz does. The text must be the same whether it is
// read in large steps or small ones, and a failure must leave a sentence.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "data/text.h"

enum {
    MOST = 1 << 22 // bytes of text; a small file may stand for more than anyone wants to wait for
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Reads at most MOST bytes, mixed into a hash; returns whether no error came.
static bool read_text(const char *path, size_t step, uint64_t *hash) {
    static char text[1 << 16];
    struct llm_error err = {0};
    struct text_file *file = text_file_open(path, 1, &err);
    bool ok = file != NULL;
    size_t total = 0;
    *hash = 0xcbf29ce484222325; // FNV-1a
    for (size_t n = step; ok && n == step && total < MOST; total += n) {
        ok = text_file_read(file, text, step, &n, &err);
        for (size_t i = 0; ok && i < n; i++) *hash = (*hash ^ (uint8_t)text[i]) * 0x100000001b3;
    }
    text_file_close(file);
    if (ok != (err.code == LLM_OK) || ok != (err.text[0] == '\0')) abort();
    return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const int fd = memfd_create("text", 0);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) abort();
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    uint64_t large = 0, small = 0;
    const bool ok = read_text(path, 1 << 16, &large);
    if (read_text(path, 1 << 8, &small) != ok || (ok && large != small)) abort();
    close(fd);
    return 0;
}
