// SPDX-License-Identifier: Apache-2.0
// The scheduler of one block: its threads are coroutines that run until they wait for each other.
#include "internal.h"

typedef void (*resume_function)(void *frame);

void sg_block_begin(struct sg_block *block) {
    const uint32_t count = block->ntid[0] * block->ntid[1] * block->ntid[2];
    block->thread_count = count;
    block->alive_count = count;
    block->warp_count = (count + SG_WARP - 1) / SG_WARP;
    for (uint32_t w = 0; w < block->warp_count; w++) {
        const uint32_t left = count - w * SG_WARP;
        block->alive[w] = left >= SG_WARP ? ~0u : (1u << left) - 1;
        block->ready[w] = block->alive[w];
        block->at_barrier[w] = 0;
    }
    for (uint32_t i = 0; i < SG_BARRIERS; i++) {
        block->barrier[i].waiting = block->barrier[i].arrived = block->barrier[i].true_count = 0;
    }
    block->barrier_waiters = 0;
    // Not started yet: told from any state that compiled code writes.
    for (uint32_t t = 0; t < count; t++) block->threads[t].reserved = 0;
}

void sg_bar_arrive(struct sg_block *block, uint32_t barrier, uint32_t threads) {
    barrier &= SG_BARRIERS - 1;
    block->barrier[barrier].arrived += 1;
    block->barrier[barrier].expected = threads;
}

// Starts or continues one thread; it returns when the thread waits or has ended.
static void run_thread(struct sg_block *block, uint32_t thread) {
    if (block->threads[thread].reserved) {
        void *frame = block->frames + thread * block->frame_stride;
        (*(resume_function *)frame)(frame);
        return;
    }
    block->threads[thread].reserved = 1;
    const uint32_t width = block->ntid[0], height = block->ntid[1];
    const uint32_t x = thread % width, rest = thread / width;
    block->launch->start(block, 0, x, rest % height, rest / height, thread);
}

// Runs the warp's ready lanes once. Returns the lanes that yielded, to be made ready for the next round.
static uint32_t run_lanes(struct sg_block *block, uint32_t warp, uint32_t lanes) {
    uint32_t yielded = 0;
    for (uint32_t rest = lanes; rest; rest &= rest - 1) {
        const uint32_t bit = rest & -rest;
        const uint32_t thread = warp * SG_WARP + (uint32_t)__builtin_ctz(rest);
        run_thread(block, thread);
        struct sg_thread *t = &block->threads[thread];
        block->ready[warp] &= ~bit;
        if (t->wait == SG_BARRIER) {
            t->a &= SG_BARRIERS - 1;
            block->at_barrier[warp] |= bit;
            block->barrier[t->a].waiting += 1;
            block->barrier[t->a].expected = t->b;
            block->barrier[t->a].true_count += t->value != 0;
            block->barrier_waiters += 1;
        } else if (t->wait == SG_DONE) {
            block->alive[warp] &= ~bit;
            block->alive_count -= 1;
        } else if (t->wait == SG_YIELD) {
            yielded |= bit;
        }
    }
    return yielded;
}

// Threads that have come to a barrier, counted as the hardware does: a warp whose living lanes are all there counts
// as a whole warp.
static uint32_t arrivals(const struct sg_block *block, uint32_t barrier) {
    uint32_t count = block->barrier[barrier].arrived;
    for (uint32_t w = 0; w < block->warp_count; w++) {
        uint32_t here = 0;
        for (uint32_t rest = block->at_barrier[w]; rest; rest &= rest - 1) {
            const uint32_t lane = (uint32_t)__builtin_ctz(rest);
            if (block->threads[w * SG_WARP + lane].a == barrier) here |= 1u << lane;
        }
        count += here && here == block->alive[w] ? SG_WARP : (uint32_t)__builtin_popcount(here);
    }
    return count;
}

static int is_complete(const struct sg_block *block, uint32_t barrier) {
    const uint32_t waiting = block->barrier[barrier].waiting;
    if (!waiting) return 0;
    const uint32_t expected = block->barrier[barrier].expected;
    if (!expected) return waiting + block->barrier[barrier].arrived >= block->alive_count;
    return arrivals(block, barrier) >= expected;
}

static void release(struct sg_block *block, uint32_t barrier) {
    const uint32_t total = block->barrier[barrier].waiting, true_count = block->barrier[barrier].true_count;
    for (uint32_t w = 0; w < block->warp_count; w++) {
        for (uint32_t rest = block->at_barrier[w]; rest; rest &= rest - 1) {
            const uint32_t bit = rest & -rest;
            struct sg_thread *t = &block->threads[w * SG_WARP + (uint32_t)__builtin_ctz(rest)];
            if (t->a != barrier) continue;
            t->result = t->c == SG_REDUCE_POPC  ? true_count
                        : t->c == SG_REDUCE_AND ? true_count == total
                                                : true_count != 0;
            t->wait = SG_READY;
            block->at_barrier[w] &= ~bit;
            block->ready[w] |= bit;
        }
    }
    block->barrier_waiters -= total;
    block->barrier[barrier].waiting = 0;
    block->barrier[barrier].arrived = 0;
    block->barrier[barrier].true_count = 0;
}

static int resolve_barriers(struct sg_block *block) {
    int released = 0;
    if (!block->barrier_waiters) return 0;
    for (uint32_t i = 0; i < SG_BARRIERS; i++) {
        if (!is_complete(block, i)) continue;
        release(block, i);
        released = 1;
    }
    return released;
}

// Runs a warp until each of its lanes waits, has ended or has yielded once. Returns what happened to it.
static void run_warp(struct sg_block *block, uint32_t warp, int *progressed, int *spinning) {
    uint32_t yielded = 0, lanes = block->ready[warp];
    while (lanes) {
        const uint32_t spun = run_lanes(block, warp, lanes);
        yielded |= spun;
        if (lanes & ~spun) *progressed = 1;
        const uint32_t waiting = block->alive[warp] & ~yielded & ~block->at_barrier[warp];
        lanes = waiting ? sg_warp_resolve(block, warp, waiting) : 0;
        block->ready[warp] |= lanes;
    }
    block->ready[warp] |= yielded;
    if (yielded) *spinning = 1;
}

enum sg_step sg_block_step(struct sg_block *block) {
    for (int advanced = 0;; advanced = 1) {
        int progressed = 0, spinning = 0;
        for (uint32_t w = 0; w < block->warp_count; w++) {
            if (!block->ready[w]) continue;
            if (sg_launch_outcome(block->launch) != SG_RUNNING) return SG_STEP_FINISHED;
            run_warp(block, w, &progressed, &spinning);
        }
        if (block->alive_count == 0) return SG_STEP_FINISHED;
        if (resolve_barriers(block) || progressed) continue;
        if (!spinning) return SG_STEP_STUCK;
        return advanced ? SG_STEP_ADVANCED : SG_STEP_SPINNING;
    }
}
