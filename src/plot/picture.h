// picture.h: the five files of a picture: script and data as text, and gnuplot, which draws.
#ifndef PLOT_PICTURE_H
#define PLOT_PICTURE_H

#include "base/str.h"
#include "plot/plot.h"

struct picture {
    const struct plot_place *place;
    int width, height; // of the SVG, in pixels; the others are in proportion
    struct strbuf data, script;
};

// The script begins with what is common to all pictures.
void picture_init(struct picture *picture, const struct plot_place *place, int width, int height);
void picture_release(struct picture *picture);

enum {
    PICTURE_LONGEST_TEXT = 120 // bytes that there is room for in a width
};

// Appends someone's text to the script as a quoted string that gnuplot takes as it is: control characters and invalid
// UTF-8 become '?', and what is longer than `most` bytes (at most PICTURE_LONGEST_TEXT) is cut. With
// `format`, it stands where gnuplot takes a format: a label of a tic.
void picture_put_text(struct picture *picture, const char *text, size_t most, bool format);

// Appends one number to the data; nothing for NaN.
void picture_put_number(struct picture *picture, double number);

// Writes the files and has them drawn, each format by `plot`, the command for gnuplot.
bool picture_draw(struct picture *picture, const char *plot, struct llm_error *err);

// Runs gnuplot on the script `name` in `folder`. False when it could not draw; then `why` [size] says so.
bool gnuplot_run(const char *folder, const char *name, char *why, size_t size);

#endif
