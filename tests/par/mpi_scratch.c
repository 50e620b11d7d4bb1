/* Blocks of a node in files: zeros at first, one for all ranks, of teams and of one rank, too; no name is left; a full
 * disk and a directory that is not there are one sentence on every rank. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "par/shared.h"
#include "support/mpi_harness.h"

enum { N = 1000003 };

static int count_files(const char *directory)
{
    int files = 0;
    DIR *d = opendir(directory);
    for (struct dirent *e; d && (e = readdir(d));)
        files += e->d_name[0] != '.';
    if (d) closedir(d);
    return d ? files : -1;
}

/* Whether an address lies in a file that was made in the directory and has no name any more. */
static bool lies_in(const void *data, const char *directory)
{
    char line[1024], *end = NULL;
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && !found && fgets(line, sizeof line, maps)) {
        uintptr_t from = strtoul(line, &end, 16), to = strtoul(end + 1, NULL, 16);
        found = (uintptr_t)data >= from && (uintptr_t)data < to && strstr(line, directory) &&
                strstr(line, "(deleted)");
    }
    if (maps) fclose(maps);
    return found;
}

static void test_block(pons_comm *comm, const char *directory)
{
    pons_shared *s = NULL, *small = NULL;
    CHECK(pons_shared_create_zeroed(comm, N * sizeof(int), &s) == PONS_OK);
    int *x = pons_shared_data(s), rank = pons_shared_rank(s), size = pons_shared_size(s);
    CHECK(size == pons_comm_size(comm)); /* the tests run on one node */
    CHECK(lies_in(x, directory));
    int wrong = 0;
    for (int i = 0; i < N; i++)
        wrong += x[i] != 0;
    pons_shared_settle(s); /* all have looked */
    for (int i = rank; i < N; i += size)
        x[i] = i + 1;
    pons_shared_settle(s);
    for (int i = 0; i < N; i++)
        wrong += x[i] != i + 1;
    CHECK(wrong == 0);
    CHECK(pons_shared_create(comm, 100, &small) == PONS_OK);
    CHECK(!lies_in(pons_shared_data(small), directory));
    pons_shared_destroy(&small);
    pons_shared_destroy(&s);
    CHECK(s == NULL);
}

/* The same sentence on every rank. */
static bool agreed(pons_comm *comm)
{
    char text[PONS_ERROR_MESSAGE_BYTES];
    snprintf(text, sizeof text, "%s", pons_error_message());
    pons_comm_bcast(comm, text, sizeof text, 0);
    return pons_comm_all(comm, !strcmp(text, pons_error_message()));
}

static void test_full(pons_comm *comm, const char *directory)
{
    struct statvfs disk;
    pons_shared *s = NULL;
    char bytes[32];
    CHECK(statvfs(directory, &disk) == 0);
    size_t more = 2 * (size_t)disk.f_blocks * disk.f_frsize;
    if (more == 0) return; /* a file system without a limit */
    CHECK(pons_shared_create(comm, more, &s) == PONS_ERR_IO);
    CHECK(s == NULL);
    snprintf(bytes, sizeof bytes, " %zu bytes", more);
    CHECK(strstr(pons_error_message(), directory));
    CHECK(strstr(pons_error_message(), bytes));
    CHECK(agreed(comm));
}

static void test_directory(pons_comm *comm, const char *directory)
{
    const char *wrong[] = {"/nowhere/at/all", "/proc/self/status", "/proc/self/fdinfo"};
    for (int i = 0; i < 3; i++) {
        CHECK(pons_shared_use_scratch(comm, wrong[i], "recipe: layout.scratch") == PONS_ERR_CONFIG);
        CHECK(strstr(pons_error_message(), "recipe: layout.scratch: found"));
        CHECK(strstr(pons_error_message(), wrong[i]));
        CHECK(agreed(comm));
        CHECK(pons_comm_scratch(comm) == NULL);
    }
    CHECK(pons_shared_use_scratch(comm, directory, "name") == PONS_OK);
    CHECK(pons_comm_scratch(comm) == directory);
}

static void test(pons_comm *comm)
{
    char directory[] = "/dev/shm/pons-test-XXXXXX"; /* a disk whose size is told, and kept */
    pons_comm *team = NULL;
    if (pons_comm_rank(comm) == 0) CHECK(mkdtemp(directory) != NULL);
    pons_comm_bcast(comm, directory, sizeof directory, 0);
    test_directory(comm, directory);
    test_block(comm, directory);
    CHECK(pons_comm_split(comm, pons_comm_rank(comm) % 2, &team) == PONS_OK);
    test_block(team, directory);
    pons_comm_free(&team);
    test_full(comm, directory);
    pons_comm_barrier(comm);
    CHECK(count_files(directory) == 0);
    CHECK(pons_shared_use_scratch(comm, NULL, NULL) == PONS_OK);
    CHECK(pons_comm_scratch(comm) == NULL);
    pons_comm_barrier(comm);
    if (pons_comm_rank(comm) == 0) CHECK(rmdir(directory) == 0);
}

int main(int argc, char **argv) { return pons_test_mpi_main(argc, argv, test); }
