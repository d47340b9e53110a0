// SPDX-License-Identifier: Apache-2.0
// Tells the thread sanitizer of Swift's `Mutex`, whose contended ways are in a library that it does not see into: without
// this every value behind a lock would count as a race. Loaded by LD_PRELOAD in front of the tests (`./check --sanitize`).
//
// The names are those of Swift 6's library Synchronization: `_MutexHandle._lockSlow(UInt32)` and `_unlockSlow()`.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

extern void __tsan_acquire(void *) __attribute__((weak));
extern void __tsan_release(void *) __attribute__((weak));

typedef __attribute__((swiftcall)) void lockFunction(uint32_t, __attribute__((swift_context)) void *);
typedef __attribute__((swiftcall)) void unlockFunction(__attribute__((swift_context)) void *);

#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

static void *next(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

__attribute__((swiftcall)) void lockSlow(uint32_t thread, __attribute__((swift_context)) void *self) __asm__(LOCK);
__attribute__((swiftcall)) void lockSlow(uint32_t thread, __attribute__((swift_context)) void *self) {
    static lockFunction *original;
    if (!original) original = (lockFunction *)next(LOCK);
    original(thread, self);
    if (__tsan_acquire) __tsan_acquire(self);
}

__attribute__((swiftcall)) void unlockSlow(__attribute__((swift_context)) void *self) __asm__(UNLOCK);
__attribute__((swiftcall)) void unlockSlow(__attribute__((swift_context)) void *self) {
    static unlockFunction *original;
    if (!original) original = (unlockFunction *)next(UNLOCK);
    if (__tsan_release) __tsan_release(self);
    original(self);
}
