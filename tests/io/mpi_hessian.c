/* Hessian files: written by 1 to 4 ranks, read back equal; a flipped byte is noticed; what cannot
 * be created or written fails on every rank with one code, and nothing is left behind. */
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "io/file.h"
#include "io/hessian_file.h"
#include "support/mpi_harness.h"

static char directory[64];

static const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

/* Symmetric, all entries different above the diagonal. */
static double entry(int64_t i, int64_t j)
{
    return 1.0 / (double)(3 + i + j) + (double)(i * j) + (double)(i + j) * 1e-3;
}

static void fill(int64_t d, double **H, double **norm)
{
    *H = pons_mem_alloc(d * d, sizeof **H);
    *norm = pons_mem_alloc(d, sizeof **norm);
    for (int64_t i = 0; i < d; i++) {
        (*norm)[i] = 0.5 + (double)i;
        for (int64_t j = 0; j < d; j++)
            (*H)[i * d + j] = entry(i, j);
    }
}

static const pons_hessian_attributes attributes = {128, 262144, 3, 0.01, "abc123"};

static pons_status write_group(pons_hessian_file *file, const char *group, int64_t d)
{
    double *H, *norm;
    fill(d, &H, &norm);
    pons_status st = pons_hessian_file_write(file, group, d, H, norm);
    pons_mem_free(H);
    pons_mem_free(norm);
    return st;
}

static void check_group(const char *path, const char *group, int64_t d)
{
    double *H, *norm, *expected_H, *expected_norm;
    int64_t got = 0;
    pons_status st = pons_hessian_file_read(path, group, &got, &H, &norm);
    CHECK(st == PONS_OK);
    CHECK(got == d);
    if (st != PONS_OK) return;
    fill(d, &expected_H, &expected_norm);
    CHECK(!memcmp(H, expected_H, (size_t)(d * d) * sizeof *H));
    CHECK(!memcmp(norm, expected_norm, (size_t)d * sizeof *norm));
    pons_mem_free(norm);
    pons_hessian_reader *reader;
    CHECK(pons_hessian_reader_open(path, group, &got, &norm, &reader) == PONS_OK);
    for (int pass = 0; pass < 2; pass++) { /* row 0 begins again */
        memset(H, 0, (size_t)(d * d) * sizeof *H);
        for (int64_t row = 0; row < d; row += 300) {
            int64_t rows = d - row < 300 ? d - row : 300;
            CHECK(pons_hessian_reader_rows(reader, row, rows, H + row * d) == PONS_OK);
        }
        CHECK(!memcmp(H, expected_H, (size_t)(d * d) * sizeof *H));
    }
    CHECK(!memcmp(norm, expected_norm, (size_t)d * sizeof *norm));
    pons_hessian_reader_close(&reader);
    pons_mem_free(expected_H);
    pons_mem_free(expected_norm);
    pons_mem_free(H);
    pons_mem_free(norm);
}

/* d = 1, 5: one chunk, so most ranks write nothing. 1100: three chunks of 476 rows. 1500: six. */
static void round_trip(pons_comm *comm)
{
    const char *groups[] = {"qkv", "o", "gate_up", "down"};
    const int64_t d[] = {5, 1, 1100, 1500};
    char path[128], part[160];
    pons_hessian_file *file;
    snprintf(path, sizeof path, "%s", path_of("block-000.h5"));
    snprintf(part, sizeof part, "%s.part", path);
    CHECK(pons_hessian_file_create(comm, path, &attributes, &file) == PONS_OK);
    for (int g = 0; g < 4; g++)
        CHECK(write_group(file, groups[g], d[g]) == PONS_OK);
    CHECK(!pons_file_exists(path));
    pons_comm_barrier(comm);
    CHECK(pons_hessian_file_commit(&file) == PONS_OK);
    CHECK(!file);
    CHECK(pons_file_exists(path));
    CHECK(!pons_file_exists(part));
    for (int g = 0; g < 4; g++)
        check_group(path, groups[g], d[g]);

    pons_hessian_attributes a;
    char *fingerprint = NULL;
    CHECK(pons_hessian_file_read_attributes(path, &a, &fingerprint) == PONS_OK);
    CHECK(a.windows == 128 && a.tokens == 262144 && a.wave == 3 && a.damping == 0.01);
    CHECK(a.fingerprint == fingerprint && fingerprint && !strcmp(fingerprint, "abc123"));
    pons_mem_free(fingerprint);
    pons_comm_barrier(comm);
}

