// progress.c: see progress.h.
//
// A terminal has one line where a bar can be, so its state is one static struct here. The rate is a
// moving average over about three seconds: a connection that stalls shows at once, one that jitters
// does not make the time left jump.
#include "cli/progress.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/utf8.h"
#include "cli/command.h"

static const double redraw_seconds = 0.1;
static const double average_seconds = 3.0;

static struct {
    bool begun;     // a thing is in progress
    bool drawn;     // its bar stands on the terminal's line
    bool finished;  // it reached its total
    char what[256]; // the thing
    int64_t first;  // units that were done when it began (a resumed download)
    int64_t last;   // units at the last redraw
    double started; // seconds
    double redrawn; // seconds
    double rate;    // units a second
} bar;

static double now_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void amount_text(char *text, size_t size, int64_t amount, const char *unit) {
    if (strcmp(unit, "bytes") != 0) {
        snprintf(text, size, "%lld %s", (long long)amount, unit);
        return;
    }
    static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB"};
    double value = (double)amount;
    int i = 0;
    for (; value >= 1000 && i < 4; i++) value /= 1000;
    snprintf(text, size, i == 0 ? "%.0f %s" : "%.1f %s", value, units[i]);
}

void time_text(char *text, size_t size, double seconds) {
    const int64_t whole = (int64_t)(seconds + 0.5);
    if (whole >= 3600) {
        snprintf(text, size, "%lld:%02d:%02d", (long long)(whole / 3600), (int)(whole / 60 % 60), (int)(whole % 60));
    } else {
        snprintf(text, size, "%d:%02d", (int)(whole / 60), (int)(whole % 60));
    }
}

// Columns that `text` takes: characters, since nothing wide appears in file names we print here.
static int columns_of(const char *text) {
    int columns = 0;
    const size_t size = strlen(text);
    int32_t code;
    for (size_t at = 0; at < size; at += utf8_decode(text + at, size - at, &code)) columns++;
    return columns;
}

// The numbers behind the bar: "248.1 MB of 548.1 MB, 12.3 MB/s, 0:25 left".
static void numbers_text(char *text, size_t size, const struct llm_progress *progress, double rate) {
    char done[64];
    char total[64];
    char speed[64] = "";
    char left[64] = "";
    amount_text(done, sizeof done, progress->done, progress->unit);
    amount_text(total, sizeof total, progress->total, progress->unit);
    if (rate > 0) {
        char amount[32];
        amount_text(amount, sizeof amount, (int64_t)rate, progress->unit);
        snprintf(speed, sizeof speed, ", %s/s", amount);
    }
    const double seconds = rate > 0 ? (double)(progress->total - progress->done) / rate : 0;
    if (progress->total > progress->done && rate > 0 && seconds < 360000) {
        char clock[32];
        time_text(clock, sizeof clock, seconds);
        snprintf(left, sizeof left, ", %s left", clock);
    }
    if (progress->total < 0) {
        snprintf(text, size, "%s%s", done, speed);
    } else {
        // "4 of 6 answers"; bytes keep their unit, which may be another one than the total's
        if (strcmp(progress->unit, "bytes") != 0) snprintf(done, sizeof done, "%lld", (long long)progress->done);
        snprintf(text, size, "%s of %s%s%s", done, total, speed, left);
    }
}

