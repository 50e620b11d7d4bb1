/** All of what another program may use. */
#ifndef PONS_PONS_H
#define PONS_PONS_H

#include "pons/run.h"
#include "pons/status.h"

#endif
