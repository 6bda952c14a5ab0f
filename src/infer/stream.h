// stream.h: the text of one sample as it grows: stop texts, and what may be shown already.
//
// Tokens are bytes that end anywhere: inside a character, inside a stop text. So text is held back while
// its end may still become a stop text or is the beginning of an unfinished character. What is shown, piece
// by piece, joins to exactly what `text` is in the end: no stop text, no broken character at the end.
//
// The text ends before the stop text that is complete first, byte by byte, so the result does not depend
// on how the text was cut into tokens.
#ifndef INFER_STREAM_H
#define INFER_STREAM_H

#include "base/error.h"
#include "base/str.h"

struct stream {
    struct strbuf text;
    size_t shown;             // bytes already handed out
    const char *const *stops; // [n_stops] borrowed, none empty
    int n_stops;
    size_t longest_stop; // bytes
    bool stopped;        // a stop text is complete; `text` ends before it
};

// Room for `reserve` bytes is made at once; a longer text grows on.
bool stream_init(struct stream *stream, const char *const *stops, int n_stops, size_t reserve, struct llm_error *err);
void stream_release(struct stream *stream);

// Appends the bytes of one token. Looks for stop texts; after one was found, adding does nothing.
bool stream_add(struct stream *stream, const char *bytes, size_t size, struct llm_error *err);

// Hands out, borrowed until the next call, what has become certain since the last time; returns its size.
// With `ended` nothing more will come: what was held back as a possible stop text is handed out too, and an
// unfinished character is cut off the text.
size_t stream_show(struct stream *stream, bool ended, const char **text);

#endif
