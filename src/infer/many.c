// many.c: see many.h.
#include "infer/many.h"

#include <stdlib.h>

#include "infer/run.h"

enum {
    ENOUGH_SAVED = 16 // tokens not computed again that are worth a forward pass of their own
};

// What slot s of the session has yet to compute: a prompt, later its newest token.
struct slot {
    bool busy;
    size_t number; // of the prompt
    const int32_t *ids;
    int n;
};

struct many {
    struct run run;
    const struct many_prompt *prompts;
    size_t n, next; // prompts, and the first that has not begun
    struct slot *slots;
    int *wanted; // [n_sequences] slots whose logits the batch gives
    int n_wanted;
    many_end_fn *on_end;
    void *user;
};

// Puts the next prompt into a free slot, if there is one.
static bool fill(struct many *many, int s, struct llm_error *err) {
    struct slot *slot = &many->slots[s];
    if (slot->busy || many->next == many->n) return true;
    const struct many_prompt *prompt = &many->prompts[many->next];
    struct llm_session *session = many->run.session;
    const int cached = session_slot_shared(session, s, prompt->ids, (int)prompt->n - 1);
    *slot = (struct slot){true, many->next, prompt->ids + cached, (int)prompt->n - cached};
    session->n_past[s] = cached;
    return run_begin(&many->run, s, (int)many->next++, prompt->ids, prompt->n, err);
}

// Adds to the batch what fits of each slot's tokens. Every later slot keeps room for one, so that nobody waits.
static void gather(struct many *many) {
    struct llm_session *session = many->run.session;
    many->n_wanted = 0;
    session_batch_begin(session, 1);
    for (int s = 0; s < session->n_sequences; s++) {
        struct slot *slot = &many->slots[s];
        const int room = session_batch_room(session) - (session->n_sequences - 1 - s);
        const int n = slot->n < room ? slot->n : room;
        if (!slot->busy) continue;
        session_batch_add(session, s, slot->ids, n, n == slot->n ? 1 : 0);
        if (n == slot->n) many->wanted[many->n_wanted++] = s;
        slot->ids += n;
        slot->n -= n;
    }
}

// The next token of each slot whose logits are there.
static bool choose(struct many *many, const float *logits, struct llm_error *err) {
    struct run *run = &many->run;
    const size_t vocab_size = (size_t)run->session->engine->config.vocab_size;
    for (int i = 0; i < many->n_wanted; i++) {
        const int s = many->wanted[i];
        struct slot *slot = &many->slots[s];
        if (!run_next(run, s, logits + (size_t)i * vocab_size, err)) return false;
        if (run->cancelled) return error_set(err, LLM_ERROR_CANCELLED, "generation was cancelled");
        slot->ids = &run->next[s];
        slot->n = 1;
        if (!run->session->samples[s].finished) continue;
        if (!many->on_end(many->user, slot->number, &run->session->samples[s], err)) return false;
        run_forget(run, s);
        slot->busy = false;
    }
    return true;
}

// Tokens that all prompts begin with; each has one more.
static int common_beginning(const struct many *many) {
    const struct many_prompt *first = &many->prompts[0];
    size_t common = first->n - 1;
    for (size_t i = 1; i < many->n; i++) {
        const struct many_prompt *prompt = &many->prompts[i];
        size_t same = 0;
        while (same < common && same + 1 < prompt->n && prompt->ids[same] == first->ids[same]) same++;
        common = same;
    }
    return (int)common;
}

// Computes once, for all slots, what all prompts begin with. Whatever comes into a slot later finds it there.
static bool compute_beginning(struct many *many, struct llm_error *err) {
    struct llm_session *session = many->run.session;
    const int common = many->n > 1 ? common_beginning(many) : 0;
    const int cached = session_shared(session, many->prompts[0].ids, common);
    if ((many->n - 1) * (size_t)(common - cached) < ENOUGH_SAVED) return true;
    for (int s = 0; s < session->n_sequences; s++) session->n_past[s] = cached;
    for (int at = cached; at < common;) {
        session_batch_begin(session, session->n_sequences);
        const int room = session_batch_room(session), n = common - at < room ? common - at : room;
        session_batch_add(session, 0, many->prompts[0].ids + at, n, 0);
        if (session_forward(session, err) == NULL) return false;
        at += n;
    }
    return true;
}

static bool loop(struct many *many, struct llm_error *err) {
    struct llm_session *session = many->run.session;
    if (many->n > 0 && !compute_beginning(many, err)) return false;
    for (;;) {
        for (int s = 0; s < session->n_sequences; s++) {
            if (!fill(many, s, err)) return false;
        }
        gather(many);
        if (session->batch.n_sequences == 0) return true;
        const float *logits = session_forward(session, err);
        if (logits == NULL || !choose(many, logits, err)) return false;
    }
}

bool generate_many(struct llm_session *session, const struct many_prompt *prompts, size_t n,
                   const struct llm_generate_options *options, llm_piece_fn *on_piece, many_end_fn *on_end, void *user,
                   struct llm_error *err) {
    struct llm_generate_options bounded = *options;
    bounded.shift = false;
    if (!run_check_options(&bounded, session->engine, err)) return false;
    const size_t n_slots = (size_t)session->n_sequences;
    struct many many = {
        .run = {.session = session, .options = &bounded, .on_piece = on_piece, .user = user},
        .prompts = prompts,
        .n = n,
        .slots = calloc(n_slots, sizeof *many.slots),
        .wanted = calloc(n_slots, sizeof *many.wanted),
        .on_end = on_end,
        .user = user,
    };
    bool ok = (many.slots != NULL && many.wanted != NULL) || error_memory(err, "prompts");
    ok = ok && run_init(&many.run, err) && loop(&many, err);
    run_release(&many.run);
    free(many.slots);
    free(many.wanted);
    return ok;
}
