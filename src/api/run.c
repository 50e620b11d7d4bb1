/* Owns the library's main job (include/pons/run.h). The work is pipeline's. */
#include "pons/run.h"

#include <stdlib.h>

#include "api/session.h"
#include "pipeline/compress.h"

static pons_status to_text(const json_t *report, char **text)
{
    *text = NULL;
    if (!report) return PONS_OK; /* not rank 0 */
    *text = json_dumps(report, JSON_INDENT(2) | JSON_REAL_PRECISION(10));
    return *text ? PONS_OK : pons_fail(PONS_ERR_NOMEM, "out of memory for the report");
}

pons_status pons_run(pons_session *session, const pons_run_options *options, char **report)
{
    pons_status st = PONS_OK;
    pons_comm *comm = pons_session_comm(session);
    pons_session_scope before = pons_session_enter(session);
    pons_run_options o = PONS_RUN_OPTIONS_INIT;
    json_t *object = NULL;
    char *text = NULL;
    PONS_TRY_ALL(st, comm, pons_options_take("pons_run_options", options, sizeof o, &o));
    const pons_compress_options given = {.recipe = o.recipe,
                                         .set = o.set,
                                         .set_count = o.set_count,
                                         .model = o.model,
                                         .calibration = o.calibration,
                                         .out = o.out,
                                         .run = o.run,
                                         .force = o.force != 0,
                                         .hessians = o.hessians,
                                         .resume = o.resume != 0};
    PONS_TRY(st, pons_pipeline_compress(comm, &given, &object));
    if (!report) goto done;
    PONS_TRY_ALL(st, comm, to_text(object, &text));
    *report = text;
    text = NULL;
done:
    free(text);
    json_decref(object);
    pons_session_leave(before);
    return st;
}
