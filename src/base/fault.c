/* Owns which site is to fail. What failing means is up to each site. */
#include "base/fault.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

pons_fault_site pons_fault_armed = PONS_FAULT_SITES;
static atomic_long left; /* passages until the one that fails */

static const char *const names[] = {
#define NAME(site, name, ranks, text) name,
    PONS_FAULT_LIST(NAME)
#undef NAME
};

static pons_status refuse(const char *text)
{
    char known[512] = "";
    for (int i = 0; i < PONS_FAULT_SITES; i++)
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "",
                 names[i]);
    return pons_fail(PONS_ERR_USAGE,
                     "PONS_FAULT: found %.80s, allowed: SITE:RANK[:COUNT], SITE one of %s", text,
                     known);
}

pons_status pons_fault_arm(int rank)
{
    const char *text = getenv("PONS_FAULT");
    char name[32], rest;
    int wanted;
    long count = 1;
    if (!text || !*text) return PONS_OK;
    int n = sscanf(text, "%31[a-z.]:%d:%ld%c", name, &wanted, &count, &rest);
    if ((n != 2 && n != 3) || wanted < 0 || count < 1) return refuse(text);
    int site = 0;
    while (site < PONS_FAULT_SITES && strcmp(names[site], name))
        site++;
    if (site == PONS_FAULT_SITES) return refuse(text);
    left = count;
    if (wanted == rank) pons_fault_armed = (pons_fault_site)site;
    return PONS_OK;
}

bool pons_fault_pass(void) { return atomic_fetch_sub(&left, 1) == 1; }

void pons_fault_die(pons_fault_site site)
{
    if (pons_fault(site)) raise(SIGKILL);
}

void pons_fault_signal(pons_fault_site site)
{
    if (pons_fault(site)) raise(SIGUSR1);
}
