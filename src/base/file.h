// file.h: reading whole files, mapping them, and writing so that nothing half-written is ever seen.
//
// A reader opens regular files only: a directory, FIFO or device is refused with a sentence. A writer
// writes beside its target and renames after fsync; until then the old file stays whole, whatever
// happens. Error sentences name the path.
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include "base/error.h"

bool file_exists(const char *path);      // a regular file
bool directory_exists(const char *path); // a directory
bool path_exists(const char *path);      // anything at all, a dangling symbolic link too
// Whether there is anything of this name in the directory. Allocates nothing, so it cannot be wrong for want of memory.
bool directory_holds(const char *directory, const char *name);
// Whether there is anything in the directory but files with names after one of the patterns (fnmatch; NULL behind the
// last): `name` gets one of these. false where there is no such directory.
bool directory_has_other(const char *directory, const char *const *patterns, char name[256]);

// "<directory>/<name>", allocated; NULL when out of memory.
char *path_join(const char *directory, const char *name);
// The part of `path` after the last '/', borrowed; empty when the path ends in one.
const char *path_base(const char *path);
// The part before the last '/' ("." when there is none), allocated; NULL when out of memory.
char *path_directory(const char *path);
// Creates the directory and its parents where missing.
bool directory_create(const char *path, struct llm_error *err);
// Renames a file that is whole and fsynced over `path`, in the same directory, and makes that durable.
bool file_rename(const char *from, const char *path, struct llm_error *err);
// Removes a directory and everything in it, as far as it can. Symbolic links are removed, not followed.
void directory_remove(const char *path);

// Opens a regular file for reading; returns the descriptor (close it) or -1. *size is its size now.
int file_open_regular(const char *path, size_t *size, struct llm_error *err);

// A read-only shared mapping of a whole file. An empty file has bytes != NULL and size 0.
struct file_map {
    const uint8_t *bytes; // [size]
    size_t size;
};

bool file_map_open(struct file_map *map, const char *path, struct llm_error *err);
// Gives back the memory of what was read so far; it is read again when it is looked at.
void file_map_forget(const struct file_map *map);
// Unmaps and zeroes. A zeroed map may be closed.
void file_map_close(struct file_map *map);

// Reads a whole file of at most `max_size` bytes; *bytes gets a NUL behind and is freed by the caller.
// Made for configuration and vocabulary files; weights are mapped.
bool file_read(const char *path, size_t max_size, char **bytes, size_t *size, struct llm_error *err);

// Writes one file: open, write ..., then commit or abort. Both end the writer.
struct file_writer;

struct file_writer *file_writer_open(const char *path, struct llm_error *err);
bool file_writer_write(struct file_writer *writer, const void *bytes, size_t size, struct llm_error *err);
// Flushes, fsyncs, renames over the target and fsyncs the directory. On failure the target is untouched.
bool file_writer_commit(struct file_writer *writer, struct llm_error *err);
// Forgets what was written. NULL is allowed.
void file_writer_abort(struct file_writer *writer);

// The three steps above for a file that is already in memory.
bool file_write(const char *path, const void *bytes, size_t size, struct llm_error *err);

// Writes a file in place and fsyncs it: for a name that does not count yet, before file_rename(), where a
// lock keeps others away and what a killed process left shall be overwritten rather than pile up.
bool file_create(const char *path, const void *bytes, size_t size, struct llm_error *err);

// Writes a directory as a whole: files go into directory_writer_path(); commit makes it the target. An existing target,
// only if `replace` was given, is exchanged in one step and removed afterwards; where the file system cannot exchange
// (NFS, say), it is renamed aside first, and for a moment nothing has the name. When a replacement fails, the finished
// directory is kept, and the sentence says where.
struct directory_writer;

struct directory_writer *directory_writer_open(const char *path, bool replace, struct llm_error *err);
const char *directory_writer_path(const struct directory_writer *writer);
bool directory_writer_commit(struct directory_writer *writer, struct llm_error *err);
void directory_writer_abort(struct directory_writer *writer);

#endif
