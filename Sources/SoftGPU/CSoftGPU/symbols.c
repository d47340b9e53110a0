// SPDX-License-Identifier: Apache-2.0
// The functions that compiled code may name.
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "internal.h"

#define SYMBOL(name) {#name, (const void *)&name}

static const struct sg_symbol symbols[] = {
    SYMBOL(sg_bar_arrive), SYMBOL(sg_trap), SYMBOL(sg_assert_fail), SYMBOL(sg_vprintf), SYMBOL(sg_malloc),
    SYMBOL(sg_free), SYMBOL(sg_global_timer), SYMBOL(sg_nanosleep), SYMBOL(sg_is_global), SYMBOL(sg_is_shared),
    SYMBOL(sg_is_local), SYMBOL(sg_is_param), SYMBOL(sg_add_f32), SYMBOL(sg_mul_f32), SYMBOL(sg_fma_f32),
    SYMBOL(sg_div_f32), SYMBOL(sg_sqrt_f32), SYMBOL(sg_add_f64), SYMBOL(sg_mul_f64), SYMBOL(sg_fma_f64),
    SYMBOL(sg_div_f64), SYMBOL(sg_sqrt_f64), SYMBOL(sg_f64_to_f32), SYMBOL(sg_s64_to_f32), SYMBOL(sg_u64_to_f32),
    SYMBOL(sg_s64_to_f64), SYMBOL(sg_u64_to_f64), SYMBOL(sg_f64_to_f16), SYMBOL(sg_f64_to_bf16), SYMBOL(sg_fns),
    SYMBOL(sg_sin), SYMBOL(sg_cos), SYMBOL(sg_ex2), SYMBOL(sg_lg2), SYMBOL(sg_tanh),
    SYMBOL(sg_texture_read), SYMBOL(sg_surface_read), SYMBOL(sg_surface_write), SYMBOL(sg_surface_reduce),
    SYMBOL(sg_image_query), SYMBOL(sg_set_condition),
    // What LLVM itself may call.
    SYMBOL(memcpy), SYMBOL(memmove), SYMBOL(memset), SYMBOL(fma), SYMBOL(fmaf), SYMBOL(floor), SYMBOL(floorf),
    SYMBOL(ceil), SYMBOL(ceilf), SYMBOL(trunc), SYMBOL(truncf), SYMBOL(sqrt),
    SYMBOL(sqrtf), SYMBOL(fmin), SYMBOL(fminf), SYMBOL(fmax), SYMBOL(fmaxf),
    {NULL, NULL},
};

const struct sg_symbol *sg_symbols(void) { return symbols; }

// Which memory an address belongs to: the block's shared memory, the thread's stack or frame, the parameters, or none
// of them.

int32_t sg_is_shared(uint64_t address, uint64_t parameter_bytes, const struct sg_block *block) {
    (void)parameter_bytes;
    return address - (uint64_t)(uintptr_t)block->shared < SG_SHARED_USABLE;
}

int32_t sg_is_local(uint64_t address, uint64_t parameter_bytes, const struct sg_block *block) {
    (void)parameter_bytes;
    if (block->frames && address - (uint64_t)(uintptr_t)block->frames < block->frame_stride * block->thread_count)
        return 1;
    char *low, *high;
    sg_stack_bounds(&low, &high);
    return (char *)(uintptr_t)address >= low && (char *)(uintptr_t)address < high;
}

int32_t sg_is_param(uint64_t address, uint64_t parameter_bytes, const struct sg_block *block) {
    return address - (uint64_t)(uintptr_t)block->parameters < parameter_bytes;
}

int32_t sg_is_global(uint64_t address, uint64_t parameter_bytes, const struct sg_block *block) {
    return !sg_is_shared(address, parameter_bytes, block) && !sg_is_local(address, parameter_bytes, block) &&
           !sg_is_param(address, parameter_bytes, block);
}