static void refusals(void)
{
    int64_t d;
    double *H, *norm;
    CHECK(pons_hessian_file_read(path_of("absent.h5"), "o", &d, &H, &norm) == PONS_ERR_IO);
    CHECK(strstr(pons_error_message(), "cannot open "));
    CHECK(pons_hessian_file_read(path_of("block-000.h5"), "other", &d, &H, &norm) ==
          PONS_ERR_INPUT);
    CHECK(strstr(pons_error_message(), "block-000.h5: other/H"));
    CHECK(pons_hessian_file_read("/proc/self/exe", "o", &d, &H, &norm) == PONS_ERR_INPUT);
}

/* Rank 0 changes one bit of a known entry, then of a norm, in a copy of the file. */
static void flipped_bit(pons_comm *comm)
{
    if (pons_comm_rank(comm)) return;
    char *bytes;
    size_t n;
    int64_t d;
    double *H, *norm;
    CHECK(pons_file_read(path_of("block-000.h5"), &bytes, &n) == PONS_OK);
    const double wanted[] = {entry(700, 701), 0.5 + 1307};
    const char *groups[] = {"gate_up", "down"};
    for (int k = 0; k < 2; k++) {
        char *at = memmem(bytes, n, &wanted[k], sizeof wanted[k]);
        CHECK(at);
        if (!at) continue;
        at[2] ^= 16;
        CHECK(pons_file_write(path_of("damaged.h5"), bytes, n) == PONS_OK);
        CHECK(pons_hessian_file_read(path_of("damaged.h5"), groups[k], &d, &H, &norm) ==
              PONS_ERR_INPUT);
        CHECK(strstr(pons_error_message(), "damaged.h5"));
        CHECK(strstr(pons_error_message(), "letcher32") ||
              strstr(pons_error_message(), "filter returned failure")); /* HDF5 1.10, 1.14 */
        check_group(path_of("damaged.h5"), "o", 1);
        at[2] ^= 16;
    }
    for (size_t cut = 0; cut < n; cut += n / 7) {
        CHECK(pons_file_write(path_of("damaged.h5"), bytes, cut) == PONS_OK);
        CHECK(pons_hessian_file_read(path_of("damaged.h5"), "down", &d, &H, &norm) ==
              PONS_ERR_INPUT);
    }
    pons_mem_free(bytes);
}

static void cannot_create(pons_comm *comm)
{
    pons_hessian_file *file = NULL;
    CHECK(pons_hessian_file_create(comm, path_of("no-such/block-000.h5"), &attributes, &file) ==
          PONS_ERR_IO);
    CHECK(strstr(pons_error_message(), "no-such/block-000.h5.part: No such file or directory"));
    CHECK(!file);
    CHECK(pons_hessian_file_create(comm, "/dev/null/block-000.h5", &attributes, &file) ==
          PONS_ERR_IO);
    CHECK(!file);
    pons_hessian_file_abandon(&file);
}

static void abandoned(pons_comm *comm)
{
    pons_hessian_file *file;
    char path[128], part[160];
    snprintf(path, sizeof path, "%s", path_of("block-001.h5"));
    snprintf(part, sizeof part, "%s.part", path);
    CHECK(pons_hessian_file_create(comm, path, &attributes, &file) == PONS_OK);
    CHECK(write_group(file, "o", 40) == PONS_OK);
    CHECK(pons_file_exists(part));
    CHECK(write_group(file, "o", 40) == PONS_ERR_IO); /* the group is there already */
    CHECK(write_group(file, "down", 40) == PONS_ERR_IO);
    CHECK(pons_hessian_file_commit(&file) == PONS_ERR_IO);
    CHECK(!file);
    CHECK(!pons_file_exists(part) && !pons_file_exists(path));

    CHECK(pons_hessian_file_create(comm, path, &attributes, &file) == PONS_OK);
    pons_hessian_file_abandon(&file);
    CHECK(!pons_file_exists(part) && !pons_file_exists(path));
}

