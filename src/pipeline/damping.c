/* Telling of raised dampings. Does not raise them; factor.c and the solvers do. */
#include "pipeline/damping.h"

#include "base/log.h"

void pons_damping_log(int64_t layer, const pons_input *input, double damping)
{
    pons_log(PONS_LOG_WARN, "block %lld %s: Hessian is not positive definite; damping raised to %g",
             (long long)layer, input->name, damping);
}

/* What the damping of an input's Hessian was raised to; 0: it was not. */
static double damping_of(const pons_arch *arch, const pons_input *input,
                         const pons_block_linear *linears)
{
    double damping = 0;
    for (int i = 0; i < arch->linears; i++)
        if (pons_input_has(input, &linears[i])) damping = linears[i].damping;
    return damping;
}

pons_status pons_damping_journal(pons_journal *journal, const pons_arch *arch,
                                 const pons_runtime *runtime, int64_t layer,
                                 const pons_block_linear *linears)
{
    pons_status st = PONS_OK;
    for (int t = 0; t < arch->taps; t++)
        for (pons_input input = PONS_INPUT_NONE; pons_input_next(arch, runtime, t, &input);) {
            double damping = damping_of(arch, &input, linears);
            if (damping == 0) continue;
            PONS_TRY(st, pons_journal_append(journal,
                                             json_pack("{s:s, s:I, s:s, s:f}", "event", "damping",
                                                       "block", (json_int_t)layer, "input",
                                                       input.name, "damping", damping)));
        }
done:
    return st;
}
