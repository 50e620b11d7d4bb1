/* Owns vocabulary, merges and the merging of one word; knows nothing of how words were cut.
 *
 * A candidate merge in the heap is stale when the pair at its position has changed since; it is
 * recognised by looking the present pair up again, so no entry is ever searched for or removed. */
#include "text/bpe.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "text/byte_alphabet.h"
#include "text/utf8.h"

enum { CACHED_WORD_BYTES = 256 }; /* a longer word is unlikely to come back */

pons_status pons_bpe_add_merge(pons_bpe *bpe, const char *left, int64_t left_bytes,
                               const char *right, int64_t right_bytes, int32_t rank)
{
    pons_status st = PONS_OK;
    int64_t a, b, ab;
    pons_bytes joined = {0};
    PONS_TRY(st, pons_bytes_append(&joined, left, left_bytes));
    PONS_TRY(st, pons_bytes_append(&joined, right, right_bytes));
    if (!pons_map_get(&bpe->vocab, left, left_bytes, &a) ||
        !pons_map_get(&bpe->vocab, right, right_bytes, &b) ||
        !pons_map_get(&bpe->vocab, joined.data, joined.count, &ab)) {
        st = pons_fail(PONS_ERR_INPUT,
                       "merge %d (\"%.*s\" with \"%.*s\"): a part or the result is not in the "
                       "vocabulary",
                       rank, (int)left_bytes, left, (int)right_bytes, right);
        goto done;
    }
    st = pons_merges_put(&bpe->merges, (pons_merge){(int32_t)a, (int32_t)b, rank, (int32_t)ab});
done:
    pons_bytes_free(&joined);
    return st;
}

void pons_bpe_find_bytes(pons_bpe *bpe)
{
    for (int i = 0; i < 256; i++) {
        char name[8];
        int64_t id;
        snprintf(name, sizeof name, "<0x%02X>", (unsigned)i);
        bpe->byte_ids[i] = pons_map_get(&bpe->vocab, name, 6, &id) ? (int32_t)id : -1;
    }
}

static pons_status unencodable(int32_t character)
{
    int byte = pons_byte_alphabet_byte(character);
    char note[48] = "";
    if (byte >= 0 && character > 126)
        snprintf(note, sizeof note, " (byte 0x%02x in a byte-level alphabet)", byte);
    return pons_fail(PONS_ERR_INPUT,
                     "the text has the character U+%04X%s, for which the tokenizer has no token, "
                     "no byte fallback and no unknown token",
                     (unsigned)character, note);
}

static void push_symbol(pons_bpe_work *work, int32_t id)
{
    int32_t at = (int32_t)work->symbol_count++;
    work->symbols[at] = (pons_symbol){id, at - 1, at + 1};
}

/* Characters to tokens. Unknown ones wait in `unknown` so that neighbours can be fused; byte
 * tokens pass by a waiting one without flushing it, as in the original. */
static pons_status seed(const pons_bpe *bpe, pons_bpe_work *work, const char *word, int64_t bytes)
{
    if (bytes > INT32_MAX)
        return pons_fail(PONS_ERR_INPUT, "a word of %lld bytes is longer than the allowed 2^31 - 1",
                         (long long)bytes);
    void *block = work->symbols;
    pons_status st = pons_grow(&block, &work->symbol_capacity, bytes, sizeof *work->symbols);
    if (st != PONS_OK) return st;
    work->symbols = block;
    work->symbol_count = 0;
    bool waiting = false;
    for (int64_t i = 0; i < bytes;) {
        int n = pons_utf8_length(word + i);
        int64_t id;
        if (pons_map_get(&bpe->vocab, word + i, n, &id)) {
            if (waiting) push_symbol(work, bpe->unk);
            waiting = false;
            push_symbol(work, (int32_t)id);
        } else {
            bool all = bpe->byte_fallback;
            for (int k = 0; k < n && all; k++)
                all = bpe->byte_ids[(unsigned char)word[i + k]] >= 0;
            if (all) {
                for (int k = 0; k < n; k++)
                    push_symbol(work, bpe->byte_ids[(unsigned char)word[i + k]]);
            } else if (bpe->unk < 0) {
                return unencodable(pons_utf8_decode(word + i));
            } else {
                if (waiting && !bpe->fuse_unk) push_symbol(work, bpe->unk);
                waiting = true;
            }
        }
        i += n;
    }
    if (waiting) push_symbol(work, bpe->unk);
    work->symbols[work->symbol_count - 1].next = -1;
    return PONS_OK;
}

