/**
 * The main job from another program: a recipe and a model in, a model directory out.
 *
 * Every rank of the job calls the same functions in the same order. A program that has started MPI
 * itself may do so before pons_begin, and then ends it itself.
 */
#ifndef PONS_RUN_H
#define PONS_RUN_H

#include "pons/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What is compressed, by what recipe, into what. Borrowed strings; the same on every rank. */
typedef struct pons_run_options {
    const char *recipe;      /* YAML file; NULL: the defaults */
    const char *const *set;  /* [set_count] "section.key=value" applied after the file */
    int set_count;           /* 0: set may be NULL */
    const char *model;       /* Hugging Face directory or .gguf file */
    const char *calibration; /* text or id file; NULL when the method needs none */
    const char *out;         /* output directory */
    const char *run;         /* state directory; NULL: OUT.run */
    int force;               /* not 0: replace an existing OUT */
    int resume;              /* not 0: go on after the last committed block of RUN, if any */
    const char *hessians;    /* state directory whose Hessians are used; NULL: calibrate */
} pons_run_options;

/** Receives one line of log or progress, without newline, on rank 0. level: 0 error, 1 warning,
 * 2 information, 3 debugging. */
typedef void (*pons_run_line)(int level, const char *line, void *user);

/** Start: MPI unless the program has, the numerical libraries, OMP_NUM_THREADS threads or a fair
 * share of the node. Call pons_end also after a failure, once the message is printed. Collective on the job.
 * @return PONS_ERR_MPI; PONS_ERR_USAGE for a thread count far beyond the processors. */
pons_status pons_begin(int *argc, char ***argv);

/** Stop what pons_begin started. Collective on the job. */
void pons_end(void);

/** This process's rank. Local, after pons_begin. */
int pons_rank(void);

/** Send lines up to `level` to `line` (NULL: stderr, as the program does). Local, after
 * pons_begin. */
void pons_log_to(int level, pons_run_line line, void *user);

/**
 * Compress. Collective on the job.
 * @param[out] report NULL, or receives on rank 0 the report as JSON text, to be freed with free(),
 *             and NULL elsewhere
 * @return the same status on every rank; on failure nothing is left under OUT, unless the sentence
 *         says that OUT is complete and only the report failed. When blocks were committed, RUN and
 *         OUT.part stay for `resume`, and the sentence says so.
 */
pons_status pons_run(const pons_run_options *options, char **report);

/** Sentence of the latest failure, naming file and field. Borrowed until the next. Local. */
const char *pons_error_message(void);

#ifdef __cplusplus
}
#endif

#endif
