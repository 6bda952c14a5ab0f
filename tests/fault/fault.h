// fault.h: making fallible calls fail, one after another.
//
// The core that these tests link has its calls of libc renamed (see symbols.txt), so nothing in the
// product knows of this. fault_loop() runs a body undisturbed, to see from which places in the code (call stacks) it
// makes fallible calls; then with the first, fourth, 32nd and 256th call from each place failing: once with only that
// call failing, once with every call from there on (a disk that stays full; of short transfers, some in a row). After
// each run there must be no block of memory and no file left over, and a failure must have left a sentence.
#ifndef FAULT_FAULT_H
#define FAULT_FAULT_H

#include "my_llm.h"

enum fault_kind {
    FAULT_MEMORY = 1, // allocations
    FAULT_FILES = 2,  // opening, reading, mapping, directories
    FAULT_DISK = 4,   // writing, syncing and renaming files: none of these may pass for a success
    FAULT_SHORT = 8,  // reads and writes that transfer one byte where more were asked for: no failure at all
};

// The work under test. Returns false after filling in err. Must give back all it took.
typedef bool fault_body(void *user, struct llm_error *err);
// Looks, with nothing failing, at what the body left behind; asserts with cmocka.
typedef void fault_check(void *user, bool succeeded);

// `kinds` of calls fail in turn. `check` may be NULL. Fails the cmocka test if the body does not come
// to succeed. Returns how many calls were made to fail.
int fault_loop(unsigned kinds, fault_body *body, fault_check *check, void *user);

// While set, renameat2() has no flags, as on NFS and in other places: EINVAL. Nothing fails by that.
extern bool fault_plain_renames;

// For mkdtemp(): in memory where there is a place for that, as these tests make files by the thousand. Not to be freed.
const char *fault_template(void);

#endif
