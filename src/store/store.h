// store.h: where models and data live, and how they get there.
//
// $MY_LLM_HOME (else $XDG_DATA_HOME/my-llm, else ~/.local/share/my-llm) holds models/<name>/ and
// data/<name>/. Downloads arrive as <file>.part beside a record of the origin's validator (fetch.h), resume,
// are checked for size and SHA-256, and are renamed when whole; a model is there only when all its files
// are, as downloads/<name>.sha256 has them (record.h). items.c is the table of names and origins.
// llm_download() of my_llm.h lives here.
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/error.h"

// The home directory, allocated; not created.
char *store_home(struct llm_error *err);

// Whether `name` is one of llm_download_items() that is a model.
bool store_is_model(const char *name);

// Directory of a known model that has been downloaded whole, allocated; NULL (and no error) if it has not.
char *store_find_model(const char *name);

// Directory of the bundled model, allocated: $MY_LLM_BUNDLED, else <prefix>/share/my-llm/models/bundled as installed,
// else models/bundled beside the build (found from the program's own path). NULL with an error otherwise.
char *store_bundled(struct llm_error *err);

#endif
