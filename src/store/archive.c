// archive.c: see archive.h. The expected size is known beforehand, so that is all that is ever
// allocated and inflated, whatever the archive claims.
#include "store/archive.h"

#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "base/file.h"

static zip_t *archive_open(const char *path, struct llm_error *err) {
    int code = 0;
    zip_t *zip = zip_open(path, ZIP_RDONLY, &code);
    if (zip == NULL) {
        zip_error_t reason;
        zip_error_init_with_code(&reason, code);
        error_set(err, LLM_ERROR_FORMAT, "cannot be read as a zip archive: %s", zip_error_strerror(&reason));
        zip_error_fini(&reason);
    }
    return zip;
}

// Reads exactly `size` bytes and sees the end behind them, which is where libzip checks the member's CRC.
static bool member_read(zip_file_t *member, const char *name, char *bytes, int64_t size, struct llm_error *err) {
    int64_t done = 0;
    char behind;
    while (done < size) {
        const zip_int64_t n = zip_fread(member, bytes + done, (zip_uint64_t)(size - done));
        if (n < 0) return error_set(err, LLM_ERROR_FORMAT, "%s: %s", name, zip_file_strerror(member));
        if (n == 0) break;
        done += n;
    }
    const zip_int64_t more = done == size ? zip_fread(member, &behind, 1) : 0;
    if (more < 0) return error_set(err, LLM_ERROR_FORMAT, "%s: %s", name, zip_file_strerror(member));
    if (done < size || more > 0) {
        return error_set(err, LLM_ERROR_FORMAT, "%s: has %s than the %lld bytes that were expected", name,
                         more > 0 ? "more" : "fewer", (long long)size);
    }
    return true;
}

bool archive_extract(const char *path, const char *name, int64_t size, const char *sha256, char **bytes,
                     struct llm_error *err) {
    zip_t *zip = archive_open(path, err);
    if (zip == NULL) return false;
    bool ok = false;
    char *memory = malloc((size_t)size + 1);
    zip_file_t *member = zip_fopen(zip, name, 0);
    if (memory == NULL) {
        error_memory(err, name);
    } else if (member == NULL) {
        error_set(err, LLM_ERROR_FORMAT, "%s: %s", name, zip_strerror(zip));
    } else {
        ok = member_read(member, name, memory, size, err);
    }
    if (member != NULL) zip_fclose(member);
    zip_discard(zip);

    struct checksum sum;
    char found[CHECKSUM_TEXT];
    if (ok) {
        checksum_init(&sum);
        checksum_update(&sum, memory, (size_t)size);
        checksum_text(&sum, found);
        if (strcmp(found, sha256) != 0) {
            ok = error_set(err, LLM_ERROR_FORMAT, "%s: its SHA-256 is %s, %s was expected", name, found, sha256);
        }
    }
    if (ok) {
        *bytes = memory;
    } else {
        free(memory);
    }
    return ok;
}
