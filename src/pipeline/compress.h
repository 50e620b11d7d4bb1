/**
 * The main job: a model and a text in, a compressed model directory out.
 *
 * Rank 0 coordinates: it reads recipe and tokens, embeds the calibration windows and sends them to
 * the ranks that own them, keeps the journal, shows progress and writes the output. All ranks (rank
 * 0 too) hold windows, accumulate partial Hessians and compress rows of every linear.
 */
#ifndef PONS_PIPELINE_COMPRESS_H
#define PONS_PIPELINE_COMPRESS_H

#include <jansson.h>
#include <stdbool.h>

#include "config/recipe.h"
#include "par/comm.h"

/** What the command line gives. Borrowed strings; the same on every rank. */
typedef struct pons_compress_options {
    const char *recipe;     /* path of the YAML file, or NULL for the defaults */
    const char *const *set; /* [set_count] "key=value" overrides */
    int set_count;
    const char *model;       /* directory or .gguf file */
    const char *calibration; /* text or id file; NULL when the method needs no Hessian */
    const char *out;         /* output directory */
    const char *run;         /* state directory; NULL: OUT.run */
    bool force;              /* replace an existing OUT */
    const char *hessians;    /* state directory whose Hessians are used; NULL: calibrate */
    bool resume;             /* go on after the last committed block of RUN, if there is one */
} pons_compress_options;

/**
 * Compress. Collective on comm.
 *
 * @param[out] report on rank 0 a new JSON object, NULL elsewhere: method, compat, ranks, threads,
 *   linears, rows, weights, zeros, sparsity, bits (per weight as stored), bytes (of OUT's tensors),
 *   relative_error (sum of errors over sum of energies), digest, out, run, seconds {total, learn, read,
 *   forward, hessian, keep (Hessians to disk), factor, mask, solve, clip, gptq, polish, measure (errors of
 *   rows), gather, pack (what the others waited for rank 0's writing), evaluate, checkpoint}, peak_rss_bytes,
 *   idle, efficiency and memory (trace.h), and when the
 *   recipe evaluates: perplexity {windows, tokens, weights_only, full}
 * @return the same status on every rank; on failure nothing is left under OUT, unless the sentence
 *         says that OUT is complete and only the report failed. When blocks were committed, RUN and
 *         OUT.part stay for `resume`, and the sentence says so.
 */
pons_status pons_pipeline_compress(pons_comm *comm, const pons_compress_options *options,
                                   json_t **report);

#endif
