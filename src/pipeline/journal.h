/**
 * RUN/journal.jsonl: one line per state change, the truth about what is finished.
 *
 * A line is appended and synced after everything it speaks of is on disk, so that what it says holds
 * whenever the process dies. Lines are JSON objects:
 *
 *   begin     pons, layout, ranks, replace, fingerprint  the run exists; nothing is finished yet
 *   allocation  linears                               what prune.allocate: budget chose
 *   block     block, checksum, seconds, linears         this block is in RUN/blocks
 *   hidden    after, files                              hidden states after so many blocks are saved
 *   damping   block, input, damping                     before its block: obr.damping had to be raised
 *   resume    ranks, blocks                             a later process went on after so many blocks
 *   model     sha256                                    RUN/model is there, with this manifest: OUT can be made
 *   finished  out, seconds                              OUT is complete and reported
 *
 * All Local: rank 0 keeps the journal.
 */
#ifndef PONS_PIPELINE_JOURNAL_H
#define PONS_PIPELINE_JOURNAL_H

#include <jansson.h>

#include "base/error.h"

typedef struct pons_journal pons_journal;

/** Open the journal of a state directory and read what is there; a last line that a dying process
 * left half-written is cut off. @return PONS_ERR_IO, PONS_ERR_INPUT naming file and line. */
pons_status pons_journal_open(const char *run, pons_journal **out);

/** Free; takes the address, nulls it, accepts NULL. */
void pons_journal_close(pons_journal **journal);

/** Append a line and sync it; threads take turns. Takes the reference; NULL (memory was out) is reported as such. */
pons_status pons_journal_append(pons_journal *journal, json_t *line);

/** Latest line of this event whose member `key` is `value` (key NULL: any); NULL when there is none.
 * Borrowed. */
const json_t *pons_journal_find(const pons_journal *journal, const char *event, const char *key,
                                int64_t value);

#endif
