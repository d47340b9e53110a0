// SPDX-License-Identifier: Apache-2.0
// What the C files share among themselves.
#pragma once
#include <setjmp.h>

#include "softgpu.h"

// Shared-memory addresses are 32-bit offsets from the block's base. The whole range they can reach is reserved and only
// its beginning is usable, so that any stray access faults.
enum { SG_SHARED_USABLE = 256 << 10 };
#define SG_SHARED_MARGIN (64ull << 20)
#define SG_SHARED_RESERVED ((4ull << 30) + 2 * SG_SHARED_MARGIN)

// A core runs several blocks in turns when they wait for one another. One core may have to hold all blocks of a
// cooperative grid, while the others are busy with another: 16 for each of 256 multiprocessors.
enum { SG_SLOTS_MAX = 4096 };

// What became of a block in its turn: ended, went on and waits again, only spun, or waits for what cannot come.
enum sg_step { SG_STEP_FINISHED, SG_STEP_ADVANCED, SG_STEP_SPINNING, SG_STEP_STUCK };

// Where a fault on this thread goes while a kernel runs.
struct sg_recovery {
    sigjmp_buf target;
    struct sg_launch *launch;
    char *stack_low;   // Accesses between these bounds are a stack overflow.
    char *stack_high;
};

void sg_recovery_enter(struct sg_recovery *recovery);
void sg_recovery_leave(void);
// The calling thread's stack, from its lowest usable address.
void sg_stack_bounds(char **low, char **high);

// Lets the threads of a block run until all have ended, or none can go on without another block.
enum sg_step sg_block_step(struct sg_block *block);
void sg_block_begin(struct sg_block *block);
// Answers those of the warp's waiting lanes whose partners are all there. Returns the lanes that are ready again.
// Called when no lane of the warp can run without it.
uint32_t sg_warp_resolve(struct sg_block *block, uint32_t warp, uint32_t waiting);

// CU_TRSF_* flags and CUaddress_mode.
enum {
    SG_READ_AS_INTEGER = 1,
    SG_NORMALIZED_COORDINATES = 2,
    SG_SRGB = 0x10,
    SG_SEAMLESS_CUBE = 0x40,
};
enum { SG_ADDRESS_WRAP = 0, SG_ADDRESS_CLAMP, SG_ADDRESS_MIRROR, SG_ADDRESS_BORDER };
