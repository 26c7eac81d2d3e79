/* Preloaded in front of the C library's allocator: counts the calls of each thread, and at the end writes one line a
 * thread, "COUNT NAME", to the file that KINORA_MALLOC_REPORT names. Rust's own allocations pass here too. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

#define THREADS_MAX 256

static struct {
    char name[16];
    atomic_ulong calls;
} threads[THREADS_MAX];
static atomic_uint threads_used;
static _Thread_local int own = -1;

/* A thread gets its name after its first allocations, so the name is read again at every call. */
static void count(void) {
    if (own < 0) {
        unsigned taken = atomic_fetch_add(&threads_used, 1);
        own = taken < THREADS_MAX ? (int)taken : THREADS_MAX - 1;
    }
    prctl(PR_GET_NAME, threads[own].name);
    atomic_fetch_add(&threads[own].calls, 1);
}

void *malloc(size_t bytes) {
    count();
    return __libc_malloc(bytes);
}

void *calloc(size_t items, size_t bytes) {
    count();
    return __libc_calloc(items, bytes);
}

void *realloc(void *old, size_t bytes) {
    count();
    return __libc_realloc(old, bytes);
}

void *memalign(size_t alignment, size_t bytes) {
    count();
    return __libc_memalign(alignment, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes) { return memalign(alignment, bytes); }

int posix_memalign(void **out, size_t alignment, size_t bytes) {
    void *memory = memalign(alignment, bytes);
    if (memory == NULL) return ENOMEM;
    *out = memory;
    return 0;
}

__attribute__((destructor)) static void report(void) {
    const char *path = getenv("KINORA_MALLOC_REPORT");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (file == NULL) return;
    unsigned used = atomic_load(&threads_used);
    for (unsigned i = 0; i < used && i < THREADS_MAX; i++)
        fprintf(file, "%lu %s\n", atomic_load(&threads[i].calls), threads[i].name);
    fclose(file);
}
