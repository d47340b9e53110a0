// SPDX-License-Identifier: Apache-2.0
// What compiled code calls out to, and number formatting, which Swift cannot reach because C's functions are variadic.
#include <stdio.h>
#include <time.h>

#include "softgpu.h"

int32_t sg_vprintf(struct sg_block *block, const char *format, const void *arguments) {
    const struct sg_services *services = &block->launch->services;
    return services->vprintf ? services->vprintf(services->context, format, arguments) : 0;
}

void sg_assert_fail(struct sg_block *block, const char *message, const char *file, uint32_t line,
                    const char *function, uint32_t x, uint32_t y, uint32_t z) {
    const struct sg_services *services = &block->launch->services;
    const uint32_t thread[3] = {x, y, z};
    if (services->assert_fail)
        services->assert_fail(services->context, message, file, line, function, block->ctaid, thread);
    sg_trap(block, SG_ASSERT_FAILED);
}

void *sg_malloc(struct sg_block *block, uint64_t bytes) {
    const struct sg_services *services = &block->launch->services;
    return services->allocate ? services->allocate(services->context, bytes) : NULL;
}

void sg_free(struct sg_block *block, void *memory) {
    const struct sg_services *services = &block->launch->services;
    if (memory && services->release) services->release(services->context, memory);
}

uint64_t sg_global_timer(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void sg_nanosleep(uint32_t nanoseconds) {
    const struct timespec duration = {0, nanoseconds > 1000000 ? 1000000 : (long)nanoseconds};
    nanosleep(&duration, NULL);
}

#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"

int sg_format_double(char *target, uint64_t capacity, const char *specification, double value) {
    return snprintf(target, capacity, specification, value);
}

int sg_format_integer(char *target, uint64_t capacity, const char *specification, uint64_t value, int is_wide) {
    if (is_wide) return snprintf(target, capacity, specification, (unsigned long long)value);
    return snprintf(target, capacity, specification, (unsigned)value);
}

int sg_format_pointer(char *target, uint64_t capacity, const char *specification, const void *value) {
    return snprintf(target, capacity, specification, value);
}

int sg_format_text(char *target, uint64_t capacity, const char *specification, const char *value) {
    return snprintf(target, capacity, specification, value);
}
