/* Telling of raised dampings. Does not raise them; factor.c and the solvers do. */
#include "pipeline/damping.h"

#include "base/log.h"

void pons_damping_log(int64_t layer, const pons_input *input, double damping)
{
    pons_log(PONS_LOG_WARN, "block %lld %s: Hessian is not positive definite; damping raised to %g",
             (long long)layer, pons_input_name(input), damping);
}

/* What the damping of an input's Hessian was raised to; 0: it was not. */
static double damping_of(const pons_input *input, const pons_block_linear linears[PONS_LINEARS])
{
    double damping = 0;
    for (int i = 0; i < PONS_LINEARS; i++)
        if (pons_input_has(input, linears[i].linear)) damping = linears[i].damping;
    return damping;
}

pons_status pons_damping_journal(pons_journal *journal, const pons_runtime *runtime, int64_t layer,
                                 const pons_block_linear linears[PONS_LINEARS])
{
    pons_status st = PONS_OK;
    pons_input inputs[PONS_LINEARS];
    for (int g = 0; g < PONS_GROUPS; g++) {
        int n = pons_input_list(runtime, (pons_group)g, inputs);
        for (int i = 0; i < n; i++) {
            double damping = damping_of(&inputs[i], linears);
            if (damping == 0) continue;
            PONS_TRY(st, pons_journal_append(
                             journal, json_pack("{s:s, s:I, s:s, s:f}", "event", "damping", "block",
                                                (json_int_t)layer, "input",
                                                pons_input_name(&inputs[i]), "damping", damping)));
        }
    }
done:
    return st;
}
