// SPDX-License-Identifier: Apache-2.0
// The conditions of graphs, which kernels set by handles of 64 bits.
//
// Their places are in memory that is never given back, so that a kernel may come with any 64 bits, or with the handle
// of a condition that has ended, and finds out.
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/mman.h>

#include "internal.h"

// A handle is the tag, the generation of the place (24 bits), and the number of the place (24 bits). The tag makes it
// an address that no program has.
static const uint64_t HANDLE_TAG = 0x5343ull << 48;
enum { NUMBER_BITS = 24, GENERATION_MASK = 0xFFFFFF };

struct condition {
    uint64_t handle;  // 0 while the place is free.
    uint32_t generation;
    uint32_t value;
    uint32_t next_free;  // Of a free place: the next one, counted from 1; 0 for none.
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct condition *conditions;  // SG_CONDITIONS_MAX places, once there is a condition.
static uint32_t places_used;          // Places that have ever been used.
static uint32_t first_free;           // Counted from 1; 0 for none.

static int reserve(void) {
    if (conditions) return 1;
    void *memory = mmap(NULL, SG_CONDITIONS_MAX * sizeof(struct condition), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return 0;
    __atomic_store_n(&conditions, memory, __ATOMIC_RELEASE);
    return 1;
}

uint64_t sg_condition_add(void) {
    uint64_t handle = 0;
    pthread_mutex_lock(&lock);
    if (reserve() && (first_free || places_used < SG_CONDITIONS_MAX)) {
        const uint32_t place = first_free ? first_free - 1 : places_used++;
        struct condition *target = &conditions[place];
        if (first_free) first_free = target->next_free;
        target->generation = (target->generation + 1) & GENERATION_MASK;
        __atomic_store_n(&target->value, 0, __ATOMIC_RELAXED);
        handle = HANDLE_TAG | (uint64_t)target->generation << NUMBER_BITS | place;
        __atomic_store_n(&target->handle, handle, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&lock);
    return handle;
}

static struct condition *find(uint64_t handle) {
    const uint64_t place = handle & ((1u << NUMBER_BITS) - 1);
    struct condition *all = __atomic_load_n(&conditions, __ATOMIC_ACQUIRE);
    if (!all || place >= SG_CONDITIONS_MAX || handle == 0) return NULL;
    return __atomic_load_n(&all[place].handle, __ATOMIC_ACQUIRE) == handle ? &all[place] : NULL;
}

void sg_condition_remove(uint64_t handle) {
    pthread_mutex_lock(&lock);
    struct condition *condition = find(handle);
    if (condition) {
        __atomic_store_n(&condition->handle, 0, __ATOMIC_RELEASE);
        condition->next_free = first_free;
        first_free = (uint32_t)(condition - conditions) + 1;
    }
    pthread_mutex_unlock(&lock);
}

int sg_condition_set(uint64_t handle, uint32_t value) {
    struct condition *condition = find(handle);
    if (!condition) return 0;
    __atomic_store_n(&condition->value, value, __ATOMIC_RELEASE);
    return 1;
}

uint32_t sg_condition_value(uint64_t handle) {
    struct condition *condition = find(handle);
    return condition ? __atomic_load_n(&condition->value, __ATOMIC_ACQUIRE) : 0;
}

void sg_set_condition(struct sg_block *block, uint64_t handle, uint32_t value) {
    if (!sg_condition_set(handle, value)) sg_trap(block, SG_ILLEGAL_ADDRESS);
}
