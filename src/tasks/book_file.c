// book_file.c: see book_file.h.
#include "tasks/book_file.h"

#include <stdlib.h>

#include "base/file.h"
#include "model/save.h"

bool book_file_save(const struct llm_engine *engine, const char *out, const char *name,
                    const struct llm_callbacks *callbacks, struct llm_error *err) {
    struct llm_convert_options convert;
    llm_convert_options_init(&convert);
    convert.dtype = LLM_F32;
    struct save_counts counts;
    struct llm_error reason = {0};
    char *path = path_join(out, name);
    if (path == NULL) return error_memory(err, "path");
    const bool ok = save_torch(engine, path, &convert, &counts, &reason);
    free(path);
    if (ok) return true;
    if (reason.code != LLM_ERROR_UNSUPPORTED) return error_set(err, reason.code, "%s", reason.text);
    engine_notice(callbacks, "%s is not written: %s", name, reason.text);
    return true;
}
