/* Another program's view under MPI: two sessions that hear only what is theirs, runs that succeed, are refused, are
 * cancelled and resumed, with and without a communicator. */
#include "pons/pons.h"

#include <jansson.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "support/mpi_harness.h"

typedef struct listener {
    int lines, steps, asked, cancel_after; /* 0: never */
    int64_t last_done, last_total;
} listener;

static void count_lines(int level, const char *line, void *user)
{
    CHECK(level >= PONS_LEVEL_ERROR && level <= PONS_LEVEL_DEBUG && !strchr(line, '\n'));
    ((listener *)user)->lines++;
}

static void note_progress(const char *step, int64_t done, int64_t total, void *user)
{
    listener *l = user;
    CHECK(*step && done >= 0 && done <= total);
    l->steps++;
    l->last_done = done;
    l->last_total = total;
}

static int cancel(void *user)
{
    listener *l = user;
    return ++l->asked > l->cancel_after && l->cancel_after > 0;
}

static pons_session *open_session(MPI_Comm comm, listener *l)
{
    pons_session_options o = PONS_SESSION_OPTIONS_INIT;
    pons_session *session = NULL;
    o.comm = comm;
    o.threads = 1;
    o.user = l;
    o.log = count_lines;
    o.progress = note_progress;
    o.cancel = cancel;
    CHECK(pons_session_open(&o, &session) == PONS_OK);
    return session;
}

static const char *const set[] = {"method=rtn", "rotation.kind=none"};

static pons_run_options run_options(const char *model, const char *out)
{
    pons_run_options o = PONS_RUN_OPTIONS_INIT;
    o.set = set;
    o.set_count = 2;
    o.model = model;
    o.out = out;
    return o;
}

/* A digest of all codes. */
static uint64_t codes_of(const char *out)
{
    pons_packed *model = NULL;
    pons_packed_linear linear = PONS_PACKED_LINEAR_INIT;
    uint64_t sum = 14695981039346656037u;
    CHECK(pons_packed_open(out, &model) == PONS_OK);
    for (int64_t k = 0; model && k < pons_packed_count(model); k++) {
        CHECK(pons_packed_describe(model, k, &linear) == PONS_OK);
        CHECK(linear.bits == 4 && linear.groups == 1);
        int8_t *codes = malloc((size_t)(linear.rows * linear.cols)),
               *zeros = malloc((size_t)linear.rows);
        float *scales = malloc((size_t)linear.rows * sizeof *scales);
        CHECK(pons_packed_read_codes(model, k, codes, scales, zeros) == PONS_OK);
        for (int64_t i = 0; i < linear.rows * linear.cols; i++)
            sum = (sum ^ (uint8_t)codes[i]) * 1099511628211u;
        free(scales);
        free(zeros);
        free(codes);
    }
    pons_packed_close(&model);
    return sum;
}

static void remove_run(const char *out)
{
    char run[1100];
    snprintf(run, sizeof run, "%s.run", out);
    CHECK(pons_dir_remove(out) == PONS_OK);
    CHECK(pons_dir_remove(run) == PONS_OK);
}

static void check_report(const char *report)
{
    json_t *object = json_loads(report, 0, NULL);
    CHECK(!strcmp(json_string_value(json_object_get(object, "method")), "rtn"));
    CHECK(json_integer_value(json_object_get(object, "linears")) == 21);
    json_decref(object);
}

static void test_runs(pons_comm *comm, const char *model, const char *out)
{
    listener ours = {0}, other = {0};
    bool first = pons_comm_rank(comm) == 0;
    pons_session *session = open_session(MPI_COMM_WORLD, &ours),
                 *second = open_session(MPI_COMM_WORLD, &other);
    CHECK(pons_session_rank(session) == pons_comm_rank(comm));
    CHECK(pons_session_size(session) == pons_comm_size(comm));

    pons_run_options options = run_options(model, out);
    char *report = NULL;
    CHECK(pons_run(session, &options, &report) == PONS_OK);
    CHECK((report != NULL) == first);
    CHECK((ours.lines > 0) == first && other.lines == 0);
    CHECK((ours.steps > 0) == first && other.steps == 0);
    CHECK(ours.last_done == ours.last_total && ours.asked > 0);
    if (report) check_report(report);
    free(report);

    /* refused on the other session; the first one hears nothing of it */
    int lines = ours.lines;
    CHECK(pons_run(second, &options, &report) == PONS_ERR_EXISTS);
    CHECK(strstr(pons_error_message(), out) != NULL && ours.lines == lines);
    uint64_t expected = first ? codes_of(out) : 0;
    pons_comm_barrier(comm);
    if (first) remove_run(out);
    pons_comm_barrier(comm);

    /* cancelled on one rank after the first block, resumed to the same codes by the other session */
    if (pons_comm_rank(comm) == pons_comm_size(comm) - 1) ours.cancel_after = ours.asked * 3 / 2;
    CHECK(pons_run(session, &options, NULL) == PONS_STOPPED);
    CHECK(strstr(pons_error_message(), "cancelled") != NULL);
    options.resume = 1;
    CHECK(pons_run(second, &options, NULL) == PONS_OK);
    CHECK((other.lines > 0) == first);
    if (first) {
        CHECK(codes_of(out) == expected);
        remove_run(out);
    }
    pons_session_close(&second);
    pons_session_close(&session);
}

/* Ranks by themselves, though MPI runs: nobody waits for another. */
static void test_alone(pons_comm *comm, const char *model, const char *out)
{
    listener l = {0};
    char own[1060];
    int rank = pons_comm_rank(comm);
    if (rank > 1) return;
    snprintf(own, sizeof own, "%s.alone%d", out, rank);
    pons_session *session = open_session(MPI_COMM_NULL, &l);
    CHECK(pons_session_rank(session) == 0 && pons_session_size(session) == 1);
    pons_run_options options = run_options(model, own);
    CHECK(pons_run(session, &options, NULL) == PONS_OK);
    CHECK(l.lines > 0 && l.steps > 0);
    remove_run(own);
    pons_session_close(&session);
}

static void test_versions(void)
{
    pons_session *session = NULL;
    pons_session_options o = PONS_SESSION_OPTIONS_INIT;
    o.version = PONS_API_VERSION + 1;
    CHECK(pons_session_open(&o, &session) == PONS_ERR_USAGE && !session);
    o.version = PONS_API_VERSION;
    o.size += 8;
    CHECK(pons_session_open(&o, &session) == PONS_ERR_USAGE && !session);
    memset(&o, 0, sizeof o);
    CHECK(pons_session_open(&o, &session) == PONS_ERR_USAGE && !session);
    o = (pons_session_options)PONS_SESSION_OPTIONS_INIT;
    o.size = offsetof(pons_session_options, cancel); /* as if cancel had been added later */
    o.cancel = cancel;
    CHECK(pons_session_open(&o, &session) == PONS_OK && session);
    pons_session_close(&session);
    pons_session_close(&session);
}

static void test(pons_comm *comm)
{
    char model[1024], out[1024];
    snprintf(model, sizeof model, "%s/models/llama-gqa", getenv("PONS_FIXTURES"));
    snprintf(out, sizeof out, "%s/api.session.n%d", getenv("PONS_BUILD"), pons_comm_size(comm));
    test_versions();
    test_runs(comm, model, out);
    test_alone(comm, model, out);
    pons_comm_barrier(comm); /* MPI is still the program's */
}

int main(int argc, char **argv) { return pons_test_mpi_main(argc, argv, test); }
