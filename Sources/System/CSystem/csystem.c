// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "csystem.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <time.h>

void csystem_wait_readable(int descriptor, long nanoseconds) {
    struct pollfd poll_descriptor = {.fd = descriptor, .events = POLLIN};
    struct timespec time = {.tv_nsec = nanoseconds};
    ppoll(&poll_descriptor, 1, &time, NULL);
}

int csystem_memory_file(const char *name) { return memfd_create(name, MFD_CLOEXEC); }

void csystem_punch_hole(int descriptor, long offset, long count) {
    fallocate(descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, count);
}
