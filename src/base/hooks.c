/* Owns which hooks a thread works with. What they do is up to their callers (log.c, stop.c, par). */
#include "base/hooks.h"

#include <stddef.h>

static pons_hooks process = {.level = PONS_LOG_INFO};
static _Thread_local pons_hooks *current; /* NULL: the process's */

pons_hooks *pons_hooks_current(void) { return current ? current : &process; }

pons_hooks *pons_hooks_use(pons_hooks *hooks)
{
    pons_hooks *before = current;
    current = hooks;
    return before;
}
