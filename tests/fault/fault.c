// fault.c: see fault.h. First which calls are to fail; then the calls, each failing when its turn has come; the loop.
//
// Live blocks are kept in a set of addresses, since memory may come from one side of the renaming and
// be freed on the other: asprintf() is ours, but what libc itself hands out is not.
#include "fault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <unwind.h>

// ---- State ----------------------------------------------------------------------------------

enum {
    SLOTS = 1 << 17,     // of the set; a test that holds half as many blocks at once is too large
    FRAMES = 6,          // of a place in the code: the innermost ones, some of them this file's
    PLACES = 1 << 14,    // a power of two; a body has some hundreds
    SHORT_ONES = 40,     // transfers in a row, but in the first run, where all are
    CALLS_MAX = 10000000 // of one body; more would never end
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned armed;  // kinds that count
static int countdown;   // calls until one fails; 0: it has
static bool persistent; // and every one after it
static int n_failed;    // since arming
static int most;        // that may fail
static bool surveying;  // nothing fails, calls are counted
static struct {
    uint64_t hash; // of the place; 0: none
    int n;         // calls from there
} places[PLACES];
static bool *chosen; // [n_calls, room for call_capacity] whether call i + 1 is to fail
static int n_calls, call_capacity;
static void *slots[SLOTS];
static int n_live;  // blocks
static int n_files; // descriptors
static int n_maps;  // mappings

static char tombstone;

struct trace {
    uint64_t hash;
    int n_frames;
};

static _Unwind_Reason_Code add_frame(struct _Unwind_Context *context, void *user) {
    struct trace *trace = user;
    trace->hash = (trace->hash ^ (uint64_t)_Unwind_GetIP(context)) * 0x100000001b3; // FNV-1a, by words
    return ++trace->n_frames < FRAMES ? _URC_NO_REASON : _URC_END_OF_STACK;
}

// Counts one call, which fails later if it is the first, fourth ... from its place in the code: loops over
// layers, rows or files make the same calls again and again.
static void survey(void) {
    struct trace trace = {.hash = 0xcbf29ce484222325};
    _Unwind_Backtrace(add_frame, &trace);
    size_t at = (trace.hash >> 20) % PLACES;
    for (size_t tries = 0; places[at].hash != 0 && places[at].hash != trace.hash; at = (at + 1) % PLACES) {
        if (++tries == PLACES) abort();
    }
    places[at].hash = trace.hash;
    const int n = ++places[at].n;
    if (n_calls == call_capacity) {
        call_capacity = call_capacity == 0 ? 1024 : 2 * call_capacity;
        chosen = realloc(chosen, (size_t)call_capacity * sizeof *chosen);
        if (chosen == NULL || n_calls >= CALLS_MAX) abort();
    }
    chosen[n_calls++] = n == 1 || n == 4 || n == 32 || n == 256;
}

// Whether this call, of one kind, is to fail.
static bool fails(enum fault_kind kind) {
    pthread_mutex_lock(&lock);
    bool now = false;
    if ((armed & kind) != 0) {
        if (surveying) {
            survey();
        } else if (countdown > 0) {
            countdown--;
            now = countdown == 0;
        } else {
            now = persistent && n_failed < most;
        }
    }
    if (now) n_failed++;
    pthread_mutex_unlock(&lock);
    return now;
}

// Lets nothing fail until the kinds are given back to it; returns them.
static unsigned suspend(unsigned kinds) {
    pthread_mutex_lock(&lock);
    const unsigned before = armed;
    armed = kinds;
    pthread_mutex_unlock(&lock);
    return before;
}

static void *block_add(void *block) {
    if (block == NULL) return NULL;
    pthread_mutex_lock(&lock);
    if (n_live >= SLOTS / 2) abort();
    size_t at = ((uintptr_t)block >> 4) % SLOTS;
    while (slots[at] != NULL && slots[at] != &tombstone) at = (at + 1) % SLOTS;
    slots[at] = block;
    n_live++;
    pthread_mutex_unlock(&lock);
    return block;
}

static void block_forget(const void *block) {
    if (block == NULL) return;
    pthread_mutex_lock(&lock);
    size_t at = ((uintptr_t)block >> 4) % SLOTS;
    while (slots[at] != NULL && slots[at] != block) at = (at + 1) % SLOTS;
    if (slots[at] == block) {
        slots[at] = &tombstone;
        n_live--;
        if (n_live == 0) memset(slots, 0, sizeof slots); // tombstones go
    }
    pthread_mutex_unlock(&lock);
}

static void count(int *counter, int change) {
    pthread_mutex_lock(&lock);
    *counter += change;
    pthread_mutex_unlock(&lock);
}

static bool memory_fails(void) {
    if (!fails(FAULT_MEMORY)) return false;
    errno = ENOMEM;
    return true;
}

static bool file_fails(int number) {
    if (!fails(FAULT_FILES)) return false;
    errno = number;
    return true;
}

static bool disk_fails(int number) {
    if (!fails(FAULT_DISK)) return false;
    errno = number;
    return true;
}

// ---- Memory ---------------------------------------------------------------------------------

void *fault_malloc(size_t size);
void *fault_calloc(size_t n, size_t size);
void *fault_realloc(void *block, size_t size);
void *fault_reallocarray(void *block, size_t n, size_t size);
void *fault_aligned_alloc(size_t alignment, size_t size);
int fault_posix_memalign(void **block, size_t alignment, size_t size);
char *fault_strdup(const char *text);
char *fault_strndup(const char *text, size_t size);
int fault_vasprintf(char **text, const char *format, va_list args) __attribute__((format(printf, 2, 0)));
int fault_asprintf(char **text, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *fault_realpath(const char *path, char *resolved);
void fault_free(void *block);

void *fault_malloc(size_t size) {
    return memory_fails() ? NULL : block_add(malloc(size));
}

void *fault_calloc(size_t n, size_t size) {
    return memory_fails() ? NULL : block_add(calloc(n, size));
}

void *fault_realloc(void *block, size_t size) {
    if (memory_fails()) return NULL;
    block_forget(block);
    void *moved = realloc(block, size);
    return block_add(moved);
}

void *fault_reallocarray(void *block, size_t n, size_t size) {
    size_t bytes = 0;
    if (__builtin_mul_overflow(n, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return fault_realloc(block, bytes);
}

void *fault_aligned_alloc(size_t alignment, size_t size) {
    return memory_fails() ? NULL : block_add(aligned_alloc(alignment, size));
}

int fault_posix_memalign(void **block, size_t alignment, size_t size) {
    if (memory_fails()) return ENOMEM;
    const int result = posix_memalign(block, alignment, size);
    if (result == 0) block_add(*block);
    return result;
}

char *fault_strdup(const char *text) {
    return memory_fails() ? NULL : block_add(strdup(text));
}

char *fault_strndup(const char *text, size_t size) {
    return memory_fails() ? NULL : block_add(strndup(text, size));
}

int fault_vasprintf(char **text, const char *format, va_list args) {
    *text = (char *)(intptr_t)-1; // glibc leaves it undefined on failure; whoever frees it shall be seen
    if (memory_fails()) return -1;
    const int size = vasprintf(text, format, args);
    if (size >= 0) block_add(*text);
    return size;
}

int fault_asprintf(char **text, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const int size = fault_vasprintf(text, format, args);
    va_end(args);
    return size;
}

char *fault_realpath(const char *path, char *resolved) {
    if (memory_fails()) return NULL;
    char *result = realpath(path, resolved);
    return resolved == NULL ? block_add(result) : result;
}

void fault_free(void *block) {
    block_forget(block);
    free(block);
}

json_t *fault_json_loadb(const char *bytes, size_t size, size_t flags, json_error_t *error);

// jansson's parser fails as a whole or not at all: when its token buffer cannot grow, it drops the
// character, says nothing (lex_save() in its load.c, up to 2.14 at least), and may then run past the end.
json_t *fault_json_loadb(const char *bytes, size_t size, size_t flags, json_error_t *error) {
    if (memory_fails()) {
        *error = (json_error_t){.line = 1, .column = 1, .text = "out of memory"};
        error->text[JSON_ERROR_TEXT_LENGTH - 1] = (char)json_error_out_of_memory; // where jansson keeps it
        return NULL;
    }
    const unsigned kinds = suspend(0);
    json_t *value = json_loadb(bytes, size, flags, error);
    suspend(kinds);
    return value;
}

// ---- Files ----------------------------------------------------------------------------------

int fault_open(const char *path, int flags, ...);
int fault_close(int fd);
ssize_t fault_read(int fd, void *bytes, size_t size);
ssize_t fault_pread(int fd, void *bytes, size_t size, off_t offset);
ssize_t fault_write(int fd, const void *bytes, size_t size);
ssize_t fault_pwrite(int fd, const void *bytes, size_t size, off_t offset);
int fault_fsync(int fd);
int fault_fdatasync(int fd);
int fault_ftruncate(int fd, off_t size);
int fault_fstat(int fd, struct stat *status);
void *fault_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset);
int fault_munmap(void *address, size_t size);
DIR *fault_opendir(const char *path);
FILE *fault_fopen(const char *path, const char *mode);
int fault_fclose(FILE *file);
int fault_mkdir(const char *path, mode_t mode);
char *fault_mkdtemp(char *path);
int fault_mkostemp(char *path, int flags);
int fault_pipe2(int ends[2], int flags);
int fault_rename(const char *from, const char *to);
int fault_renameat2(int from_directory, const char *from, int to_directory, const char *to, unsigned flags);

int fault_open(const char *path, int flags, ...) {
    mode_t mode = 0;
    if ((flags & O_CREAT) != 0) {
        va_list args;
        va_start(args, flags);
        mode = va_arg(args, mode_t);
        va_end(args);
    }
    if (file_fails(EMFILE)) return -1;
    const int fd = open(path, flags, mode);
    if (fd >= 0) count(&n_files, 1);
    return fd;
}

int fault_close(int fd) {
    if (fd >= 0) count(&n_files, -1);
    const int result = close(fd); // Linux gives the descriptor back whatever it returns
    return file_fails(EIO) ? -1 : result;
}

static size_t shortened(size_t size) {
    return size > 1 && fails(FAULT_SHORT) ? 1 : size;
}

ssize_t fault_read(int fd, void *bytes, size_t size) {
    return file_fails(EIO) ? -1 : read(fd, bytes, shortened(size));
}

ssize_t fault_pread(int fd, void *bytes, size_t size, off_t offset) {
    return file_fails(EIO) ? -1 : pread(fd, bytes, shortened(size), offset);
}

ssize_t fault_write(int fd, const void *bytes, size_t size) {
    return disk_fails(ENOSPC) ? -1 : write(fd, bytes, shortened(size));
}

ssize_t fault_pwrite(int fd, const void *bytes, size_t size, off_t offset) {
    return disk_fails(ENOSPC) ? -1 : pwrite(fd, bytes, shortened(size), offset);
}

int fault_fsync(int fd) {
    // Some file systems cannot sync a directory; that a file is not on the disk matters.
    struct stat status;
    const bool directory = fstat(fd, &status) == 0 && S_ISDIR(status.st_mode);
    return (directory ? file_fails(EIO) : disk_fails(EIO)) ? -1 : 0; // no power will fail here: no need to wait
}

int fault_fdatasync(int fd) {
    (void)fd;
    return disk_fails(EIO) ? -1 : 0;
}

int fault_ftruncate(int fd, off_t size) {
    return disk_fails(ENOSPC) ? -1 : ftruncate(fd, size);
}

int fault_fstat(int fd, struct stat *status) {
    return file_fails(EIO) ? -1 : fstat(fd, status);
}

void *fault_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset) {
    if (file_fails(ENOMEM)) return MAP_FAILED;
    void *bytes = mmap(address, size, protection, flags, fd, offset);
    if (bytes != MAP_FAILED) count(&n_maps, 1);
    return bytes;
}

int fault_munmap(void *address, size_t size) {
    count(&n_maps, -1);
    return munmap(address, size);
}

DIR *fault_opendir(const char *path) {
    return file_fails(EMFILE) ? NULL : opendir(path);
}

FILE *fault_fopen(const char *path, const char *mode) {
    if (file_fails(EMFILE)) return NULL;
    FILE *file = fopen(path, mode);
    if (file != NULL) count(&n_files, 1);
    return file;
}

int fault_fclose(FILE *file) {
    count(&n_files, -1);
    return fclose(file);
}

int fault_mkdir(const char *path, mode_t mode) {
    return file_fails(ENOSPC) ? -1 : mkdir(path, mode);
}

char *fault_mkdtemp(char *path) {
    return file_fails(ENOSPC) ? NULL : mkdtemp(path);
}

int fault_mkostemp(char *path, int flags) {
    if (file_fails(ENOSPC)) return -1;
    const int fd = mkostemp(path, flags);
    if (fd >= 0) count(&n_files, 1);
    return fd;
}

int fault_pipe2(int ends[2], int flags) {
    if (file_fails(EMFILE) || pipe2(ends, flags) != 0) return -1;
    count(&n_files, 2);
    return 0;
}

int fault_rename(const char *from, const char *to) {
    return disk_fails(ENOSPC) ? -1 : rename(from, to);
}

bool fault_plain_renames;

int fault_renameat2(int from_directory, const char *from, int to_directory, const char *to, unsigned flags) {
    if (fault_plain_renames && flags != 0) {
        errno = EINVAL;
        return -1;
    }
    return disk_fails(ENOSPC) ? -1 : renameat2(from_directory, from, to_directory, to, flags);
}

// ---- The loop -------------------------------------------------------------------------------

static void arm(unsigned kinds, int nth, bool from_there_on) {
    pthread_mutex_lock(&lock);
    armed = kinds;
    countdown = nth;
    persistent = from_there_on;
    n_failed = 0;
    most = kinds == FAULT_SHORT && nth > 1 ? SHORT_ONES : INT_MAX;
    pthread_mutex_unlock(&lock);
}

// Returns how many calls failed.
static int disarm(void) {
    pthread_mutex_lock(&lock);
    armed = 0;
    const int failed = n_failed;
    pthread_mutex_unlock(&lock);
    return failed;
}

// One run with the nth call failing; returns how many did.
static int run_once(unsigned kinds, int nth, bool from_there_on, fault_body *body, fault_check *check, void *user) {
    struct llm_error err = {0};
    const int live = n_live;
    const int files = n_files;
    const int maps = n_maps;
    arm(kinds, nth, from_there_on);
    const bool succeeded = body(user, &err);
    const int failed = disarm();
    const char *when = from_there_on ? "from there on" : "once";
    if (failed == 0 && !succeeded) fail_msg("nothing failed, and yet: %s", err.text);
    if (kinds == FAULT_DISK && failed > 0 && succeeded) fail_msg("fault %d, %s: passed for a success", nth, when);
    if (kinds == FAULT_SHORT && !succeeded) fail_msg("short transfer %d, %s: %s", nth, when, err.text);
    if (!succeeded && (err.code == LLM_OK || err.text[0] == '\0')) fail_msg("fault %d, %s: no sentence", nth, when);
    if (succeeded && err.code != LLM_OK) fail_msg("fault %d, %s: a success with a sentence: %s", nth, when, err.text);
    if (n_live != live)
        fail_msg("fault %d, %s: %d blocks were not given back (%s)", nth, when, n_live - live, err.text);
    if (n_files != files) fail_msg("fault %d, %s: %d files were left open (%s)", nth, when, n_files - files, err.text);
    if (n_maps != maps) fail_msg("fault %d, %s: %d mappings were left (%s)", nth, when, n_maps - maps, err.text);
    if (check != NULL) check(user, succeeded);
    return failed;
}

// One run in which nothing fails, to choose the calls that are to.
static void choose(unsigned kinds, fault_body *body, fault_check *check, void *user) {
    memset(places, 0, sizeof places);
    n_calls = 0;
    surveying = true;
    run_once(kinds, 0, false, body, check, user);
    surveying = false;
    // A body that makes no such call would prove nothing.
    if (n_calls == 0) fail_msg("the body makes no fallible call of this kind");
}

int fault_loop(unsigned kinds, fault_body *body, fault_check *check, void *user) {
    json_set_alloc_funcs(fault_malloc, fault_free);
    choose(kinds, body, check, user);
    int total = 0;
    for (int from_there_on = 0; from_there_on <= 1; from_there_on++) {
        for (int nth = 1; nth <= n_calls; nth++) {
            if (chosen[nth - 1]) total += run_once(kinds, nth, from_there_on == 1, body, check, user);
        }
    }
    return total;
}

const char *fault_template(void) {
    return access("/dev/shm", W_OK) == 0 ? "/dev/shm/my-llm-fault-XXXXXX" : "/tmp/my-llm-fault-XXXXXX";
}
