/* Owns the events of this rank and their way into one file. Does not decide what a phase is. */
#include "pipeline/trace.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/file.h"

static const char *const names[] = {
#define NAME(phase, name) name,
    PONS_PHASE_LIST(NAME)
#undef NAME
};

typedef struct event {
    double start, end; /* pons_clock */
    int64_t block;
    int32_t phase;
    int32_t behind; /* on a thread of its own */
} event;

struct pons_trace {
    double origin;
    int64_t block;
    event *events; /* [count], in the order of their ends but for those behind */
    int64_t count, capacity;
    double seconds[PONS_PHASES]; /* of phases; WAIT: of all communication */
    double waited[PONS_PHASES];  /* of these, inside communication */
    double memory[PONS_PHASES];  /* bytes, largest resident set */
    double peak;                 /* of the whole job */
};

/* Shorter ones cost more than they tell. */
static const double SHORTEST = 20e-6, SHORTEST_WRITTEN = 100e-6;

/* A trace that cannot grow loses its last events: the job goes on. */
static void add(pons_trace *t, event e)
{
    if (t->count == t->capacity) {
        int64_t capacity = 2 * t->capacity;
        event *events =
            pons_mem_resize(t->events, (size_t)t->count * sizeof *events, capacity, sizeof *events);
        if (!events) return;
        t->events = events;
        t->capacity = capacity;
    }
    t->events[t->count++] = e;
}

/* The largest resident set since the last call, in bytes: Linux forgets it when told to; where it is not
 * allowed, since the process began. */
static double take_resident(pons_trace *t)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (file) {
        fputs("5", file);
        fclose(file);
    }
    double bytes = 1024.0 * (double)usage.ru_maxrss;
    t->peak = fmax(t->peak, bytes);
    return bytes;
}

static void note_wait(void *user, double start, double end)
{
    pons_trace *t = user;
    t->seconds[PONS_PHASE_WAIT] += end - start;
    if (end - start >= SHORTEST) add(t, (event){start, end, t->block, PONS_PHASE_WAIT, false});
}

pons_status pons_trace_begin(pons_comm *comm, pons_trace **out)
{
    enum { FIRST = 1024 };
    pons_status st = PONS_OK;
    pons_trace *t = pons_mem_calloc(1, sizeof *t);
    *out = NULL;
    if (t) t->events = pons_mem_alloc(FIRST, sizeof *t->events);
    PONS_TRY_ALL(st, comm, t && t->events ? PONS_OK : PONS_ERR_NOMEM);
    t->capacity = FIRST;
    t->block = -1;
    pons_comm_barrier(comm);
    take_resident(t);
    t->origin = pons_clock();
    pons_comm_set_watch(note_wait, t);
    *out = t;
    return PONS_OK;
done:
    pons_trace_end(&t);
    return st;
}

void pons_trace_end(pons_trace **trace)
{
    if (!*trace) return;
    pons_comm_set_watch(NULL, NULL);
    pons_mem_free((*trace)->events);
    pons_mem_free(*trace);
    *trace = NULL;
}

void pons_trace_set_block(pons_trace *t, int64_t block) { t->block = block; }

double pons_trace_phase(pons_trace *t, pons_phase phase, double start)
{
    double end = pons_clock();
    for (int64_t i = t->count; i-- > 0 && (t->events[i].end > start || t->events[i].behind);)
        if (t->events[i].phase == PONS_PHASE_WAIT && t->events[i].start >= start)
            t->waited[phase] += t->events[i].end - t->events[i].start;
    t->seconds[phase] += end - start;
    t->memory[phase] = fmax(t->memory[phase], take_resident(t));
    if (end - start >= SHORTEST) add(t, (event){start, end, t->block, (int32_t)phase, false});
    return end - start;
}

void pons_trace_behind(pons_trace *t, pons_phase phase, int64_t block, pons_task_span span)
{
    add(t, (event){span.start, span.end, block, (int32_t)phase, true});
}

double pons_trace_peak(pons_trace *t)
{
    take_resident(t);
    return t->peak;
}

/* ---- The file */

static bool is_written(const event *e) { return e->end - e->start >= SHORTEST_WRITTEN; }

/* The first n events worth writing, their times from the origin on. @param out [n] */
static void select_events(const pons_trace *t, int64_t n, event *out)
{
    for (int64_t i = 0, k = 0; k < n; i++) {
        event e = t->events[i];
        if (!is_written(&e)) continue;
        e.start -= t->origin;
        e.end -= t->origin;
        out[k++] = e;
    }
}

/* @param lane of what goes on behind */
static void print_events(FILE *file, int rank, int lane, int team, int64_t n, const event *events)
{
    for (int64_t i = 0; i < n; i++) {
        const event *e = &events[i];
        fprintf(file,
                ",\n{\"name\":\"%s\",\"ph\":\"X\",\"ts\":%.1f,\"dur\":%.1f,\"pid\":%d,\"tid\":%d",
                names[e->phase], 1e6 * e->start, 1e6 * (e->end - e->start), team,
                e->behind ? lane : rank);
        if (e->block >= 0) fprintf(file, ",\"args\":{\"block\":%lld}", (long long)e->block);
        fputc('}', file);
    }
}

