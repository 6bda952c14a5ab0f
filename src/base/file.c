// file.c: see file.h.
//
// Divisions: paths; mapping and reading; the file writer; the directory writer.
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

// ---- Paths ----------------------------------------------------------------------------------

bool file_exists(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

bool directory_exists(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

bool path_exists(const char *path) {
    struct stat status;
    return lstat(path, &status) == 0;
}

bool directory_holds(const char *directory, const char *name) {
    const int fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return false;
    struct stat status;
    const bool there = fstatat(fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0;
    close(fd);
    return there;
}

bool directory_has_other(const char *directory, const char *const *patterns, char name[256]) {
    DIR *entries = opendir(directory);
    if (entries == NULL) return false;
    bool found = false;
    for (struct dirent *entry = readdir(entries); entry != NULL && !found; entry = readdir(entries)) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        struct stat status;
        found = fstatat(dirfd(entries), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0 || S_ISDIR(status.st_mode);
        bool matches = false;
        for (size_t i = 0; patterns[i] != NULL && !matches; i++) matches = fnmatch(patterns[i], entry->d_name, 0) == 0;
        found = found || !matches;
        if (found) snprintf(name, 256, "%s", entry->d_name);
    }
    closedir(entries);
    return found;
}

char *path_join(const char *directory, const char *name) {
    char *path = NULL;
    const size_t size = strlen(directory);
    const char *separator = size > 0 && directory[size - 1] == '/' ? "" : "/";
    return asprintf(&path, "%s%s%s", directory, separator, name) < 0 ? NULL : path;
}

const char *path_base(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

char *path_directory(const char *path) {
    const char *slash = strrchr(path, '/');
    if (slash == NULL) return strdup(".");
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

bool directory_create(const char *path, struct llm_error *err) {
    char *partial = strdup(path);
    if (partial == NULL) return error_memory(err, "path");
    bool ok = true;
    for (char *at = partial + 1; ok; at++) {
        if (*at != '/' && *at != '\0') continue;
        const char separator = *at;
        *at = '\0';
        if (mkdir(partial, 0777) != 0 && !(errno == EEXIST && directory_exists(partial))) {
            ok = error_errno(err, "%s: cannot create this directory", partial);
        }
        *at = separator;
        if (separator == '\0') break;
    }
    free(partial);
    return ok;
}

void directory_remove(const char *path) {
    struct stat itself;
    const bool is_directory = lstat(path, &itself) == 0 && S_ISDIR(itself.st_mode); // not what a link leads to
    DIR *directory = is_directory ? opendir(path) : NULL;
    if (directory == NULL) return;
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        char *child = path_join(path, entry->d_name);
        if (child == NULL) break;
        struct stat status;
        if (lstat(child, &status) == 0 && S_ISDIR(status.st_mode)) {
            directory_remove(child);
        } else {
            unlink(child);
        }
        free(child);
    }
    closedir(directory);
    rmdir(path);
}

// Makes a rename in `path`'s directory durable. Some file systems cannot fsync a directory; that is
// not a failure to write.
static void directory_sync(const char *path) {
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    fsync(fd);
    close(fd);
}

static void parent_sync(const char *path) {
    char *parent = path_directory(path);
    if (parent != NULL) directory_sync(parent);
    free(parent);
}

bool file_rename(const char *from, const char *path, struct llm_error *err) {
    if (rename(from, path) != 0) return error_errno(err, "%s: cannot put the finished file in place", path);
    parent_sync(path);
    return true;
}

// ---- Mapping and reading --------------------------------------------------------------------

int file_open_regular(const char *path, size_t *size, struct llm_error *err) {
    // O_NONBLOCK: opening a FIFO must not wait for a writer.
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        error_errno(err, "%s: cannot open this file", path);
        return -1;
    }
    struct stat status;
    if (fstat(fd, &status) != 0) {
        error_errno(err, "%s: cannot examine this file", path);
    } else if (S_ISDIR(status.st_mode)) {
        error_set(err, LLM_ERROR_FORMAT, "%s: is a directory, a file was expected", path);
    } else if (!S_ISREG(status.st_mode)) {
        error_set(err, LLM_ERROR_FORMAT, "%s: is not a regular file", path);
    } else {
        *size = (size_t)status.st_size;
        return fd;
    }
    close(fd);
    return -1;
}

bool file_map_open(struct file_map *map, const char *path, struct llm_error *err) {
    *map = (struct file_map){0};
    size_t size = 0;
    const int fd = file_open_regular(path, &size, err);
    if (fd < 0) return false;
    bool ok = true;
    if (size == 0) {
        map->bytes = (const uint8_t *)""; // mmap refuses length 0
    } else {
        void *bytes = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
        if (bytes == MAP_FAILED) {
            ok = error_errno(err, "%s: cannot map this file of %zu bytes", path, size);
        } else {
            *map = (struct file_map){bytes, size};
        }
    }
    close(fd);
    return ok;
}

void file_map_forget(const struct file_map *map) {
    if (map->size > 0) madvise((void *)map->bytes, map->size, MADV_DONTNEED); // shared and never written to
}

void file_map_close(struct file_map *map) {
    if (map->size > 0) munmap((void *)map->bytes, map->size);
    *map = (struct file_map){0};
}

bool file_read(const char *path, size_t max_size, char **bytes, size_t *size, struct llm_error *err) {
    size_t expected = 0;
    const int fd = file_open_regular(path, &expected, err);
    if (fd < 0) return false;
    char *memory = NULL;
    bool ok = false;
    size_t done = 0;
    if (expected > max_size) {
        error_set(err, LLM_ERROR_FORMAT, "%s: has %zu bytes, at most %zu were expected", path, expected, max_size);
        goto out;
    }
    memory = malloc(expected + 1);
    if (memory == NULL) {
        error_memory(err, path);
        goto out;
    }
    while (done < expected) {
        const ssize_t n = read(fd, memory + done, expected - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            error_errno(err, "%s: cannot read", path);
            goto out;
        }
        if (n == 0) {
            error_set(err, LLM_ERROR_IO, "%s: ended after %zu of %zu bytes while it was read", path, done, expected);
            goto out;
        }
        done += (size_t)n;
    }
    memory[done] = '\0';
    *bytes = memory;
    *size = done;
    memory = NULL;
    ok = true;
out:
    free(memory);
    close(fd);
    return ok;
}

// ---- The file writer ------------------------------------------------------------------------

struct file_writer {
    int fd;
    char *path;      // the target
    char *temporary; // beside it
};

// "<directory of path>/.<base of path>.XXXXXX", the template of mkstemp and mkdtemp.
static char *temporary_name(const char *path) {
    const char *base = path_base(path);
    char *name = NULL;
    return asprintf(&name, "%.*s.%s.XXXXXX", (int)(base - path), path, base) < 0 ? NULL : name;
}

static void file_writer_free(struct file_writer *writer) {
    if (writer->fd >= 0) close(writer->fd);
    free(writer->path);
    free(writer->temporary);
    free(writer);
}

// The permissions a plain open(..., 0666) would give.
static mode_t default_mode(mode_t wanted) {
    const mode_t mask = umask(0);
    umask(mask);
    return wanted & ~mask;
}

struct file_writer *file_writer_open(const char *path, struct llm_error *err) {
    struct file_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL) {
        error_memory(err, "file writer");
        return NULL;
    }
    writer->fd = -1;
    writer->path = strdup(path);
    writer->temporary = temporary_name(path);
    if (writer->path == NULL || writer->temporary == NULL) {
        error_memory(err, "file writer");
    } else if (directory_exists(path)) {
        error_set(err, LLM_ERROR_IO, "%s: is a directory, a file cannot be written there", path);
    } else if ((writer->fd = mkostemp(writer->temporary, O_CLOEXEC)) < 0) {
        error_errno(err, "%s: cannot create a file here", path);
    } else {
        fchmod(writer->fd, default_mode(0666));
        return writer;
    }
    file_writer_free(writer);
    return NULL;
}

// Writes all of `bytes`; `path` is for the error sentence.
static bool write_all(int fd, const char *path, const void *bytes, size_t size, struct llm_error *err) {
    const char *at = bytes;
    while (size > 0) {
        const ssize_t n = write(fd, at, size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return error_errno(err, "%s: cannot write", path);
        at += n;
        size -= (size_t)n;
    }
    return true;
}

bool file_writer_write(struct file_writer *writer, const void *bytes, size_t size, struct llm_error *err) {
    return write_all(writer->fd, writer->path, bytes, size, err);
}

bool file_writer_commit(struct file_writer *writer, struct llm_error *err) {
    bool ok = true;
    if (fsync(writer->fd) != 0) ok = error_errno(err, "%s: cannot write", writer->path);
    const int closed = close(writer->fd);
    writer->fd = -1;
    if (ok && closed != 0) ok = error_errno(err, "%s: cannot write", writer->path);
    ok = ok && file_rename(writer->temporary, writer->path, err);
    if (!ok) unlink(writer->temporary);
    file_writer_free(writer);
    return ok;
}

void file_writer_abort(struct file_writer *writer) {
    if (writer == NULL) return;
    unlink(writer->temporary);
    file_writer_free(writer);
}

bool file_write(const char *path, const void *bytes, size_t size, struct llm_error *err) {
    struct file_writer *writer = file_writer_open(path, err);
    if (writer == NULL) return false;
    if (!file_writer_write(writer, bytes, size, err)) {
        file_writer_abort(writer);
        return false;
    }
    return file_writer_commit(writer, err);
}

bool file_create(const char *path, const void *bytes, size_t size, struct llm_error *err) {
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return error_errno(err, "%s: cannot create this file", path);
    bool ok = write_all(fd, path, bytes, size, err);
    if (ok && fsync(fd) != 0) ok = error_errno(err, "%s: cannot write", path);
    if (close(fd) != 0 && ok) ok = error_errno(err, "%s: cannot write", path);
    return ok;
}

// ---- The directory writer -------------------------------------------------------------------

struct directory_writer {
    char *path;
    char *temporary;
    char *aside; // where the old one goes meanwhile, if it cannot be exchanged in one step
    bool replace;
};

static void directory_writer_free(struct directory_writer *writer) {
    free(writer->path);
    free(writer->temporary);
    free(writer->aside);
    free(writer);
}

struct directory_writer *directory_writer_open(const char *path, bool replace, struct llm_error *err) {
    struct directory_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL) {
        error_memory(err, "directory writer");
        return NULL;
    }
    writer->replace = replace;
    size_t size = strlen(path);
    while (size > 1 && path[size - 1] == '/') size--;
    writer->path = strndup(path, size);
    writer->temporary = writer->path == NULL ? NULL : temporary_name(writer->path);
    struct stat status;
    if (writer->temporary == NULL) {
        error_memory(err, "directory writer");
    } else if (!replace && lstat(writer->path, &status) == 0) {
        error_set(err, LLM_ERROR_EXISTS, "%s: is there already; name another place, or allow it to be replaced",
                  writer->path);
    } else if (replace && lstat(writer->path, &status) == 0 && !S_ISDIR(status.st_mode)) {
        error_set(err, LLM_ERROR_IO, "%s: is not a directory, so it is not replaced by one", writer->path);
    } else if (mkdtemp(writer->temporary) == NULL) {
        error_errno(err, "%s: cannot create a directory here", writer->path);
    } else if (asprintf(&writer->aside, "%s.old", writer->temporary) < 0) {
        writer->aside = NULL; // undefined otherwise
        error_memory(err, "directory writer");
        rmdir(writer->temporary);
    } else {
        chmod(writer->temporary, default_mode(0777));
        return writer;
    }
    directory_writer_free(writer);
    return NULL;
}

const char *directory_writer_path(const struct directory_writer *writer) {
    return writer->temporary;
}

// Whether renameat2() failed because the file system (NFS, 9p, CIFS, much of FUSE) or the kernel knows no flags.
static bool flags_unknown(void) {
    return errno == EINVAL || errno == ENOSYS;
}

// Puts the finished directory where nothing is; fails with EEXIST where something is.
static bool place_new(const struct directory_writer *writer) {
    if (renameat2(AT_FDCWD, writer->temporary, AT_FDCWD, writer->path, RENAME_NOREPLACE) == 0) return true;
    if (!flags_unknown()) return false;
    if (path_exists(writer->path)) {
        errno = EEXIST;
        return false;
    }
    return rename(writer->temporary, writer->path) == 0;
}

// Puts it where the old one is, which then lies under the temporary name or aside. What is finished may have taken
// hours: on failure both are kept.
static bool replace_old(const struct directory_writer *writer, struct llm_error *err) {
    if (renameat2(AT_FDCWD, writer->temporary, AT_FDCWD, writer->path, RENAME_EXCHANGE) == 0) return true;
    if (flags_unknown() && rename(writer->path, writer->aside) == 0) {
        if (rename(writer->temporary, writer->path) == 0) return true;
        const int number = errno;
        const bool back = rename(writer->aside, writer->path) == 0;
        errno = number;
        if (!back) {
            return error_errno(err,
                               "%s: cannot put the finished directory in place; it is kept as %s, the old one as %s",
                               writer->path, writer->temporary, writer->aside);
        }
    }
    return error_errno(err, "%s: cannot exchange the old directory for the new one, which is kept as %s", writer->path,
                       writer->temporary);
}

bool directory_writer_commit(struct directory_writer *writer, struct llm_error *err) {
    directory_sync(writer->temporary);
    bool ok = place_new(writer);
    bool keeps = false;
    if (!ok && errno == EEXIST && writer->replace) {
        ok = replace_old(writer, err);
        keeps = !ok;
    } else if (!ok) {
        error_errno(err, "%s: cannot put the finished directory in place", writer->path);
    }
    if (ok) {
        parent_sync(writer->path);
        directory_remove(writer->aside);
    }
    if (!keeps) directory_remove(writer->temporary); // after an exchange, the old contents
    directory_writer_free(writer);
    return ok;
}

void directory_writer_abort(struct directory_writer *writer) {
    if (writer == NULL) return;
    directory_remove(writer->temporary);
    directory_writer_free(writer);
}
