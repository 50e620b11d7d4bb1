/* Owns what signals do to the process. Does not agree with other ranks: par does. */
#include "base/stop.h"

#include <math.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/hooks.h"

static volatile sig_atomic_t received;
static volatile sig_atomic_t grace = 30;

/* Too late for an orderly end. */
static void give_up(int signal)
{
    static const char line[] = "pons: stopped: the grace time is over, the current step is lost\n";
    (void)signal;
    if (write(STDERR_FILENO, line, sizeof line - 1) < 0) { /* nobody is left to tell */
    }
    _exit(pons_status_exit_code(PONS_STOPPED));
}

static void note(int signal)
{
    if (received) return; /* schedulers repeat themselves */
    received = signal;
    alarm((unsigned)grace);
}

void pons_stop_on_signals(void)
{
    struct sigaction action = {.sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    action.sa_handler = note;
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    action.sa_handler = give_up;
    sigaction(SIGALRM, &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGCONT, &action, NULL);
}

void pons_stop_set_grace(double seconds) { grace = (sig_atomic_t)ceil(seconds); }

pons_status pons_stop_check(void)
{
    int signal = received;
    const pons_hooks *hooks = pons_hooks_current();
    if (hooks->cancel && hooks->cancel(hooks->user))
        return pons_fail(PONS_STOPPED, "cancelled by the calling program");
    if (!signal) return PONS_OK;
    return pons_fail(PONS_STOPPED, "stopped by %s", signal == SIGTERM ? "SIGTERM" : "SIGUSR1");
}
