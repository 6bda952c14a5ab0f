// session.h: several timelines of tokens with their KV cache, and the batch that advances them.
//
// Timeline s lives in cache slot s; timelines[s] says which ids its first n_past[s] rows belong to, so a
// later prompt finds out what it shares with them. A batch is built and run like this:
//
//     session_batch_begin(session, 1);
//     session_batch_add(session, slot, ids, n, n_wanted);   // for one slot or several
//     const float *logits = session_forward(session, err);  // [wanted rows, vocab_size]
//
// Everything is allocated by llm_session_new(); nothing here allocates.
#ifndef INFER_SESSION_H
#define INFER_SESSION_H

#include "infer/sampler.h"
#include "infer/stream.h"
#include "model/forward.h"

// One timeline's state while llm_session_generate() runs.
struct sample {
    struct random random;
    bool *seen;   // [vocab_size] for the repetition penalty; lives as long as the session
    int number;   // that its pieces bear
    int32_t *ids; // [capacity] new tokens
    size_t n_ids, capacity;
    struct stream stream;
    bool finished;
    enum llm_finish finish;
};

struct llm_session {
    struct llm_engine *engine;
    int n_sequences;
    struct kv_cache cache; // [n_sequences] slots
    struct activations activations;
    struct sampler sampler;
    int32_t *timelines;     // [n_sequences, n_ctx]
    int *n_past;            // [n_sequences] valid rows of each slot
    struct batch batch;     // under construction, in the arrays below
    int32_t *ids;           // [activations.max_tokens]
    int32_t *positions;     // [activations.max_tokens]
    int32_t *starts;        // [n_sequences + 1]
    int32_t *slots;         // [n_sequences]
    int32_t *rows;          // [activations.max_rows]
    struct sample *samples; // [n_sequences]
    bool *seen;             // [n_sequences, vocab_size]
};

// Starts an empty batch. With fan_out > 1 what is added to slot 0 is stored in slots 0 .. fan_out - 1.
void session_batch_begin(struct llm_session *session, int fan_out);
// Tokens that still fit.
int session_batch_room(const struct llm_session *session);
// Adds the next `n` tokens of a timeline; logits are wanted after the last n_wanted of them.
void session_batch_add(struct llm_session *session, int slot, const int32_t *ids, int n, int n_wanted);
// Runs the batch. Returns the logits of the wanted rows in the order they were added, valid until the next
// call; NULL on failure, when all timelines are forgotten.
const float *session_forward(struct llm_session *session, struct llm_error *err);

// How many of ids [n] the timeline in this slot begins with.
int session_slot_shared(const struct llm_session *session, int slot, const int32_t *ids, int n);
// How many of ids [n] every timeline begins with.
int session_shared(const struct llm_session *session, const int32_t *ids, int n);

// All ids within the model's embedding? The sentence names the first that is not; `what` names the list.
bool check_ids(const struct config *config, const int32_t *ids, size_t n, const char *what, struct llm_error *err);

#endif
