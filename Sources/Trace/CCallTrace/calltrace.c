// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "calltrace.h"

#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int calltrace_switch = 2;

static _Thread_local calltrace_thread_t this_thread;

uint64_t calltrace_now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

calltrace_thread_t *calltrace_thread(void) {
    if (this_thread.number == 0) this_thread.number = (uint32_t)syscall(SYS_gettid);
    return &this_thread;
}

void calltrace_forget_thread(void) { this_thread.number = 0; }

calltrace_start_t calltrace_begin_recorded(void) {
    if (__atomic_load_n(&calltrace_switch, __ATOMIC_RELAXED) != 1) {
        // A program that has more rights than its user writes no file that the user names.
        const char *file = secure_getenv(CALLTRACE_VARIABLE);
        int found = file && *file;
        __atomic_store_n(&calltrace_switch, found, __ATOMIC_RELAXED);
        if (!found) return (calltrace_start_t){0, 0, 0};
    }
    return (calltrace_start_t){calltrace_now(), this_thread.waits, this_thread.waited_nanoseconds};
}

void calltrace_wait_end(uint64_t begin) {
    if (begin == 0) return;
    this_thread.waits++;
    this_thread.waited_nanoseconds += calltrace_now() - begin;
}
