/* Another program's view: two runs through include/pons/pons.h, one good and one refused, inside a program that has
 * started MPI itself. */
#include "pons/pons.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/file.h"
#include "support/mpi_harness.h"

static void count_lines(int level, const char *line, void *user)
{
    CHECK(level >= 0 && level <= 3 && !strchr(line, '\n'));
    ++*(int *)user;
}

static void test(pons_comm *comm)
{
    int lines = 0;
    CHECK(pons_begin(NULL, NULL) == PONS_OK);
    CHECK(pons_rank() == pons_comm_rank(comm));
    pons_log_to(2, count_lines, &lines);

    char model[1024], out[1024];
    snprintf(model, sizeof model, "%s/models/llama-gqa", getenv("PONS_FIXTURES"));
    snprintf(out, sizeof out, "%s/api.run.n%d", getenv("PONS_BUILD"), pons_comm_size(comm));
    const char *const set[] = {"method=rtn", "rotation.kind=none"};
    pons_run_options options = {.set = set, .set_count = 2, .model = model, .out = out, .force = 1};
    char *report = NULL;
    CHECK(pons_run(&options, &report) == PONS_OK);
    CHECK((report != NULL) == (pons_rank() == 0));
    CHECK((lines > 0) == (pons_rank() == 0));
    if (report) {
        json_t *object = json_loads(report, 0, NULL);
        CHECK(!strcmp(json_string_value(json_object_get(object, "method")), "rtn"));
        CHECK(json_integer_value(json_object_get(object, "linears")) == 21);
        json_decref(object);
    }
    free(report);
    CHECK(pons_run(&options, NULL) == PONS_OK);

    options.force = 0;
    CHECK(pons_run(&options, &report) == PONS_ERR_EXISTS);
    CHECK(strstr(pons_error_message(), out) != NULL);

    pons_log_to(0, NULL, NULL);
    pons_end();
    pons_comm_barrier(comm); /* MPI is still the program's */
    if (pons_comm_rank(comm) == 0) {
        char run[1040];
        snprintf(run, sizeof run, "%s.run", out);
        CHECK(pons_dir_remove(out) == PONS_OK);
        CHECK(pons_dir_remove(run) == PONS_OK);
    }
}

int main(int argc, char **argv) { return pons_test_mpi_main(argc, argv, test); }
