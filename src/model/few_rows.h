// few_rows.h: attention of a few wanted rows in the last layer, without the keys and values of the tokens that they
// see.
//
// A head's score of token j, of which the stream after ln_1 is x_j, and what it sums up, are
//
//     q . (x_j W_k + b_k) = (q W_k^T) . x_j + q . b_k        sum_j p_j (x_j W_v + b_v) = (sum_j p_j x_j) W_v + b_v
//
// where q . b_k is the same for all j, so that the softmax drops it. Hence W_k may be multiplied to the query, and W_v
// to the sum: once a wanted row, not once a token. (DeepSeek-AI 2024 absorbs matrices so to decode.) A classifier wants
// one row of a text: training its last layer takes a third of the time so. The gradient of b_k is exactly zero.
#ifndef MODEL_FEW_ROWS_H
#define MODEL_FEW_ROWS_H

#include "model/pass_state.h"

// Whether the batch wants so few rows that this pays; then n_rows * n_head is at most n_tokens / 2.
bool few_rows_pay(const struct config *config, const struct batch *batch);

// block->attn [n_rows, n_embd], the heads' output, from block->in; block->few is scratch. block->qkv keeps what
// backward reads, block->normed is ln_1's output then.
bool few_rows_forward(const struct llm_engine *engine, const struct block *block, const struct batch *batch, int layer,
                      struct llm_error *err);

// From the gradient of the heads' output in pass->dnarrow [n_rows, n_embd], with ln_1's output in pass->normed: adds
// the gradients of the projection to queries, keys and values; pass->dnarrow becomes that of ln_1's output [n_tokens,
// n_embd].
bool few_rows_backward(const struct pass *pass, const struct param_block *gradients, const struct block *block,
                       int layer, struct llm_error *err);

#endif