void progress_line(char *line, size_t size, int columns, const struct llm_progress *progress, double rate) {
    char numbers[256];
    numbers_text(numbers, sizeof numbers, progress, rate);
    // The end of a name tells more than its beginning: that is what stays when it is too long.
    const char *what = progress->what;
    const int room = columns - (int)strlen(numbers) - 2;
    while (*what != '\0' && columns_of(what) > room) {
        int32_t code;
        what += utf8_decode(what, strlen(what), &code);
    }
    char meter[96] = "";
    const int spare = room - columns_of(what) - (int)strlen(" [] 100%");
    if (progress->total > 0 && spare >= 5) {
        const double part = (double)progress->done / (double)progress->total;
        const double share = part < 0 ? 0 : part > 1 ? 1 : part;
        const int width = spare < 30 ? spare : 30;
        const int filled = (int)(share * width);
        static const char full[] = "##############################";
        static const char empty[] = "..............................";
        snprintf(meter, sizeof meter, " [%.*s%.*s] %3d%%", filled, full, width - filled, empty, (int)(share * 100));
    }
    const char *gap = *what == '\0' ? "" : "  ";
    snprintf(line, size, "%s%s%s%.*s", what, meter, gap, columns > 0 ? columns : 0, numbers);
}

static int terminal_columns(void) {
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
    return 80;
}

void progress_clear(void) {
    if (bar.drawn && bar.finished) fputc('\n', stderr);
    if (bar.drawn && !bar.finished) fputs("\r\033[K", stderr);
    bar.drawn = false;
}

void progress_text(const char *line) {
    const double now = now_seconds();
    if (!isatty(STDERR_FILENO) || (bar.drawn && now - bar.redrawn < redraw_seconds)) return;
    if (bar.begun) progress_clear(); // a thing's bar gives way, and begins anew if it goes on
    bar.begun = false;
    bar.finished = false;
    fprintf(stderr, "\r%.*s\033[K", terminal_columns() - 1, line);
    bar.drawn = true;
    bar.redrawn = now;
}

static void bar_begin(const struct llm_progress *progress, double now) {
    progress_clear();
    memset(&bar, 0, sizeof bar);
    snprintf(bar.what, sizeof bar.what, "%s", progress->what);
    bar.begun = true;
    bar.first = bar.last = progress->done;
    bar.started = bar.redrawn = now;
}

static void bar_draw(const struct llm_progress *progress, double now) {
    const double passed = now - bar.redrawn;
    if (bar.drawn && passed < redraw_seconds && !bar.finished) return;
    if (passed > 0) {
        const double recent = (double)(progress->done - bar.last) / passed;
        const double weight = bar.rate > 0 ? 1 - exp(-passed / average_seconds) : 1;
        bar.rate += (recent - bar.rate) * weight;
    }
    // When it is done, the rate of the whole says more than the last three seconds.
    if (bar.finished && now > bar.started) bar.rate = (double)(progress->done - bar.first) / (now - bar.started);
    bar.last = progress->done;
    bar.redrawn = now;
    char line[1024];
    progress_line(line, sizeof line, terminal_columns() - 1, progress, bar.rate);
    fprintf(stderr, "\r%s\033[K", line);
    bar.drawn = true;
    if (bar.finished) progress_clear();
}

static void plain_line(const struct llm_progress *progress, bool first, double now) {
    char numbers[256];
    char amount[64];
    if (bar.finished) {
        const double seconds = now - bar.started;
        amount_text(amount, sizeof amount, progress->done, progress->unit);
        time_text(numbers, sizeof numbers, seconds);
        fprintf(stderr, "%s: done, %s in %s\n", progress->what, amount, numbers);
    } else if (first) {
        numbers_text(numbers, sizeof numbers, progress, 0);
        fprintf(stderr, "%s: %s\n", progress->what, numbers);
    }
}

bool progress_show(void *user, const struct llm_progress *progress) {
    (void)user;
    const double now = now_seconds();
    const bool first = !bar.begun || strncmp(bar.what, progress->what, sizeof bar.what - 1) != 0;
    if (first) bar_begin(progress, now);
    if (!bar.finished) {
        bar.finished = progress->total >= 0 && progress->done >= progress->total;
        if (isatty(STDERR_FILENO)) {
            bar_draw(progress, now);
        } else {
            plain_line(progress, first, now);
        }
    }
    return !command_interrupted();
}

void progress_notice(void *user, const char *sentence) {
    (void)user;
    progress_clear();
    fprintf(stderr, "my-llm: %s\n", sentence);
}
