// archive.h: taking one member out of a downloaded zip (libzip reads it).
#ifndef STORE_ARCHIVE_H
#define STORE_ARCHIVE_H

#include "base/checksum.h"

// Reads member `name` of the zip at `path`, which must be exactly `size` bytes long and have that sum;
// *bytes is the caller's (free). The zip's other members are not looked at, nor are member names ever used as paths.
bool archive_extract(const char *path, const char *name, int64_t size, const char *sha256, char **bytes,
                     struct llm_error *err);

#endif
