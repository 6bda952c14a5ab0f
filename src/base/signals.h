// signals.h: holding back the host's signals from a thread for a while.
#ifndef BASE_SIGNALS_H
#define BASE_SIGNALS_H

#include <signal.h>

// Blocks every signal on this thread but those of its own making (SIGBUS of a mapping, SIGSEGV, SIGFPE, SIGILL), and
// keeps in *before what was blocked. One sent to the process meanwhile goes to another thread, or waits.
void signals_hold(sigset_t *before);

// As it was.
void signals_release(const sigset_t *before);

#endif
