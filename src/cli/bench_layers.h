/**
 * What `pons bench layers` prints.
 */
#ifndef PONS_CLI_BENCH_LAYERS_H
#define PONS_CLI_BENCH_LAYERS_H

#include "bench/layers.h"

/** A table by kind of linear, the hardest linears and the histogram, or JSON with every linear. Local: one
 * rank. @return PONS_OK, PONS_ERR_IO, PONS_ERR_NOMEM. */
pons_status pons_cli_print_layers(const pons_bench_layers *layers, bool json);

#endif
