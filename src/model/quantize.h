// quantize.h: weights in fewer bits, made when a model is opened.
#ifndef MODEL_QUANTIZE_H
#define MODEL_QUANTIZE_H

#include "model/engine.h"

// Puts copies in place of the engine's matrices that are stored in more bits than `quantize` asks for: the linear
// layers in Q8_0 or Q4_0 as [out, in], or in BF16 as they lie; token embedding and output head in Q8_0 with either, as
// what is rounded there reaches every logit; positions and vectors stay. The numbers themselves (engine_stored())
// remain those of the file. An error where rows are not whole blocks. After a failure the engine is as it was.
bool engine_quantize(struct llm_engine *engine, enum llm_quantize quantize, struct llm_error *err);

#endif
