// tokens_encode.h: one block of text to ids, cut where documents begin; on any thread.
#ifndef DATA_TOKENS_ENCODE_H
#define DATA_TOKENS_ENCODE_H

#include "data/tokens_text.h"

// Some of a block's ids: a document, or what the block has of it.
struct encoded_piece {
    size_t first, n; // in encoded_block.ids
    size_t n_bytes;  // of text
    bool begins;     // a document begins here; else it goes on
};

struct encoded_block {
    struct text_block block;
    int32_t *ids; // [n_ids]
    size_t n_ids, ids_capacity;
    struct encoded_piece *pieces; // [n_pieces]
    size_t n_pieces, pieces_capacity;
    struct llm_error error; // when it failed
};

// by_documents: each document is tokenised alone, <|endoftext|> follows it, and those that are only white space are
// left out. Else the text is tokenised as it is, the mark being the id, behind which a document begins.
void encoded_block_encode(struct encoded_block *encoded, const struct llm_tokenizer *tokenizer, bool by_documents);
void encoded_block_release(struct encoded_block *encoded);

#endif