static void heap_push(pons_bpe_work *work, uint64_t key)
{
    int64_t i = work->heap_count++;
    for (; i > 0 && work->heap[(i - 1) / 2] > key; i = (i - 1) / 2)
        work->heap[i] = work->heap[(i - 1) / 2];
    work->heap[i] = key;
}

static uint64_t heap_pop(pons_bpe_work *work)
{
    uint64_t top = work->heap[0], last = work->heap[--work->heap_count];
    int64_t i = 0, n = work->heap_count;
    for (;;) {
        int64_t child = 2 * i + 1;
        if (child >= n) break;
        if (child + 1 < n && work->heap[child + 1] < work->heap[child]) child++;
        if (work->heap[child] >= last) break;
        work->heap[i] = work->heap[child];
        i = child;
    }
    work->heap[i] = last;
    return top;
}

/* The merge of the symbol at `position` with its right neighbour, NULL when there is none. */
static const pons_merge *merge_at(const pons_bpe *bpe, const pons_bpe_work *work, int32_t position)
{
    const pons_symbol *left = &work->symbols[position];
    if (left->id < 0 || left->next < 0) return NULL;
    return pons_merges_get(&bpe->merges, left->id, work->symbols[left->next].id);
}

static void consider(const pons_bpe *bpe, pons_bpe_work *work, int32_t position)
{
    const pons_merge *merge = merge_at(bpe, work, position);
    if (merge) heap_push(work, (uint64_t)merge->rank << 32 | (uint32_t)position);
}

static pons_status merge_all(const pons_bpe *bpe, pons_bpe_work *work)
{
    /* Each of at most n - 1 merges takes one entry and adds at most two. */
    void *block = work->heap;
    pons_status st =
        pons_grow(&block, &work->heap_capacity, 2 * work->symbol_count, sizeof *work->heap);
    if (st != PONS_OK) return st;
    work->heap = block;
    work->heap_count = 0;
    for (int64_t i = 0; i + 1 < work->symbol_count; i++)
        consider(bpe, work, (int32_t)i);
    while (work->heap_count) {
        uint64_t key = heap_pop(work);
        int32_t position = (int32_t)(uint32_t)key;
        const pons_merge *merge = merge_at(bpe, work, position);
        if (!merge || (uint64_t)merge->rank != key >> 32) continue;
        pons_symbol *left = &work->symbols[position], *right = &work->symbols[left->next];
        left->id = merge->result;
        left->next = right->next;
        right->id = -1;
        if (left->next >= 0) work->symbols[left->next].previous = position;
        if (left->previous >= 0) consider(bpe, work, left->previous);
        consider(bpe, work, position);
    }
    return PONS_OK;
}

pons_status pons_bpe_encode(const pons_bpe *bpe, pons_bpe_work *work, const char *word,
                            int64_t bytes, pons_ids *out)
{
    pons_status st = PONS_OK;
    int64_t found;
    bool cached = bytes <= CACHED_WORD_BYTES;
    if (bytes == 0) return PONS_OK;
    if (cached && pons_map_get(&work->words, word, bytes, &found))
        return pons_ids_append(out, work->ids.data + (found >> 16), found & 0xffff);
    int64_t start = out->count;
    if (bpe->ignore_merges && pons_map_get(&bpe->vocab, word, bytes, &found)) {
        int32_t id = (int32_t)found;
        PONS_TRY(st, pons_ids_append(out, &id, 1));
    } else {
        PONS_TRY(st, seed(bpe, work, word, bytes));
        PONS_TRY(st, merge_all(bpe, work));
        for (int32_t i = 0; i >= 0; i = work->symbols[i].next)
            PONS_TRY(st, pons_ids_append(out, &work->symbols[i].id, 1));
    }
    if (cached) {
        int64_t offset = work->ids.count, count = out->count - start;
        PONS_TRY(st, pons_ids_append(&work->ids, out->data + start, count));
        PONS_TRY(st, pons_map_put(&work->words, word, bytes, offset << 16 | count));
    }
done:
    return st;
}

void pons_bpe_free(pons_bpe *bpe)
{
    pons_map_free(&bpe->vocab);
    pons_merges_free(&bpe->merges);
}

void pons_bpe_work_free(pons_bpe_work *work)
{
    pons_mem_free(work->symbols);
    pons_mem_free(work->heap);
    pons_map_free(&work->words);
    pons_ids_free(&work->ids);
    *work = (pons_bpe_work){0};
}
