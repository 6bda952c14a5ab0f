// option_value.c: see option_value.h.
//
// Numbers are taken strictly: the whole word, no white space, no hexadecimal, no "inf" or "nan". What
// does not fit the type or the row's limits is wrong usage, never clipped.
#include "cli/option_value.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "cli/options.h"

size_t option_type_size(enum option_type type) {
    switch (type) {
    case OPTION_FLAG:
    case OPTION_NO_FLAG:
        return sizeof(bool);
    case OPTION_INT:
    case OPTION_CHOICE:
        return sizeof(int);
    case OPTION_INT64:
    case OPTION_SIZE:
        return sizeof(int64_t);
    case OPTION_UINT64:
        return sizeof(uint64_t);
    case OPTION_FLOAT:
        return sizeof(float);
    case OPTION_DOUBLE:
        return sizeof(double);
    case OPTION_STRING:
        return sizeof(const char *);
    case OPTION_STRINGS:
        return sizeof(struct strings);
    }
    return sizeof(max_align_t);
}

size_t option_type_alignment(enum option_type type) {
    return type == OPTION_STRINGS ? _Alignof(struct strings) : option_type_size(type);
}

// ---- Sizes ----------------------------------------------------------------------------------

static const struct {
    const char *suffix;
    double bytes;
} size_units[] = {
    {"TB", 1e12}, {"TiB", 1099511627776.0},
    {"GB", 1e9},  {"GiB", 1073741824.0},
    {"MB", 1e6},  {"MiB", 1048576.0},
    {"kB", 1e3},  {"KiB", 1024.0},
    {"T", 1e12},  {"G", 1e9},
    {"M", 1e6},   {"K", 1e3},
    {"B", 1.0},   {"", 1.0},
};

void size_text(int64_t bytes, char *text, size_t size) {
    int best = -1;
    for (int i = 0; i < 8; i++) { // the two-letter units: fewest digits wins
        const int64_t unit = (int64_t)size_units[i].bytes;
        if (bytes != 0 && bytes % unit == 0 && (best < 0 || unit > (int64_t)size_units[best].bytes)) best = i;
    }
    if (best < 0) {
        snprintf(text, size, "%lld", (long long)bytes);
    } else {
        const int64_t count = bytes / (int64_t)size_units[best].bytes;
        snprintf(text, size, "%lld%s", (long long)count, size_units[best].suffix);
    }
}

static bool size_parse(const char *word, double *bytes) {
    char *end = NULL;
    const double count = strtod(word, &end);
    for (size_t i = 0; i < sizeof size_units / sizeof size_units[0]; i++) {
        if (strcasecmp(end, size_units[i].suffix) == 0) {
            *bytes = floor(count * size_units[i].bytes);
            return true;
        }
    }
    return false;
}

// ---- Limits ---------------------------------------------------------------------------------

// What the row and the type allow.
static void limits_of(const struct option *option, double *min, double *max) {
    const bool given = option->min != 0 || option->max != 0;
    switch (option->type) {
    case OPTION_INT:
        *min = INT_MIN, *max = INT_MAX;
        break;
    case OPTION_INT64:
        *min = (double)INT64_MIN, *max = (double)INT64_MAX;
        break;
    case OPTION_UINT64:
        *min = 0, *max = (double)UINT64_MAX;
        break;
    case OPTION_SIZE:
        *min = 0, *max = (double)INT64_MAX;
        break;
    default:
        *min = -HUGE_VAL, *max = HUGE_VAL;
        break;
    }
    if (given && option->min > *min) *min = option->min;
    if (given && option->max < *max) *max = option->max;
}

static bool is_real(const struct option *option) {
    return option->type == OPTION_FLOAT || option->type == OPTION_DOUBLE;
}

static void limit_text(const struct option *option, double limit, char *text, size_t size) {
    if (option->type == OPTION_SIZE) {
        size_text((int64_t)limit, text, size);
    } else {
        snprintf(text, size, is_real(option) ? "%g" : "%.0f", limit);
    }
}

// "--top-p is "2", a number from 0 to 1 was expected". Always returns false.
static bool number_refused(const struct option *option, const char *flag, const char *word, struct llm_error *err) {
    const char *kind = "a whole number";
    if (is_real(option)) kind = "a number";
    if (option->type == OPTION_SIZE) kind = "a size such as 500MB, 2GiB or 4096";
    double min, max, type_min, type_max;
    limits_of(option, &min, &max);
    const struct option bare = {.type = option->type};
    limits_of(&bare, &type_min, &type_max);
    char from[48];
    char to[48];
    limit_text(option, min, from, sizeof from);
    if (max >= type_max && min > -HUGE_VAL && (min > type_min || min == 0)) {
        return error_set(err, LLM_ERROR_ARGUMENT, "%s is \"%s\", %s of at least %s was expected", flag, word, kind,
                         from);
    }
    if (max >= type_max) return error_set(err, LLM_ERROR_ARGUMENT, "%s is \"%s\", %s was expected", flag, word, kind);
    limit_text(option, max, to, sizeof to);
    return error_set(err, LLM_ERROR_ARGUMENT, "%s is \"%s\", %s from %s to %s was expected", flag, word, kind, from,
                     to);
}

// ---- One value ------------------------------------------------------------------------------

// Begins with a digit after an optional sign (and, for fractions, an optional point)?
static bool looks_like_number(const char *word, bool fraction) {
    if (*word == '-' || *word == '+') word++;
    if (fraction && *word == '.') word++;
    return *word >= '0' && *word <= '9' && word[1] != 'x' && word[1] != 'X';
}

