/**
 * The main job from another program: a recipe and a model in, a model directory out.
 */
#ifndef PONS_RUN_H
#define PONS_RUN_H

#include "pons/session.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What is compressed, by what recipe, into what. Borrowed strings; the same on every rank. */
typedef struct pons_run_options {
    size_t size;             /* set by PONS_RUN_OPTIONS_INIT */
    int version;             /* set by PONS_RUN_OPTIONS_INIT */
    const char *recipe;      /* YAML file; NULL: the defaults */
    const char *const *set;  /* [set_count] "section.key=value" applied after the file */
    int set_count;           /* 0: set may be NULL */
    const char *model;       /* Hugging Face directory or .gguf file */
    const char *calibration; /* text or id file; NULL when the method needs none */
    const char *out;         /* output directory */
    const char *run;         /* state directory; NULL: OUT.run */
    int force;               /* not 0: replace an existing OUT */
    int resume;              /* not 0: continue after the last committed block of RUN, if any */
    const char *hessians;    /* state directory whose Hessians are used; NULL: calibrate */
} pons_run_options;

/** Initial value of pons_run_options. */
#define PONS_RUN_OPTIONS_INIT                                                                      \
    {                                                                                              \
        sizeof(pons_run_options), PONS_API_VERSION, NULL, NULL, 0, NULL, NULL, NULL, NULL, 0, 0,   \
            NULL                                                                                   \
    }

/**
 * Compress a model. Collective on the session's ranks.
 * @param[out] report NULL, or receives on rank 0 the report as JSON text, to be freed with free(),
 *             and NULL elsewhere
 * @return the same status on every rank; PONS_STOPPED when a cancel function asked for it. On failure nothing is
 *         left under OUT, unless the message says that OUT is complete and only the report failed. When blocks were
 *         committed, RUN and OUT.part stay for `resume`, and the message says so.
 */
PONS_API pons_status pons_run(pons_session *session, const pons_run_options *options,
                              char **report);

#ifdef __cplusplus
}
#endif

#endif
