/*
 * Files of Hessians: written by one run, read by another in place of a forward pass. What dense activations
 * depend on goes into a text that every file carries; a run that reads them has the same text, or is
 * refused with the part that differs. Owns neither the format (io/hessian_file.h) nor what is done with a
 * Hessian.
 */
#include "pipeline/hessians.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "io/file.h"
#include "kern/gemm.h"

/* SHA-256 of the lines of one section of a recipe's text, and of what it names. */
static void hash_section(const char *recipe, const char *section, const char *named, char hex[65])
{
    pons_sha256 s;
    pons_sha256_begin(&s);
    char head[64];
    snprintf(head, sizeof head, "\n%s:\n", section);
    const char *line = strstr(recipe, head);
    for (line = line ? line + strlen(head) : ""; !strncmp(line, "  ", 2);) {
        const char *end = strchr(line, '\n') + 1;
        pons_sha256_update(&s, line, (size_t)(end - line));
        line = end;
    }
    pons_sha256_update(&s, named, strlen(named));
    pons_sha256_end(&s, hex);
}

pons_status pons_hessians_fingerprint(pons_context *context)
{
    char rotation[65], *recipe = pons_context_recipe_text(context);
    if (!recipe) return pons_fail(PONS_ERR_NOMEM, "out of memory for the fingerprint");
    hash_section(recipe, "rotation", context->fingerprint.part[PONS_FINGERPRINT_ROTATION],
                 rotation);
    free(recipe);
    snprintf(context->hessian_fingerprint, sizeof context->hessian_fingerprint,
             "model = %.64s\nwindows = %lld of %lld tokens\ncalibration = %.64s\nrotation = %s\n"
             "products = %s, %s\noutput.dtype = %s\n",
             context->fingerprint.part[PONS_FINGERPRINT_MODEL],
             (long long)context->recipe.calibration.windows,
             (long long)context->recipe.calibration.length,
             context->fingerprint.part[PONS_FINGERPRINT_CALIBRATION], rotation,
             context->bf16 ? "bf16" : "fp32", pons_kern_arithmetic(),
             pons_dtype_name(context->recipe.output.dtype));
    return PONS_OK;
}

static char *file_of(const pons_context *context, int64_t layer)
{
    return pons_mem_printf("%s/hessians/block-%03lld.h5", context->options->hessians,
                           (long long)layer);
}

/* Refuse the first line in which two fingerprints differ. */
static pons_status compare(const char *path, const char *there, const char *here)
{
    while (*here) {
        size_t n = strcspn(here, "\n") + 1, m = strcspn(there, "\n");
        if (m + 1 != n || strncmp(there, here, n)) {
            int name = (int)strcspn(here, " ");
            return pons_fail(PONS_ERR_INPUT,
                             "%s: %.*s is not what these Hessians were made with: %.*s there, %.*s "
                             "here",
                             path, name, here, (int)m, there, (int)n - 1, here);
        }
        here += n;
        there += n;
    }
    return PONS_OK;
}

static pons_status check_file(const pons_context *context, int64_t layer)
{
    pons_status st = PONS_OK;
    pons_hessian_attributes a;
    char *text = NULL, *path = file_of(context, layer);
    if (!path) return PONS_ERR_NOMEM;
    PONS_TRY(st, pons_hessian_file_read_attributes(path, &a, &text));
    PONS_TRY(st, compare(path, text, context->hessian_fingerprint));
    if (a.wave < context->config->layers)
        st = pons_fail(
            PONS_ERR_INPUT,
            "%s: found Hessians of a wave of %lld blocks, allowed: of a wave of all %lld, "
            "which none of the first recipe's results went into",
            path, (long long)a.wave, (long long)context->config->layers);
done:
    pons_mem_free(text);
    pons_mem_free(path);
    return st;
}

pons_status pons_hessians_check_files(const pons_context *context)
{
    pons_status st = PONS_OK;
    for (int64_t layer = 0; layer < context->config->layers; layer++)
        PONS_TRY(st, check_file(context, layer));
    pons_log(PONS_LOG_INFO, "calibrate: Hessians of %s, no forward pass",
             context->options->hessians);
done:
    return st;
}