static bool number_store(const struct option *option, const char *flag, const char *word, void *field,
                         struct llm_error *err) {
    const bool fraction = is_real(option) || option->type == OPTION_SIZE;
    if (!looks_like_number(word, fraction)) return number_refused(option, flag, word, err);
    char *end = NULL;
    long long whole = 0;
    unsigned long long natural = 0;
    double value = 0;
    bool ok = true;
    errno = 0;
    if (option->type == OPTION_UINT64) {
        natural = strtoull(word, &end, 10);
        value = (double)natural;
        ok = *word != '-' && *end == '\0' && errno == 0;
    } else if (is_real(option)) {
        value = strtod(word, &end);
        ok = *end == '\0' && isfinite(option->type == OPTION_FLOAT ? (double)(float)value : value);
    } else if (option->type == OPTION_SIZE) {
        ok = size_parse(word, &value) && value < 9.2e18; // below 2^63, so the cast is defined
        whole = ok ? (long long)value : 0;
    } else {
        whole = strtoll(word, &end, 10);
        value = (double)whole;
        ok = *end == '\0' && errno == 0;
    }
    double min, max;
    limits_of(option, &min, &max);
    if (!ok || value < min || value > max) return number_refused(option, flag, word, err);
    switch (option->type) {
    case OPTION_INT:
        *(int *)field = (int)whole;
        break;
    case OPTION_UINT64:
        *(uint64_t *)field = natural;
        break;
    case OPTION_FLOAT:
        *(float *)field = (float)value;
        break;
    case OPTION_DOUBLE:
        *(double *)field = value;
        break;
    default:
        *(int64_t *)field = whole;
        break;
    }
    return true;
}

static bool choice_store(const struct option *option, const char *flag, const char *word, int *field,
                         struct llm_error *err) {
    char all[256] = "";
    for (int i = 0; option->choices[i] != NULL; i++) {
        if (strcmp(option->choices[i], word) == 0) {
            *field = i;
            return true;
        }
        const char *separator = i == 0 ? "" : option->choices[i + 1] == NULL ? " or " : ", ";
        const size_t used = strlen(all);
        snprintf(all + used, sizeof all - used, "%s%s", separator, option->choices[i]);
    }
    return error_set(err, LLM_ERROR_ARGUMENT, "%s is \"%s\", %s was expected", flag, word, all);
}

static bool strings_add(struct strings *strings, const char *word, struct llm_error *err) {
    const char **items = realloc(strings->items, (size_t)(strings->n + 1) * sizeof *items);
    if (items == NULL) return error_memory(err, "command line");
    items[strings->n] = word;
    strings->items = items;
    strings->n++;
    return true;
}

bool option_value_store(const struct option *option, const char *flag, const char *word, void *args,
                        struct llm_error *err) {
    void *field = (char *)args + option->offset;
    switch (option->type) {
    case OPTION_FLAG:
        *(bool *)field = true;
        return true;
    case OPTION_NO_FLAG:
        *(bool *)field = false;
        return true;
    case OPTION_STRING:
        *(const char **)field = word;
        return true;
    case OPTION_STRINGS:
        return strings_add(field, word, err);
    case OPTION_CHOICE:
        return choice_store(option, flag, word, field, err);
    default:
        return number_store(option, flag, word, field, err);
    }
}

// Is the number in the field one that could have been typed?
static bool number_allowed(const struct option *option, const void *field) {
    double value = 0;
    switch (option->type) {
    case OPTION_INT:
        value = *(const int *)field;
        break;
    case OPTION_UINT64:
        value = (double)*(const uint64_t *)field;
        break;
    case OPTION_FLOAT:
        value = (double)*(const float *)field;
        break;
    case OPTION_DOUBLE:
        value = *(const double *)field;
        break;
    default:
        value = (double)*(const int64_t *)field;
        break;
    }
    double min, max;
    limits_of(option, &min, &max);
    return value >= min && value <= max;
}

void option_value_text(const struct option *option, const void *args, char *text, size_t size) {
    const void *field = (const char *)args + option->offset;
    const bool number = option->type >= OPTION_INT && option->type <= OPTION_SIZE;
    text[0] = '\0';
    if (number && !number_allowed(option, field)) return;
    switch (option->type) {
    case OPTION_FLAG:
    case OPTION_NO_FLAG:
    case OPTION_STRINGS:
        break;
    case OPTION_INT:
        snprintf(text, size, "%d", *(const int *)field);
        break;
    case OPTION_INT64:
        snprintf(text, size, "%lld", (long long)*(const int64_t *)field);
        break;
    case OPTION_UINT64:
        snprintf(text, size, "%llu", (unsigned long long)*(const uint64_t *)field);
        break;
    case OPTION_FLOAT:
        snprintf(text, size, "%g", (double)*(const float *)field);
        break;
    case OPTION_DOUBLE:
        snprintf(text, size, "%g", *(const double *)field);
        break;
    case OPTION_SIZE:
        size_text(*(const int64_t *)field, text, size);
        break;
    case OPTION_STRING:
        if (*(const char *const *)field != NULL) snprintf(text, size, "%s", *(const char *const *)field);
        break;
    case OPTION_CHOICE:
        if (*(const int *)field >= 0) snprintf(text, size, "%s", option->choices[*(const int *)field]);
        break;
    }
}
