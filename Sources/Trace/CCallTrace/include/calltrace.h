// SPDX-License-Identifier: Apache-2.0
// What every exported call touches of the call trace: one switch, and what a thread has waited for the network. It is C
// because Swift has neither a plain load of a global without a lazy initialiser nor thread-local variables.
#pragma once
#include <stdint.h>

/// 0: nothing is recorded. 1: calls are recorded. Any other: the environment has not been looked at yet.
__attribute__((visibility("hidden"))) extern int calltrace_switch;

/// Where the environment names the file.
#define CALLTRACE_VARIABLE "BITFUSION_TRACE"

/// What a thread has waited for replies so far, and its number in the system (0: not asked yet).
typedef struct {
    uint64_t waits;
    uint64_t waited_nanoseconds;
    uint32_t number;
} calltrace_thread_t;

/// How things stood when a call began; time 0: it is not recorded.
typedef struct {
    uint64_t time;
    uint64_t waits;
    uint64_t waited_nanoseconds;
} calltrace_start_t;

/// The time of the monotonic clock in nanoseconds.
uint64_t calltrace_now(void);

/// The calling thread's counts; its number is known.
calltrace_thread_t *calltrace_thread(void);

/// Makes the calling thread ask for its number again, as the one thread of a forked child must.
void calltrace_forget_thread(void);

calltrace_start_t calltrace_begin_recorded(void);

/// Begins an exported call. Off, this is one load and a branch.
static inline calltrace_start_t calltrace_begin(void) {
    if (__builtin_expect(__atomic_load_n(&calltrace_switch, __ATOMIC_RELAXED) == 0, 1))
        return (calltrace_start_t){0, 0, 0};
    return calltrace_begin_recorded();
}

/// Begins a wait for a reply: its time, or 0 when nothing is recorded.
static inline uint64_t calltrace_wait_begin(void) {
    return __atomic_load_n(&calltrace_switch, __ATOMIC_RELAXED) == 0 ? 0 : calltrace_now();
}

/// Counts a wait for a reply that began at a time of calltrace_wait_begin.
void calltrace_wait_end(uint64_t begin);

/// Whether calls are recorded.
static inline int calltrace_is_on(void) { return __atomic_load_n(&calltrace_switch, __ATOMIC_RELAXED) != 0; }

/// Ends the recording for good.
static inline void calltrace_turn_off(void) { __atomic_store_n(&calltrace_switch, 0, __ATOMIC_RELAXED); }