/* A chunk that never reached the disk is all zeros, and so is its fletcher32: only the digest tells.
 * The chunk of a 1 x 1 matrix is 8 bytes and 4 of checksum. */
static void lost_chunk(pons_comm *comm)
{
    if (pons_comm_rank(comm)) return;
    char *bytes;
    size_t n;
    int64_t d;
    double *H, *norm, wanted = entry(0, 0);
    CHECK(pons_file_read(path_of("block-000.h5"), &bytes, &n) == PONS_OK);
    for (char *at = bytes; (at = memmem(at, n - (size_t)(at - bytes), &wanted, 8));)
        memset(at, 0, 12);
    CHECK(pons_file_write(path_of("damaged.h5"), bytes, n) == PONS_OK);
    CHECK(pons_hessian_file_read(path_of("damaged.h5"), "o", &d, &H, &norm) == PONS_ERR_INPUT);
    CHECK(strstr(pons_error_message(), "o/H does not match its digest"));
    pons_mem_free(bytes);
}

/* A limit on file sizes stands for a disk that fills up. */
static void full_disk(pons_comm *comm)
{
    pons_hessian_file *file;
    char path[128], part[160];
    struct rlimit old, limit;
    snprintf(path, sizeof path, "%s", path_of("block-002.h5"));
    snprintf(part, sizeof part, "%s.part", path);
    CHECK(pons_hessian_file_create(comm, path, &attributes, &file) == PONS_OK);
    CHECK(write_group(file, "o", 30) == PONS_OK);
    getrlimit(RLIMIT_FSIZE, &old);
    limit = old;
    limit.rlim_cur = 8 << 20;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    CHECK(write_group(file, "down", 1500) == PONS_ERR_IO);
    CHECK(strstr(pons_error_message(), "block-002.h5.part"));
    CHECK(pons_hessian_file_commit(&file) == PONS_ERR_IO);
    setrlimit(RLIMIT_FSIZE, &old);
    CHECK(!pons_file_exists(part) && !pons_file_exists(path));
}

/* What a killed job leaves of Open MPI's file layer: its semaphore, taken. Without being removed first it stops
 * all ranks for ever. */
static void taken_semaphore(pons_comm *comm)
{
    const char *path = path_of("block-007.h5"), *name = "OMPIO_block-007.h5.part";
    pons_hessian_file *file = NULL;
    if (pons_comm_rank(comm) == 0) {
        sem_t *taken = sem_open(name, O_CREAT, 0600, 0);
        CHECK(taken != SEM_FAILED);
        CHECK(sem_close(taken) == 0);
    }
    pons_comm_barrier(comm);
    CHECK(pons_hessian_file_create(comm, path, &attributes, &file) == PONS_OK);
    CHECK(write_group(file, "o", 5) == PONS_OK);
    CHECK(pons_hessian_file_commit(&file) == PONS_OK);
    pons_comm_barrier(comm);
    CHECK(sem_open(name, 0) == SEM_FAILED && errno == ENOENT);
}

static void test(pons_comm *comm)
{
    if (pons_comm_rank(comm) == 0) {
        strcpy(directory, "/tmp/pons-hessian-XXXXXX");
        CHECK(mkdtemp(directory));
    }
    pons_comm_bcast(comm, directory, sizeof directory, 0);
    round_trip(comm);
    taken_semaphore(comm);
    refusals();
    flipped_bit(comm);
    lost_chunk(comm);
    cannot_create(comm);
    abandoned(comm);
    full_disk(comm);
    pons_comm_barrier(comm);
    if (pons_comm_rank(comm) == 0) CHECK(pons_dir_remove(directory) == PONS_OK);
}

int main(int argc, char **argv) { return pons_test_mpi_main(argc, argv, test); }
