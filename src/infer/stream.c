// stream.c: see stream.h.
#include "infer/stream.h"

#include <string.h>

#include "base/utf8.h"

bool stream_init(struct stream *stream, const char *const *stops, int n_stops, size_t reserve, struct llm_error *err) {
    *stream = (struct stream){.stops = stops, .n_stops = n_stops};
    for (int i = 0; i < n_stops; i++) {
        const size_t size = strlen(stops[i]);
        if (size > stream->longest_stop) stream->longest_stop = size;
    }
    strbuf_init(&stream->text, SIZE_MAX / 4);
    if (!strbuf_reserve(&stream->text, reserve)) return error_memory(err, "text of a sample");
    return true;
}

void stream_release(struct stream *stream) {
    strbuf_release(&stream->text);
}

// Size of the longest stop text that ends exactly at `end`, 0 if none does.
static size_t stop_ending_at(const struct stream *stream, size_t end) {
    size_t longest = 0;
    for (int i = 0; i < stream->n_stops; i++) {
        const size_t size = strlen(stream->stops[i]);
        if (size > longest && size <= end - stream->shown &&
            memcmp(stream->text.bytes + end - size, stream->stops[i], size) == 0) {
            longest = size;
        }
    }
    return longest;
}

bool stream_add(struct stream *stream, const char *bytes, size_t size, struct llm_error *err) {
    if (stream->stopped) return true;
    size_t end = stream->text.size;
    strbuf_append(&stream->text, bytes, size);
    if (!strbuf_ok(&stream->text)) return error_memory(err, "text of a sample");
    while (stream->n_stops > 0 && end < stream->text.size) {
        end++;
        const size_t stop = stop_ending_at(stream, end);
        if (stop == 0) continue;
        stream->stopped = true;
        stream->text.size = end - stop;
        stream->text.bytes[stream->text.size] = '\0';
    }
    return true;
}

// Whether `tail` [size] is the beginning of a longer stop text.
static bool may_become_stop(const struct stream *stream, const char *tail, size_t size) {
    for (int i = 0; i < stream->n_stops; i++) {
        if (strncmp(stream->stops[i], tail, size) == 0 && strlen(stream->stops[i]) > size) return true;
    }
    return false;
}

// Bytes at the end of the text that may still become a stop text.
static size_t held_back(const struct stream *stream) {
    size_t held = stream->text.size - stream->shown;
    if (stream->longest_stop == 0) return 0;
    if (held > stream->longest_stop - 1) held = stream->longest_stop - 1;
    while (held > 0 && !may_become_stop(stream, stream->text.bytes + stream->text.size - held, held)) held--;
    return held;
}

size_t stream_show(struct stream *stream, bool ended, const char **text) {
    const bool last = ended || stream->stopped;
    const size_t end = stream->text.size - (last ? 0 : held_back(stream));
    *text = stream->text.bytes + stream->shown;
    const size_t size = utf8_complete(*text, end - stream->shown);
    stream->shown += size;
    if (last) {
        stream->text.size = stream->shown;
        stream->text.bytes[stream->shown] = '\0';
    }
    return size;
}
