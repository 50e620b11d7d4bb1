/* Owns the one check that runs before the shared libraries initialise. OpenBLAS 0.3.21 allocates 128 MB for each
 * thread while it is loaded and retries a failure without end, so too low a limit on the address space would be a
 * hang before main begins. Uses system calls only: the C library may not be initialised either. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pons/status.h"

enum { BUFFER_BYTES = 128 << 20 };

/* Buffers that OpenBLAS will allocate: one for each thread, at most one for each processor. */
static size_t count_buffers(char **environment)
{
    static const char name[] = "OMP_NUM_THREADS=";
    long processors = sysconf(_SC_NPROCESSORS_ONLN), threads = 0;
    for (char **e = environment; *e; e++)
        if (!strncmp(*e, name, sizeof name - 1)) threads = atol(*e + sizeof name - 1);
    if (threads < 1 || threads > processors) threads = processors;
    return threads > 0 ? (size_t)threads : 1;
}

static void check_address_space(int argc, char **argv, char **environment)
{
    static const char text[] = "pons: the address space is too small to start: OpenBLAS needs 128 "
                               "MB for each thread; raise the limit "
                               "(ulimit -v) or lower OMP_NUM_THREADS\n";
    size_t bytes = count_buffers(environment) * BUFFER_BYTES;
    (void)argc, (void)argv;
    void *room = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room != MAP_FAILED) {
        munmap(room, bytes);
        return;
    }
    ssize_t ignored = write(STDERR_FILENO, text, sizeof text - 1);
    (void)ignored;
    _exit(pons_status_exit_code(PONS_ERR_NOMEM));
}

__attribute__((section(".preinit_array"),
               used)) static void (*const preinit)(int, char **, char **) = check_address_space;
