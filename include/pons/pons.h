/** Everything that another program may use. */
#ifndef PONS_PONS_H
#define PONS_PONS_H

#include "pons/layer.h"
#include "pons/packed.h"
#include "pons/run.h"
#include "pons/session.h"
#include "pons/status.h"

#endif
