/**
 * The functions that are compiled once for each instruction set: all public ones of the files in the list
 * PONS_LEVELLED_FILES of CMakeLists.txt. Internal to the room.
 *
 * There each gets the name of its set as a suffix (pons_block_nn_avx512), in definitions and in calls from one of these
 * files to another, by a header that CMake makes of this list. levels.c has the plain names, which jump to the variant
 * of pons_isa_used. A public function of such a file that is missing here is defined several times, and the linker says
 * so. Variables of these files exist once for each set, so they have none that matter.
 */
#ifndef PONS_KERN_LEVELS_H
#define PONS_KERN_LEVELS_H

#define PONS_LEVELLED(F)                                                                           \
    F(pons_attention_causal)                                                                       \
    F(pons_attention_causal_bf16)                                                                  \
    F(pons_bf16_convert)                                                                           \
    F(pons_bf16_peel)                                                                              \
    F(pons_block_nn)                                                                               \
    F(pons_cg_fetch)                                                                               \
    F(pons_cg_get)                                                                                 \
    F(pons_cg_mark)                                                                                \
    F(pons_cg_multiply)                                                                            \
    F(pons_cg_part)                                                                                \
    F(pons_cg_put)                                                                                 \
    F(pons_cg_run)                                                                                 \
    F(pons_dense_vectors_f64)                                                                      \
    F(pons_gate)                                                                                   \
    F(pons_hadamard_columns_f64)                                                                   \
    F(pons_hadamard_heads)                                                                         \
    F(pons_hadamard_rows)                                                                          \
    F(pons_hadamard_rows_f64)                                                                      \
    F(pons_inverse_from_factor)                                                                    \
    F(pons_inverse_scale)                                                                          \
    F(pons_kronecker_f64)                                                                          \
    F(pons_kronecker_factors)                                                                      \
    F(pons_kronecker_rows)                                                                         \
    F(pons_matmul_add)                                                                             \
    F(pons_matmul_gate)                                                                            \
    F(pons_matmul_token_losses)                                                                    \
    F(pons_quantize_error)                                                                         \
    F(pons_quantize_rows)                                                                          \
    F(pons_reflect_vectors)                                                                        \
    F(pons_rmsnorm)                                                                                \
    F(pons_rope)                                                                                   \
    F(pons_row_norms)                                                                              \
    F(pons_smooth_range)                                                                           \
    F(pons_square_range)                                                                           \
    F(pons_strips_pack)                                                                            \
    F(pons_strips_run)                                                                             \
    F(pons_sweep_columns)                                                                          \
    F(pons_sweep_stride)                                                                           \
    F(pons_sweep_work)                                                                             \
    F(pons_vector_dot)                                                                             \
    F(pons_vector_add)                                                                             \
    F(pons_vector_divide)                                                                          \
    F(pons_vector_multiply)                                                                        \
    F(pons_vector_subtract)                                                                        \
    F(pons_vector_square)                                                                          \
    F(pons_vector_weighted_square)                                                                 \
    F(pons_vector_weighted_squares)                                                                \
    F(pons_window_sum_add)                                                                         \
    F(pons_window_sum_begin)                                                                       \
    F(pons_window_sum_bytes)                                                                       \
    F(pons_window_sum_end)                                                                         \
    F(pons_window_tiling_of)

#endif
