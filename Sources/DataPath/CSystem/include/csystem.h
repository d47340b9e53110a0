// SPDX-License-Identifier: Apache-2.0
// What Swift cannot say of the system's C interface: variadic calls and C's standard streams.
#pragma once
#include <stdio.h>
#include <sys/prctl.h>

/// Makes the calling thread's short sleeps exact to so many nanoseconds.
static inline void csystem_set_timer_slack(unsigned long nanoseconds) { prctl(PR_SET_TIMERSLACK, nanoseconds); }

/// Asks the kernel to end this process with a signal when its parent ends.
static inline void csystem_end_with_parent(int signal) { prctl(PR_SET_PDEATHSIG, signal); }

/// Writes to C's buffered standard output, or standard error.
static inline void csystem_print(const void *bytes, size_t count, int to_error) {
    fwrite(bytes, 1, count, to_error ? stderr : stdout);
}
