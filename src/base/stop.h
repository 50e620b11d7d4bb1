/**
 * Being asked to stop: SIGUSR1 (a scheduler's warning before the time limit), SIGTERM, or the cancel hook.
 *
 * The signal is only noted; work goes on to the next place that asks pons_stop_check and agrees on the
 * answer with the other ranks. When that takes longer than the grace time the process ends by itself:
 * what is on disk is complete at any instant, so nothing is lost by it but the current step.
 */
#ifndef PONS_BASE_STOP_H
#define PONS_BASE_STOP_H

#include "base/error.h"

/** From now on note SIGUSR1 and SIGTERM, and ignore SIGCONT; for programs, not for libraries. Local. */
void pons_stop_on_signals(void);

/** Seconds from the signal to the end of the process, rounded up; 30 unless set. Local. */
void pons_stop_set_grace(double seconds);

/** PONS_STOPPED, with a sentence that names the cause, once a signal came or the thread's cancel hook says so; else PONS_OK.
 * Local; cheap: between any two units of work whose status is agreed on afterwards. */
pons_status pons_stop_check(void);

#endif
