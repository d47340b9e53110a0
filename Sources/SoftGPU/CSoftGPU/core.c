// SPDX-License-Identifier: Apache-2.0
// One core of the software GPU: takes blocks of a launch and runs them, several in turns where they wait for each
// other.
#define _GNU_SOURCE
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "internal.h"

// What one block needs while it runs; kept for the next block.
struct slot {
    struct sg_block block;
    char *reservation;
    char *frames;
    uint64_t frames_bytes;
    struct sg_thread *threads;
    int busy;
};

struct sg_core {
    uint32_t processor;
    uint32_t slot_count;
    struct slot *slots[SG_SLOTS_MAX];
};

struct sg_core *sg_core_create(uint32_t processor) {
    struct sg_core *core = calloc(1, sizeof *core);
    if (core) core->processor = processor;
    return core;
}

static void destroy_slot(struct slot *slot) {
    if (slot->reservation) munmap(slot->reservation, SG_SHARED_RESERVED);
    if (slot->frames) munmap(slot->frames, slot->frames_bytes);
    free(slot->threads);
    free(slot);
}

void sg_core_destroy(struct sg_core *core) {
    if (!core) return;
    for (uint32_t i = 0; i < core->slot_count; i++) destroy_slot(core->slots[i]);
    free(core);
}

