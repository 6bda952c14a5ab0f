// library.c: the two functions of my_llm.h that belong to no part: the version, and free().
#include <stdlib.h>

#include "my_llm.h"

const char *llm_version(void) {
    return MY_LLM_VERSION; // from CMakeLists.txt
}

void llm_free(void *memory) {
    free(memory);
}
