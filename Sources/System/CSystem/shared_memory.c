// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "csystem.h"

static bool place(char *target, int descriptor, size_t offset, size_t count) {
    return mmap(target, count, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, descriptor, offset) != MAP_FAILED;
}

void *csystem_map_rings(int descriptor, size_t head, size_t ring, size_t rings) {
    size_t whole = head + 2 * rings * ring;
    char *base = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return NULL;
    bool is_placed = place(base, descriptor, 0, head);
    for (size_t i = 0; i < rings; i++) {
        char *first = base + head + 2 * i * ring;
        is_placed = is_placed && place(first, descriptor, head + i * ring, ring) &&
                    place(first + ring, descriptor, head + i * ring, ring);
    }
    if (is_placed) {
        // A forked child has no part in the conversation.
        madvise(base, whole, MADV_DONTFORK);
        return base;
    }
    munmap(base, whole);
    return NULL;
}

void csystem_futex_wait(void *word, unsigned expected, long nanoseconds) {
    struct timespec time = {.tv_nsec = nanoseconds};
    syscall(SYS_futex, word, FUTEX_WAIT, expected, &time, NULL, 0);
}

void csystem_futex_wake(void *word) { syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0); }

// 16 bytes as every processor moves them in one instruction, wherever they lie.
typedef long unaligned __attribute__((vector_size(16), aligned(1), may_alias));
typedef long aligned __attribute__((vector_size(16), may_alias));

void csystem_copy(void *target, const void *source, size_t count) {
    char *to = target;
    const char *from = source;
    for (; count >= 64; to += 64, from += 64, count -= 64) {
        const unaligned *words = (const unaligned *)from;
        unaligned a = words[0], b = words[1], c = words[2], d = words[3];
        unaligned *places = (unaligned *)to;
        places[0] = a, places[1] = b, places[2] = c, places[3] = d;
        // Keeps the compiler from making this a call of memcpy.
        __asm__ volatile("" ::: "memory");
    }
    memcpy(to, from, count);
}

void csystem_copy_past_caches(void *target, const void *source, size_t count) {
    size_t front = -(size_t)target & 63;
    if (count < front + 64) {
        memcpy(target, source, count);
        return;
    }
    memcpy(target, source, front);
    char *to = (char *)target + front;
    const char *from = (const char *)source + front;
    for (count -= front; count >= 64; to += 64, from += 64, count -= 64) {
        const unaligned *words = (const unaligned *)from;
        aligned a = words[0], b = words[1], c = words[2], d = words[3];
        aligned *places = (aligned *)to;
        __builtin_nontemporal_store(a, places);
        __builtin_nontemporal_store(b, places + 1);
        __builtin_nontemporal_store(c, places + 2);
        __builtin_nontemporal_store(d, places + 3);
    }
    memcpy(to, from, count);
#if defined(__x86_64__)
    __builtin_ia32_sfence();
#endif
}
