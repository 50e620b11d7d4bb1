/* A layer in a file for other programs. Owns the names and types of its tensors. */
#include "base/mem.h"
#include "bench/problem.h"
#include "io/safetensors_writer.h"
#include "obr/solver.h"

enum { TENSORS = 8 };

pons_status pons_bench_problem_dump(const pons_bench_layer *layer, const pons_bench_problem *p,
                                    int64_t sample, const char *path)
{
    pons_status st = PONS_OK;
    pons_bench_problem s = {0};
    pons_st_writer *w = NULL;
    float *V = NULL, *H = NULL;
    int64_t *row = NULL, d = p->d;
    PONS_TRY(st, pons_bench_problem_sample(p, sample, &s));
    PONS_ALLOC(st, V, s.rows * d);
    PONS_ALLOC(st, H, d * d);
    PONS_ALLOC(st, row, s.rows);
    for (int64_t i = 0; i < s.rows; i++)
        row[i] = pons_bench_sample_row(p->rows, s.rows, i);
    for (int64_t i = 0; i < d * d; i++)
        H[i] = (float)p->H[i];
    pons_solve_panel panel = {"dump", 0, s.rows, d, s.split, s.W, s.mask, s.factor, false};
    PONS_TRY(st, pons_solve_direct(&panel, pons_bench_quantize_left, &s, V, NULL));

    const struct {
        const char *name;
        pons_dtype dtype;
        int ndim;
        int64_t shape[2];
        const void *data;
    } tensor[TENSORS] = {{"alpha", PONS_DTYPE_F64, 1, {1, 1}, &layer->alpha},
                         {"damping", PONS_DTYPE_F64, 1, {1, 1}, &layer->damping},
                         {"rows", PONS_DTYPE_I64, 1, {s.rows, 1}, row},
                         {"W", PONS_DTYPE_F32, 2, {p->rows, d}, p->W},
                         {"H", PONS_DTYPE_F32, 2, {d, d}, H},
                         {"V", PONS_DTYPE_F32, 2, {s.rows, d}, V},
                         {"scale", PONS_DTYPE_F32, 1, {p->rows, 1}, p->scale},
                         {"mask", PONS_DTYPE_U8, 2, {p->rows, d}, p->mask}};
    PONS_TRY(st, pons_st_writer_create(path, &w));
    for (int i = 0; i < TENSORS; i++)
        PONS_TRY(st, pons_st_writer_declare(w, tensor[i].name, tensor[i].dtype, tensor[i].ndim,
                                            tensor[i].shape));
    for (int i = 0; i < TENSORS; i++) {
        int64_t n = tensor[i].shape[0] * tensor[i].shape[1];
        PONS_TRY(st, pons_st_writer_write(w, tensor[i].data, pons_dtype_bytes(tensor[i].dtype, n)));
    }
    st = pons_st_writer_commit(&w);
done:
    pons_st_writer_abandon(&w);
    pons_mem_free(row);
    pons_mem_free(H);
    pons_mem_free(V);
    pons_bench_problem_clear_sample(&s);
    return st;
}
