/**
 * The tables of the families, and the pieces that several share: a block that normalizes the inputs of
 * attention and of a gated MLP. Internal to the room and its tests.
 */
#ifndef PONS_MODEL_ARCH_TABLES_H
#define PONS_MODEL_ARCH_TABLES_H

#include "model/arch.h"

/** Linears of such a block, in the reference's order of compression. */
enum { PONS_K, PONS_V, PONS_Q, PONS_O, PONS_UP, PONS_GATE, PONS_DOWN, PONS_LINEARS };

/** Its taps. */
enum { PONS_TAP_QKV, PONS_TAP_O, PONS_TAP_GATE_UP, PONS_TAP_DOWN, PONS_TAPS };

/** Its gains. */
enum { PONS_GAIN_ATTENTION, PONS_GAIN_MLP, PONS_GAINS };

/** Its steps, in two parts between which norms of queries and keys have their place. */
#define PONS_STEPS_PROJECT                                                                         \
    {.kind = PONS_STEP_NORM,                                                                       \
     .from = PONS_SLOT_STREAM,                                                                     \
     .to = PONS_SLOT_INPUT,                                                                        \
     .gain = PONS_GAIN_ATTENTION},                                                                 \
        {.kind = PONS_STEP_TAP, .tap = PONS_TAP_QKV},                                              \
        {.kind = PONS_STEP_LINEAR, .linear = PONS_Q, .to = PONS_SLOT_QUERIES},                     \
        {.kind = PONS_STEP_LINEAR, .linear = PONS_K, .to = PONS_SLOT_KEYS},                        \
        {.kind = PONS_STEP_LINEAR, .linear = PONS_V, .to = PONS_SLOT_VALUES},
#define PONS_STEPS_ATTEND                                                                          \
    {.kind = PONS_STEP_ROPE}, {.kind = PONS_STEP_CACHE}, {.kind = PONS_STEP_ATTENTION},            \
        {.kind = PONS_STEP_TAP, .tap = PONS_TAP_O}, {.kind = PONS_STEP_ADD, .linear = PONS_O},     \
        {.kind = PONS_STEP_NORM,                                                                   \
         .from = PONS_SLOT_STREAM,                                                                 \
         .to = PONS_SLOT_INPUT,                                                                    \
         .gain = PONS_GAIN_MLP},                                                                   \
        {.kind = PONS_STEP_TAP, .tap = PONS_TAP_GATE_UP},                                          \
        {.kind = PONS_STEP_GATE, .linear = PONS_GATE, .other = PONS_UP},                           \
        {.kind = PONS_STEP_TAP, .tap = PONS_TAP_DOWN},                                             \
    {                                                                                              \
        .kind = PONS_STEP_ADD, .linear = PONS_DOWN                                                 \
    }

extern const pons_arch_tap pons_prenorm_taps[PONS_TAPS];
extern const pons_arch_gain pons_prenorm_gains[PONS_GAINS];
enum { PONS_PRENORM_STEPS = 15 };
extern const pons_arch_step pons_prenorm_steps[PONS_PRENORM_STEPS];

extern const pons_arch pons_arch_llama, pons_arch_mistral, pons_arch_qwen2, pons_arch_qwen3;

#endif