static void *map(uint64_t bytes, int protection) {
    void *memory = mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static struct slot *create_slot(void) {
    struct slot *slot = calloc(1, sizeof *slot);
    if (!slot) return NULL;
    slot->reservation = map(SG_SHARED_RESERVED, PROT_NONE);
    slot->threads = aligned_alloc(64, SG_THREADS_MAX * sizeof(struct sg_thread));
    if (!slot->reservation || !slot->threads ||
        mprotect(slot->reservation + SG_SHARED_MARGIN, SG_SHARED_USABLE, PROT_READ | PROT_WRITE) != 0) {
        destroy_slot(slot);
        return NULL;
    }
    slot->block.shared = slot->reservation + SG_SHARED_MARGIN;
    slot->block.threads = slot->threads;
    return slot;
}

// Room for the frames of a whole block, with an unmapped page behind them.
static int ensure_frames(struct slot *slot, uint64_t bytes) {
    if (bytes <= slot->frames_bytes) return 1;
    if (slot->frames) munmap(slot->frames, slot->frames_bytes);
    slot->frames_bytes = 0;
    slot->frames = map(bytes, PROT_READ | PROT_WRITE);
    if (!slot->frames) return 0;
    slot->frames_bytes = bytes;
    return 1;
}

static struct slot *slot_at(struct sg_core *core, uint32_t index) {
    if (index < core->slot_count) return core->slots[index];
    if (index >= SG_SLOTS_MAX) return NULL;
    struct slot *slot = create_slot();
    if (slot) core->slots[core->slot_count++] = slot;
    return slot;
}

void sg_launch_stop(struct sg_launch *launch, uint32_t outcome, uint64_t fault_address) {
    uint32_t running = SG_RUNNING;
    if (__atomic_compare_exchange_n(&launch->outcome, &running, outcome, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        __atomic_store_n(&launch->fault_address, fault_address, __ATOMIC_RELEASE);
}

uint32_t sg_launch_outcome(const struct sg_launch *launch) {
    return __atomic_load_n(&launch->outcome, __ATOMIC_RELAXED);
}

uint64_t sg_launch_finished(const struct sg_launch *launch) {
    return __atomic_load_n(&launch->finished, __ATOMIC_ACQUIRE);
}

uint64_t sg_launch_started(const struct sg_launch *launch) { return __atomic_load_n(&launch->next, __ATOMIC_RELAXED); }

static int prepare(struct sg_core *core, struct slot *slot, struct sg_launch *launch, uint64_t index) {
    struct sg_block *block = &slot->block;
    block->launch = launch;
    block->parameters = launch->parameters;
    block->grid = launch->grid_id;
    block->cooperation = launch->cooperative ? launch->cooperation : NULL;
    block->processor = core->processor;
    block->dynamic_shared = launch->dynamic_shared;
    block->total_shared = launch->dynamic_shared + launch->static_shared;
    for (int i = 0; i < 3; i++) {
        block->ntid[i] = launch->block[i];
        block->nctaid[i] = launch->grid[i];
    }
    block->ctaid[0] = (uint32_t)(index % launch->grid[0]);
    block->ctaid[1] = (uint32_t)(index / launch->grid[0] % launch->grid[1]);
    block->ctaid[2] = (uint32_t)(index / launch->grid[0] / launch->grid[1]);
    if (launch->loop) {
        block->frames = NULL;
        return 1;
    }
    const uint64_t stride = launch->frame_bytes;
    const uint64_t threads = (uint64_t)launch->block[0] * launch->block[1] * launch->block[2];
    if (!ensure_frames(slot, stride * threads)) return 0;
    block->frames = slot->frames;
    block->frame_stride = stride;
    sg_block_begin(block);
    return 1;
}

static int take_block(struct sg_launch *launch, uint64_t *index) {
    if (__atomic_load_n(&launch->next, __ATOMIC_RELAXED) >= launch->blocks) return 0;
    *index = __atomic_fetch_add(&launch->next, 1, __ATOMIC_RELAXED);
    return *index < launch->blocks;
}

static void finish_block(struct sg_launch *launch) { __atomic_fetch_add(&launch->finished, 1, __ATOMIC_ACQ_REL); }

static int is_running(const struct sg_launch *launch) { return sg_launch_outcome(launch) == SG_RUNNING; }

// The hot path: no thread of a block waits for another, so a block is one call.
static void run_loops(struct sg_core *core, struct sg_launch *launch, uint64_t blocks_max) {
    struct slot *slot = core->slots[0];
    uint64_t index;
    for (uint64_t n = 0; n < blocks_max && is_running(launch) && take_block(launch, &index); n++) {
        prepare(core, slot, launch, index);
        launch->loop(&slot->block, 0);
        finish_block(launch);
    }
}

// All blocks of a core wait for another core, which may need this processor: the longer they have, the more is given
// up. A grid barrier is usually over within the first rounds.
static void pause_while_idle(uint32_t idle_rounds) {
    enum { SPIN_ROUNDS = 64, YIELD_ROUNDS = 4096, SLEEP_NANOSECONDS = 20000 };
    if (idle_rounds < SPIN_ROUNDS) {
        __builtin_ia32_pause();
    } else if (idle_rounds < YIELD_ROUNDS) {
        sched_yield();
    } else {
        const struct timespec duration = {0, SLEEP_NANOSECONDS};
        nanosleep(&duration, NULL);
    }
}

// Starts a block if one is left and there is room for it. Returns whether it did.
static int start_block(struct sg_core *core, struct sg_launch *launch, uint32_t busy) {
    uint32_t free_slot = 0;
    uint64_t index;
    while (free_slot < core->slot_count && core->slots[free_slot]->busy) free_slot++;
    struct slot *slot = busy < SG_SLOTS_MAX ? slot_at(core, free_slot) : NULL;
    if (!slot && busy == 0) sg_launch_stop(launch, SG_OUT_OF_MEMORY, 0);
    if (!slot || !take_block(launch, &index)) return 0;
    if (!prepare(core, slot, launch, index)) {
        sg_launch_stop(launch, SG_OUT_OF_MEMORY, 0);
        return 0;
    }
    slot->busy = 1;
    return 1;
}

// Runs the blocks in the slots in turns. A new block is started when all that run wait for something outside
// themselves, so that blocks which wait for later ones find them started.
static void run_coroutines(struct sg_core *core, struct sg_launch *launch, uint64_t blocks_max) {
    uint64_t started = 0;
    uint32_t busy = 0, idle_rounds = 0;
    while (is_running(launch)) {
        // Blocks that spin may wait for one that has not started, whatever the caller's limit.
        if ((started < blocks_max || busy > 0) && start_block(core, launch, busy)) {
            busy += 1;
            started += 1;
            idle_rounds = 0;
        }
        if (busy == 0 || !is_running(launch)) break;
        int advanced = 0;
        for (uint32_t i = 0; i < core->slot_count; i++) {
            struct slot *slot = core->slots[i];
            if (!slot->busy) continue;
            const enum sg_step step = sg_block_step(&slot->block);
            if (step != SG_STEP_SPINNING) advanced = 1;
            if (step == SG_STEP_STUCK) sg_launch_stop(launch, SG_DEADLOCKED, 0);
            if (step != SG_STEP_FINISHED) continue;
            slot->busy = 0;
            busy -= 1;
            if (is_running(launch)) finish_block(launch);
        }
        idle_rounds = advanced ? 0 : idle_rounds + 1;
        if (busy && !advanced) pause_while_idle(idle_rounds);
    }
}

int sg_core_run(struct sg_core *core, struct sg_launch *launch, uint64_t blocks_max) {
    struct sg_recovery recovery;
    recovery.launch = launch;
    for (uint32_t i = 0; i < core->slot_count; i++) core->slots[i]->busy = 0;
    if (!slot_at(core, 0)) {
        sg_launch_stop(launch, SG_OUT_OF_MEMORY, 0);
        return 0;
    }
    sg_recovery_enter(&recovery);
    if (sigsetjmp(recovery.target, 0) == 0) {
        if (launch->loop)
            run_loops(core, launch, blocks_max);
        else
            run_coroutines(core, launch, blocks_max);
    }
    sg_recovery_leave();
    return is_running(launch) && sg_launch_started(launch) < launch->blocks;
}
