// text_documents.c: files cut into documents; see text.h.
//
// One buffer holds the document being gathered and what was read behind it; it grows to the longest document.
#include <stdlib.h>
#include <string.h>

#include "data/text.h"

enum {
    READ = 1 << 20 // bytes read at once
};

// A document of more is taken for a mistake: nothing here needs one, and a small .xz can claim any size.
static const size_t longest_document = (size_t)4 << 30;

struct text_documents {
    const struct text_paths *paths;
    size_t next_path;
    int n_threads;
    struct text_file *file; // NULL between files
    bool file_ended;
    int64_t position; // of the files before
    char *text;       // [capacity]
    size_t begin;     // of the present document in `text`
    size_t searched;  // no mark begins before this
    size_t size, capacity;
};

struct text_documents *text_documents_open(const struct text_paths *paths, int n_threads, struct llm_error *err) {
    struct text_documents *documents = calloc(1, sizeof *documents);
    if (documents == NULL) {
        error_memory(err, "documents");
        return NULL;
    }
    documents->paths = paths;
    documents->n_threads = n_threads;
    return documents;
}

void text_documents_close(struct text_documents *documents) {
    if (documents == NULL) return;
    text_file_close(documents->file);
    free(documents->text);
    free(documents);
}

int64_t text_documents_position(const struct text_documents *documents) {
    return documents->position + (documents->file == NULL ? 0 : text_file_position(documents->file));
}

// Reads more of the file behind the present document.
static bool read_more(struct text_documents *documents, struct llm_error *err) {
    if (documents->begin > 0) {
        memmove(documents->text, documents->text + documents->begin, documents->size - documents->begin);
        documents->size -= documents->begin;
        documents->searched -= documents->begin;
        documents->begin = 0;
    }
    if (documents->capacity - documents->size < READ) {
        if (documents->size > longest_document) {
            return error_set(err, LLM_ERROR_UNSUPPORTED,
                             "%s: a document has more than %zu bytes; " TEXT_DOCUMENT_END " parts documents",
                             documents->paths->items[documents->next_path - 1], longest_document);
        }
        const size_t capacity = documents->capacity / 2 * 3 + READ;
        char *text = realloc(documents->text, capacity);
        if (text == NULL) return error_memory(err, "document");
        documents->text = text;
        documents->capacity = capacity;
    }
    size_t n = 0;
    if (!text_file_read(documents->file, documents->text + documents->size, READ, &n, err)) return false;
    documents->size += n;
    documents->file_ended = n < READ;
    return true;
}

// Finds the end of the present document, reading on as long as it takes, and begins the next one.
static bool next_part(struct text_documents *documents, const char **text, size_t *size, struct llm_error *err) {
    const size_t mark_size = strlen(TEXT_DOCUMENT_END);
    for (;;) {
        const size_t unsearched = documents->size - documents->searched;
        const char *mark =
            unsearched == 0 ? NULL
                            : memmem(documents->text + documents->searched, unsearched, TEXT_DOCUMENT_END, mark_size);
        if (mark != NULL || documents->file_ended) {
            const size_t end = mark != NULL ? (size_t)(mark - documents->text) : documents->size;
            *text = documents->text + documents->begin;
            *size = end - documents->begin;
            documents->begin = documents->searched = mark != NULL ? end + mark_size : end;
            if (mark != NULL) return true;
            documents->position += text_file_position(documents->file);
            text_file_close(documents->file);
            documents->file = NULL;
            return true;
        }
        if (unsearched >= mark_size) documents->searched = documents->size - mark_size + 1;
        if (!read_more(documents, err)) return false;
    }
}

static bool only_space(const char *text, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (text[i] != ' ' && (text[i] < '\t' || text[i] > '\r')) return false;
    }
    return true;
}

bool text_documents_next(struct text_documents *documents, const char **text, size_t *size, struct llm_error *err) {
    for (;;) {
        if (documents->file == NULL) {
            if (documents->next_path == documents->paths->n) {
                *text = NULL;
                *size = 0;
                return true;
            }
            const char *path = documents->paths->items[documents->next_path++];
            documents->file = text_file_open(path, documents->n_threads, err);
            if (documents->file == NULL) return false;
            documents->file_ended = false;
            documents->begin = documents->searched = documents->size = 0;
        }
        if (!next_part(documents, text, size, err)) return false;
        if (!only_space(*text, *size)) return true;
    }
}