static void print_thread(FILE *file, const char *what, int rank, int lane, int team)
{
    fprintf(file,
            ",\n{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":%d,\"tid\":%d,\"args\":{\"name\":"
            "\"%s %d\"}}",
            team, lane, what, rank);
}

/* Rank 0: its own events and those that the others send. @param buffer room for those of any rank */
static pons_status collect(pons_comm *comm, int team_size, int tag, event *buffer,
                           const int64_t *counts, const char *path)
{
    char *text = NULL;
    size_t bytes = 0;
    pons_status st = PONS_OK;
    FILE *file = open_memstream(&text, &bytes);
    if (file) fputs("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n", file);
    for (int r = 0, size = pons_comm_size(comm); r < size; r++) {
        if (r) pons_comm_recv(comm, buffer, (size_t)counts[r] * sizeof *buffer, r, tag);
        if (!file) continue;
        fprintf(file,
                "%s{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":%d,\"args\":{\"name\":"
                "\"team %d\"}}",
                r ? ",\n" : "", r / team_size, r / team_size);
        print_thread(file, "rank", r, r, r / team_size);
        print_thread(file, "behind rank", r, size + r, r / team_size);
        print_events(file, r, size + r, r / team_size, counts[r], buffer);
    }
    if (file) fputs("\n]}\n", file);
    if (!file || fclose(file) != 0) st = pons_fail(PONS_ERR_NOMEM, "out of memory for the trace");
    if (st == PONS_OK) st = pons_file_write(path, text, bytes);
    free(text);
    return st;
}

pons_status pons_trace_write(pons_trace *t, pons_comm *comm, int team_size, const char *path)
{
    enum { TAG = 11 };
    pons_status st = PONS_OK, local = PONS_OK;
    int rank = pons_comm_rank(comm), size = pons_comm_size(comm);
    event *buffer = NULL;
    int64_t *counts = pons_mem_calloc(size, sizeof *counts), most = 0;
    PONS_TRY_ALL(st, comm, counts ? PONS_OK : PONS_ERR_NOMEM);
    for (int64_t i = 0; i < t->count; i++)
        counts[rank] += is_written(&t->events[i]);
    pons_comm_sum_i64(comm, counts, size);
    for (int r = 0; r < size; r++)
        if ((rank == 0 || r == rank) && counts[r] > most) most = counts[r];
    buffer = pons_mem_alloc(most, sizeof *buffer);
    PONS_TRY_ALL(st, comm, buffer ? PONS_OK : PONS_ERR_NOMEM);
    select_events(t, counts[rank], buffer);
    if (rank == 0)
        local = collect(comm, team_size, TAG, buffer, counts, path);
    else
        pons_comm_send(comm, buffer, (size_t)counts[rank] * sizeof *buffer, 0, TAG);
    PONS_TRY_ALL(st, comm, local);
done:
    pons_mem_free(buffer);
    pons_mem_free(counts);
    return st;
}

/* ---- In short */

static json_t *describe(int teams, double wall, const double *waited, int team_size,
                        const double *useful, const double *longest, const double *memory, int size)
{
    json_t *idle = json_array(), *efficiency = json_object(), *bytes = json_object();
    for (int k = 0; k < teams; k++)
        json_array_append_new(idle, json_real(waited[k] / (wall * team_size)));
    for (int p = 0; p < PONS_PHASE_WAIT; p++)
        if (longest[p] > 0)
            json_object_set_new(efficiency, names[p],
                                json_real(useful[p] / (longest[p] * (double)size)));
    for (int p = 0; p < PONS_PHASE_WAIT; p++)
        if (memory[p] > 0)
            json_object_set_new(bytes, names[p], json_integer((json_int_t)memory[p]));
    return json_pack("{s:o, s:o, s:o}", "idle", idle, "efficiency", efficiency, "memory", bytes);
}

pons_status pons_trace_summarize(pons_trace *t, pons_comm *comm, int team_size, json_t **out)
{
    pons_status st = PONS_OK;
    int rank = pons_comm_rank(comm), size = pons_comm_size(comm), teams = size / team_size;
    double useful[PONS_PHASES], longest[PONS_PHASES], wall = pons_clock() - t->origin;
    double *waited = pons_mem_calloc(teams, sizeof *waited);
    *out = NULL;
    PONS_TRY_ALL(st, comm, waited ? PONS_OK : PONS_ERR_NOMEM);
    waited[rank / team_size] = t->seconds[PONS_PHASE_WAIT];
    for (int p = 0; p < PONS_PHASES; p++) {
        useful[p] = t->seconds[p] - t->waited[p];
        longest[p] = t->seconds[p];
    }
    pons_comm_sum_f64(comm, waited, teams);
    pons_comm_sum_f64(comm, useful, PONS_PHASES);
    pons_comm_max_f64(comm, longest, PONS_PHASES);
    pons_comm_max_f64(comm, t->memory, PONS_PHASES);
    if (rank == 0) {
        *out = describe(teams, wall, waited, team_size, useful, longest, t->memory, size);
        if (!*out) st = pons_fail(PONS_ERR_NOMEM, "out of memory for the report");
    }
    PONS_TRY_ALL(st, comm, st);
done:
    pons_mem_free(waited);
    return st;
}
