// replay.c: main() for a fuzz target without a fuzzing engine: runs every file given, and every file of
// every directory given, through it once. So a corpus is a test under any compiler and sanitizer.
//
// Fails when nothing was run, so that a corpus that went missing does not pass for a good one.
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool replay_file(const char *path) {
    struct llm_error err = {0};
    char *bytes = NULL;
    size_t size = 0;
    if (!file_read(path, (size_t)64 << 20, &bytes, &size, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return false;
    }
    // A block of exactly this size, so that a sanitizer sees one byte too many.
    uint8_t *exact = malloc(size > 0 ? size : 1);
    if (exact == NULL) {
        free(bytes);
        return false;
    }
    memcpy(exact, bytes, size);
    free(bytes);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    return true;
}

// Returns the number of files run, or -1 on failure.
static int replay_directory(const char *path) {
    DIR *directory = opendir(path);
    if (directory == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    int n = 0;
    for (struct dirent *entry = readdir(directory); entry != NULL && n >= 0; entry = readdir(directory)) {
        if (entry->d_name[0] == '.') continue;
        char *child = path_join(path, entry->d_name);
        n = child != NULL && replay_file(child) ? n + 1 : -1;
        free(child);
    }
    closedir(directory);
    return n;
}

int main(int argc, char **argv) {
    int total = 0;
    for (int i = 1; i < argc; i++) {
        int n = 1;
        if (directory_exists(argv[i])) {
            n = replay_directory(argv[i]);
        } else if (!replay_file(argv[i])) {
            n = -1;
        }
        if (n < 0) return 1;
        total += n;
    }
    printf("%d inputs replayed\n", total);
    return total > 0 ? 0 : 1;
}
