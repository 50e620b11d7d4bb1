/* Owns the face that other programs see (include/pons/run.h). The work is pipeline's. */
#include "pons/run.h"

#include <omp.h>
#include <stdlib.h>

#include "base/log.h"
#include "kern/gemm.h"
#include "kern/limits.h"
#include "kern/product.h"
#include "par/node.h"
#include "pipeline/compress.h"

/* pons_log_sink and pons_run_line differ in the type of the level only. */
static struct {
    pons_run_line line;
    void *user;
} receiver;

static void forward(pons_log_level level, const char *line, void *user)
{
    (void)user;
    receiver.line((int)level, line, receiver.user);
}

pons_status pons_begin(int *argc, char ***argv)
{
    pons_status st = pons_par_begin(argc, argv);
    if (st != PONS_OK) return st;
    pons_comm *comm = pons_par_world();
    int threads = pons_par_fair_threads(comm);
    if (!getenv("OMP_NUM_THREADS")) omp_set_num_threads(threads);
    st = pons_comm_agree(comm, pons_kern_check_threads("OMP_NUM_THREADS", omp_get_max_threads()));
    if (st != PONS_OK) return st;
    pons_kern_begin();
    pons_product_agree(comm);
    pons_log_configure(PONS_LOG_INFO, pons_comm_rank(comm), NULL, NULL);
    return PONS_OK;
}

void pons_end(void) { pons_par_end(); }

int pons_rank(void) { return pons_comm_rank(pons_par_world()); }

void pons_log_to(int level, pons_run_line line, void *user)
{
    receiver.line = line;
    receiver.user = user;
    pons_log_configure((pons_log_level)level, pons_rank(), line ? forward : NULL, NULL);
}

static pons_status to_text(const json_t *report, char **text)
{
    *text = NULL;
    if (!report) return PONS_OK; /* not rank 0 */
    *text = json_dumps(report, JSON_INDENT(2) | JSON_REAL_PRECISION(10));
    return *text ? PONS_OK : pons_fail(PONS_ERR_NOMEM, "out of memory for the report");
}

pons_status pons_run(const pons_run_options *options, char **report)
{
    const pons_compress_options given = {.recipe = options->recipe,
                                         .set = options->set,
                                         .set_count = options->set_count,
                                         .model = options->model,
                                         .calibration = options->calibration,
                                         .out = options->out,
                                         .run = options->run,
                                         .force = options->force != 0,
                                         .hessians = options->hessians,
                                         .resume = options->resume != 0};
    pons_status st = PONS_OK;
    json_t *object = NULL;
    char *text = NULL;
    PONS_TRY(st, pons_pipeline_compress(pons_par_world(), &given, &object));
    if (!report) goto done;
    PONS_TRY_ALL(st, pons_par_world(), to_text(object, &text));
    *report = text;
    text = NULL;
done:
    free(text);
    json_decref(object);
    return st;
}