pons_status pons_hessians_check_recipe(const pons_context *context)
{
    const pons_recipe *r = &context->recipe;
    const char *key = NULL, *allowed = NULL;
    char wave[64];
    snprintf(wave, sizeof wave, "%lld or more (all blocks see dense activations)",
             (long long)context->config->layers);
    if (!pons_method_needs_hessian(r->method))
        key = "method", allowed = "one that needs Hessians";
    else if (r->wave < context->config->layers)
        key = "wave", allowed = wave;
    else if (r->keep_hessians)
        key = "hessians", allowed = "discard";
    else if (r->obr.target != PONS_TARGET_DENSE)
        key = "obr.target", allowed = "dense";
    else if (r->prune.allocate != PONS_ALLOCATE_UNIFORM)
        key = "prune.allocate", allowed = "uniform";
    else if (r->compat == PONS_COMPAT_FAITHFUL && r->rotation.kind == PONS_ROTATION_QUAROT)
        key = "compat", allowed = "corrected with rotation.kind quarot (other column norms)";
    if (!key) return PONS_OK;
    return pons_fail(PONS_ERR_CONFIG, "--hessians %s: recipe key %s: allowed: %s",
                     context->options->hessians, key, allowed);
}

pons_status pons_hessians_open(const pons_context *context, const pons_team *team, int64_t layer,
                               const pons_input *input, pons_hessian_reader **reader, double **norm)
{
    pons_status st = PONS_OK, local = PONS_OK;
    char *path = file_of(context, layer);
    int64_t d = pons_tap_width(context->config, input->tap), found = 0;
    if (!path)
        local = PONS_ERR_NOMEM;
    else if (team->rank == 0)
        local = pons_hessian_reader_open(path, input->name, &found, norm, reader);
    if (local == PONS_OK && team->rank == 0 && found != d)
        local = pons_fail(PONS_ERR_INPUT, "%s: %s: found width %lld, allowed: %lld", path,
                          input->name, (long long)found, (long long)d);
    if (team->rank != 0 && local == PONS_OK) {
        *norm = pons_mem_alloc(d, sizeof **norm);
        if (!*norm) local = PONS_ERR_NOMEM;
    }
    PONS_TRY_ALL(st, team->comm, local);
    pons_comm_bcast(team->comm, *norm, (size_t)d * sizeof **norm, 0);
done:
    pons_mem_free(path);
    return st;
}

pons_status pons_hessians_take(const pons_team *team, pons_hessian_reader *reader,
                               pons_hessian_factor *factor)
{
    pons_status st = PONS_OK, local = PONS_OK;
    int64_t d = factor->d, panel = pons_hessian_panel_rows(d);
    double *rows = pons_mem_alloc(panel * d, sizeof *rows);
    PONS_TRY_ALL(st, team->comm, rows ? PONS_OK : PONS_ERR_NOMEM);
    for (int64_t first = 0; first < d; first += panel) {
        int64_t n = d - first < panel ? d - first : panel;
        if (team->rank == 0) local = pons_hessian_reader_rows(reader, first, n, rows);
        PONS_TRY_ALL(st, team->comm, local);
        pons_comm_bcast(team->comm, rows, (size_t)(n * d) * sizeof *rows, 0);
        pons_hessian_factor_take(factor, first, n, rows + first, d);
    }
done:
    pons_mem_free(rows);
    return st;
}

/* ---- Writing */

pons_status pons_hessians_create(const pons_context *context, const pons_team *team,
                                 pons_account *account, const char *run, int64_t layer,
                                 pons_hessian_file **file)
{
    pons_status st = PONS_OK;
    const pons_recipe *r = &context->recipe;
    double start = pons_clock();
    char *path = pons_mem_printf("%s/hessians/block-%03lld.h5", run, (long long)layer);
    PONS_TRY_ALL(st, team->comm, path ? PONS_OK : PONS_ERR_NOMEM);
    pons_hessian_attributes attributes = {.windows = r->calibration.windows,
                                          .tokens = r->calibration.windows * r->calibration.length,
                                          .wave = r->wave,
                                          .damping = r->obr.damping,
                                          .fingerprint = context->hessian_fingerprint};
    PONS_TRY(st, pons_hessian_file_create(team->comm, path, &attributes, file));
done:
    pons_mem_free(path);
    account->seconds.keep += pons_trace_phase(account->trace, PONS_PHASE_KEEP, start);
    return st;
}

pons_status pons_hessians_write(const pons_context *context, pons_account *account,
                                pons_hessian_file *file, const pons_input *input, pons_hessian *h)
{
    int64_t d = pons_tap_width(context->config, input->tap);
    double start = pons_clock();
    pons_status st = pons_hessian_file_write(file, input->name, d, pons_hessian_matrix(h),
                                             pons_hessian_norm(h, false));
    account->seconds.keep += pons_trace_phase(account->trace, PONS_PHASE_KEEP, start);
    return st;
}

pons_status pons_hessians_commit(pons_account *account, pons_hessian_file **file)
{
    double start = pons_clock();
    pons_status st = *file ? pons_hessian_file_commit(file) : PONS_OK;
    account->seconds.keep += pons_trace_phase(account->trace, PONS_PHASE_KEEP, start);
    return st;
}
