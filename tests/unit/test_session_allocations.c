// test_session_allocations.c: generating a token allocates nothing, whatever it is.
//
// This program has a malloc family of its own that counts and hands on to libc's, so that allocations of the
// libraries below (OpenMP, oneDNN) count as well. Sanitizers have theirs: under them this test is skipped.
#include <stdatomic.h>

#include "infer_fixture.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#if !defined(SANITIZED) && defined(__GLIBC__)
#define COUNTED 1
#endif

#ifdef COUNTED

static atomic_long n_allocations;

// What glibc calls its own functions, whoever replaces the public names.
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size) {
    n_allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size) {
    n_allocations++;
    return __libc_calloc(n, size);
}

void *realloc(void *memory, size_t size) {
    n_allocations++;
    return __libc_realloc(memory, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    n_allocations++;
    return __libc_memalign(alignment, size);
}

void *memalign(size_t alignment, size_t size) {
    n_allocations++;
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size) {
    n_allocations++;
    *memory = __libc_memalign(alignment, size);
    return *memory == NULL ? 12 : 0; // ENOMEM
}

// Notes the count at two tokens.
struct watch {
    int n_tokens;
    int first, last;
    long at_first, at_last;
};

static bool watch_piece(void *user, const struct llm_piece *piece) {
    struct watch *watch = user;
    (void)piece;
    watch->n_tokens++;
    if (watch->n_tokens == watch->first) watch->at_first = n_allocations;
    if (watch->n_tokens == watch->last) watch->at_last = n_allocations;
    return true;
}

static void count_between_tokens(const char *isa, int n_samples, struct llm_generate_options options) {
    struct llm_engine *engine = fixture_engine("text", isa, 2);
    struct llm_session *session = fixture_session(engine, n_samples);
    const char *stops[] = {"\n\n\n\n", "never to be seen"};
    options.stops = stops;
    options.n_stops = 2;
    // From the second round on (in the first one a library may still set itself up for one row) to the end,
    // as far as a context reaches and then across its shift.
    for (int n_prompt = 4; n_prompt <= 40; n_prompt += 36) {
        int32_t prompt[40];
        for (int i = 0; i < n_prompt; i++) prompt[i] = i;
        struct watch watch = {.first = 2 * n_samples, .last = 60 * n_samples};
        struct llm_error err = {0};
        check(llm_session_generate(session, prompt, (size_t)n_prompt, &options, watch_piece, &watch, NULL, &err), &err);
        assert_int_equal(watch.n_tokens, 60 * n_samples);
        assert_int_equal(watch.at_last - watch.at_first, 0);
    }
    llm_session_free(session);
    llm_engine_free(engine);
}

static void a_token_allocates_nothing(void **state) {
    (void)state;
    const char *levels[OPS_LEVELS];
    const int n_levels = available_levels(levels);
    const long before = n_allocations;
    void *volatile memory = malloc(1); // volatile: not to be optimised away
    free(memory);
    assert_true(n_allocations > before); // it does count
    for (int l = 0; l < n_levels; l++) {
        struct llm_generate_options options = greedy_options(60);
        count_between_tokens(levels[l], 1, options);
        count_between_tokens(levels[l], 4, options);
        options.temperature = 2;
        options.top_p = 0.9f;
        options.min_p = 0.01f;
        options.repetition_penalty = 1.2f;
        options.n_logprobs = 5;
        count_between_tokens(levels[l], 1, options);
        options.top_k = 0;
        count_between_tokens(levels[l], 4, options);
    }
}

#else

static void a_token_allocates_nothing(void **state) {
    (void)state;
    print_message("skipped: counting allocations needs glibc's malloc, without sanitizers\n");
    skip();
}

#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
