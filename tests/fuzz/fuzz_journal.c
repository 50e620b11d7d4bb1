/* Journal lines of a run. */
#include "fuzz.h"

#include <jansson.h>

#include "pipeline/journal.h"

void fuzz_seeds(const char *folder)
{
    pons_journal *j = NULL;
    fuzz_must(pons_journal_open(folder, &j) == PONS_OK, folder);
    fuzz_must(pons_journal_append(j, json_pack("{s:s, s:s, s:i, s:b, s:{s:s}}", "event", "begin",
                                               "pons", "0.0.0", "ranks", 2, "replace", 0,
                                               "fingerprint", "program", "x")) == PONS_OK,
              folder);
    fuzz_must(pons_journal_append(j, json_pack("{s:s, s:i, s:s, s:f, s:[{s:s, s:f}]}", "event",
                                               "block", "block", 0, "sha256", "00ff", "seconds",
                                               1.5, "linears", "name", "q", "error", 0.25)) ==
                  PONS_OK,
              folder);
    pons_journal_close(&j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pons_journal *j = NULL;
    fuzz_file("journal.jsonl", data, size);
    if (pons_journal_open(fuzz_folder(), &j) != PONS_OK) return 0;
    pons_journal_find(j, "begin", NULL, 0);
    pons_journal_find(j, "block", "block", 0);
    pons_journal_close(&j);
    return 0;
}
