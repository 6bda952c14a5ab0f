// picture.c: see picture.h.
//
// Everything is made in a folder beside the target and moved there when it is done, so that a picture and the numbers
// beside it belong together, and a killed run leaves no half of one.
#include "plot/picture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

enum {
    MOST_DATA = 1 << 28,
    MOST_SCRIPT = 1 << 22,
};

static const char ink[] = "#333333"; // of axes and texts: black lines would outdo the curves

void picture_init(struct picture *picture, const struct plot_place *place, int width, int height) {
    *picture = (struct picture){.place = place, .width = width, .height = height};
    strbuf_init(&picture->data, MOST_DATA);
    strbuf_init(&picture->script, MOST_SCRIPT);
    strbuf_printf(&picture->script,
                  "# Draws %s.pdf, %s.svg and %s.png from %s.csv, in this folder:\n"
                  "#     gnuplot %s.gp\n\n"
                  "set encoding utf8\n"
                  "set datafile separator comma\n"
                  "set datafile columnheaders\n"
                  "ink = '%s'\n"
                  "set border 3 linewidth 0.75 linecolor rgb ink\n"
                  "set tics nomirror out scale 0.5 textcolor rgb ink\n"
                  "set key textcolor rgb ink\n",
                  place->name, place->name, place->name, place->name, place->name, ink);
}

void picture_release(struct picture *picture) {
    strbuf_release(&picture->data);
    strbuf_release(&picture->script);
}

void picture_put_text(struct picture *picture, const char *text, size_t most, bool format) {
    char clean[PICTURE_LONGEST_TEXT + 4];
    snprintf(clean, most + 1, "%s", text);
    if (strlen(text) > most) {
        size_t end = most; // not within a character
        while (end > 0 && ((unsigned char)text[end] & 0xc0) == 0x80) end--;
        memcpy(clean + end, "...", 4);
    }
    str_clean(clean);
    // In single quotes gnuplot gives no character but the quote itself a meaning. It knows '' for one, but not in every
    // place (5.4), so a typographic one takes its place.
    strbuf_puts(&picture->script, "'");
    for (const char *at = clean; *at != '\0'; at++) {
        const bool quote = *at == '\'';
        strbuf_append(&picture->script, quote ? "\xe2\x80\x99" : at, quote ? 3 : 1);
        if (format && *at == '%') strbuf_puts(&picture->script, "%");
    }
    strbuf_puts(&picture->script, "'");
}

void picture_put_number(struct picture *picture, double number) {
    if (!isnan(number)) strbuf_printf(&picture->data, "%.9g", number);
}

// A picture in each of three formats. Texts are taken as they are (noenhanced).
static void put_formats(struct picture *picture, const char *plot) {
    const char *name = picture->place->name;
    const int width = picture->width, height = picture->height;
    strbuf_printf(&picture->script,
                  "\n# The picture, three times.\n"
                  "set terminal pdfcairo noenhanced color size %.1fcm,%.1fcm font 'Sans,10'\n"
                  "set output '%s.pdf'\n%s\n"
                  "set terminal svg noenhanced size %d,%d font 'Helvetica,Arial,sans-serif,14' background rgb 'white'\n"
                  "set output '%s.svg'\nreplot\n"
                  "set terminal pngcairo noenhanced size %d,%d font 'Sans,20' linewidth 2\n"
                  "set output '%s.png'\nreplot\n"
                  "set output\n",
                  width / 51.5, height / 51.5, name, plot, width, height, name, 2 * width, 2 * height, name);
}

static bool create(const char *folder, const char *name, const char *end, const struct strbuf *text,
                   struct llm_error *err) {
    char *path = NULL;
    if (asprintf(&path, "%s/%s%s", folder, name, end) < 0) return error_memory(err, name);
    const bool ok = file_create(path, text->bytes, text->size, err);
    free(path);
    return ok;
}

// Moves a file of the picture to its place.
static bool move(const char *from, const char *to, const char *name, const char *end, struct llm_error *err) {
    char *source = NULL, *target = NULL;
    bool ok = asprintf(&source, "%s/%s%s", from, name, end) >= 0;
    if (!ok) source = NULL;
    if (ok && asprintf(&target, "%s/%s%s", to, name, end) < 0) {
        target = NULL;
        ok = false;
    }
    ok = ok ? file_rename(source, target, err) : error_memory(err, name);
    free(source);
    free(target);
    return ok;
}

static void tell(const struct plot_place *place, const char *why) {
    if (place->callbacks.notice == NULL || place->is_another) return;
    struct llm_error sentence = {0};
    error_set(&sentence, LLM_ERROR_NOT_FOUND, "%s: %s is not drawn; `gnuplot %s.gp` draws it there", why, place->name,
              place->name);
    error_prefix(&sentence, "%s", place->folder);
    place->callbacks.notice(place->callbacks.user, sentence.text);
}

// Removes a picture that no longer shows the numbers beside it.
static void forget(const char *folder, const char *name, const char *end) {
    char *path = NULL;
    if (asprintf(&path, "%s/%s%s", folder, name, end) < 0) return;
    unlink(path);
    free(path);
}

// Makes the files in the folder `made` and moves them.
static bool make(const struct picture *picture, const char *made, struct llm_error *err) {
    static const char *const drawn[] = {".pdf", ".svg", ".png"};
    const char *folder = picture->place->folder, *name = picture->place->name;
    if (!create(made, name, ".csv", &picture->data, err) || !create(made, name, ".gp", &picture->script, err)) {
        return false;
    }
    char why[512];
    const bool ok = gnuplot_run(made, name, why, sizeof why);
    if (!ok) tell(picture->place, why);
    if (!move(made, folder, name, ".csv", err) || !move(made, folder, name, ".gp", err)) return false;
    for (int i = 0; i < 3; i++) {
        if (!ok) forget(folder, name, drawn[i]);
        if (ok && !move(made, folder, name, drawn[i], err)) return false;
    }
    return true;
}

// A run is worth more than its pictures: what the disk refuses is told. The sentence names the place the user knows.
static bool forgive(const struct plot_place *place, const char *made, const struct llm_error *failure,
                    struct llm_error *err) {
    if (failure->code != LLM_ERROR_IO && failure->code != LLM_ERROR_NOT_FOUND) {
        return error_set(err, failure->code, "%s", failure->text);
    }
    const size_t size = strlen(made);
    const bool inside = strncmp(failure->text, made, size) == 0;
    struct llm_error sentence = {0};
    error_set(&sentence, failure->code, "%s%s; there is no picture %s", inside ? place->folder : "",
              failure->text + (inside ? size : 0), place->name);
    if (place->callbacks.notice != NULL) place->callbacks.notice(place->callbacks.user, sentence.text);
    return true;
}

bool picture_draw(struct picture *picture, const char *plot, struct llm_error *err) {
    const struct plot_place *place = picture->place;
    put_formats(picture, plot);
    if (!strbuf_ok(&picture->script) || !strbuf_ok(&picture->data)) return error_memory(err, place->name);
    char *made = path_join(place->folder, ".plot-XXXXXX");
    if (made == NULL) return error_memory(err, place->name);
    struct llm_error failure = {0};
    bool ok = directory_create(place->folder, &failure);
    if (ok && mkdtemp(made) == NULL) {
        ok = error_errno(&failure, "%s: cannot create a folder here", place->folder);
    } else if (ok) {
        ok = make(picture, made, &failure);
        directory_remove(made);
    }
    ok = ok || forgive(place, made, &failure, err);
    free(made);
    return ok;
}
