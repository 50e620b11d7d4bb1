/* Owns the conversion of tiles to the layout of ScaLAPACK and back. ScaLAPACK ships no C header, so
 * its functions are declared here. */
#include "linalg/scalapack.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "linalg/tiles_impl.h"

#ifdef PONS_HAVE_SCALAPACK

#include "par/mpi_handle.h"

int Csys2blacs_handle(MPI_Comm comm);
void Cfree_blacs_system_handle(int handle);
void Cblacs_gridinit(int *context, const char *order, int rows, int columns);
void Cblacs_gridexit(int context);
void descinit_(int *descriptor, const int *m, const int *n, const int *mb, const int *nb,
               const int *row, const int *column, const int *context, const int *lld, int *info);
int numroc_(const int *n, const int *nb, const int *coordinate, const int *first, const int *count);
void pdpotrf_(const char *uplo, const int *n, double *A, const int *ia, const int *ja,
              const int *descriptor, int *info, size_t uplo_length);
void pdtrtri_(const char *uplo, const char *diagonal, const int *n, double *A, const int *ia,
              const int *ja, const int *descriptor, int *info, size_t uplo_length,
              size_t diagonal_length);

bool pons_scalapack_is_built(void) { return true; }

/* Own tiles to this rank's part of the block-cyclic matrix A, column-major, or back: tile (i, j) is
 * block (i / p, j / q) there. */
static void copy(const pons_tiles *t, double *A, int64_t lld, bool back)
{
    for (int64_t i = 0; i < t->n; i++)
        for (int64_t j = 0; j <= i; j++) {
            double *tile = pons_tiles_at(t, i, j);
            if (!tile) continue;
            double *block = A + i / t->grid_rows * t->side + j / t->grid_columns * t->side * lld;
            for (int64_t r = 0; r < pons_tiles_extent(t, i); r++)
                for (int64_t c = 0; c < pons_tiles_extent(t, j); c++)
                    if (back)
                        tile[r * t->side + c] = i == j && c > r ? 0.0 : block[r + c * lld];
                    else
                        block[r + c * lld] = tile[r * t->side + c];
        }
}

pons_status pons_scalapack_invert_factor(pons_tiles *t, double seconds[2], int64_t *info)
{
    pons_status st = PONS_OK;
    int rank = pons_comm_rank(t->comm), zero = 0, one = 1, bad = 0, descriptor[9];
    int d = (int)t->d, b = (int)t->side, p = t->grid_rows, q = t->grid_columns;
    int row = rank / q, column = rank % q;
    int handle = Csys2blacs_handle(pons_comm_mpi(t->comm)), context = handle;
    Cblacs_gridinit(&context, "Row", p, q);
    int rows = numroc_(&d, &b, &row, &zero, &p), columns = numroc_(&d, &b, &column, &zero, &q);
    int lld = rows > 1 ? rows : 1;
    double *A = pons_mem_calloc((int64_t)lld * columns, sizeof *A);
    PONS_TRY_ALL(st, t->comm, A ? PONS_OK : PONS_ERR_NOMEM);
    descinit_(descriptor, &d, &d, &b, &b, &zero, &zero, &context, &lld, &bad);
    PONS_ASSERT(bad == 0);
    copy(t, A, lld, false);
    double start = pons_clock();
    pdpotrf_("L", &d, A, &one, &one, descriptor, &bad, 1);
    seconds[0] = pons_clock() - start;
    if (!bad) pdtrtri_("L", "N", &d, A, &one, &one, descriptor, &bad, 1, 1);
    seconds[1] = pons_clock() - start - seconds[0];
    *info = bad;
    if (!bad) copy(t, A, lld, true);
done:
    pons_mem_free(A);
    Cblacs_gridexit(context);
    Cfree_blacs_system_handle(handle);
    return st;
}

#else

bool pons_scalapack_is_built(void) { return false; }

pons_status pons_scalapack_invert_factor(pons_tiles *t, double seconds[2], int64_t *info)
{
    (void)t;
    seconds[0] = seconds[1] = 0;
    *info = 0;
    return pons_fail(PONS_ERR_UNSUPPORTED,
                     "this program was built without ScaLAPACK (libscalapack-openmpi-dev)");
}

#endif
