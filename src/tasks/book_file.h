// book_file.h: the file of PyTorch's that a run leaves for the book's class.
#ifndef TASKS_BOOK_FILE_H
#define TASKS_BOOK_FILE_H

#include "model/engine.h"

// Writes `out`/`name`. A model with what the book's class has not gets no file, and a notice says why: the run is whole
// without it.
bool book_file_save(const struct llm_engine *engine, const char *out, const char *name,
                    const struct llm_callbacks *callbacks, struct llm_error *err);

#endif
