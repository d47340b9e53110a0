// SPDX-License-Identifier: Apache-2.0
// Threads that wait for each other without a barrier of the block: locks between lanes of a warp, flags between blocks,
// the atomics, semaphores, latches and barriers of libcu++.
#include <cuda/atomic>
#include <cuda/barrier>
#include <cuda/latch>
#include <cuda/semaphore>

#include "check.h"

/// A lock that every lane of every warp takes in turn; the critical section inside of the loop that tries.
__global__ void locked(int *lock, long long *sum) {
    bool isDone = false;
    while (!isDone) {
        if (atomicCAS(lock, 0, 1) == 0) {
            __threadfence();
            *(volatile long long *)sum = *(volatile long long *)sum + threadIdx.x;
            __threadfence();
            atomicExch(lock, 0);
            isDone = true;
        }
    }
}

/// The same with the loop that waits in front of the critical section, which needs lanes that run on their own.
__global__ void spinning(cuda::atomic<int, cuda::thread_scope_device> *lock, int *count) {
    for (int round = 0; round < 3; round++) {
        while (lock->exchange(1, cuda::memory_order_acquire) != 0) __nanosleep(20);
        *count += 1;
        lock->store(0, cuda::memory_order_release);
    }
}

/// Each block waits until the one before has handed its value on: a scan in one pass.
__global__ void chained(const int *values, int *scanned, volatile int *flags, int count) {
    if (threadIdx.x == 0) {
        int prefix = 0, total = 0;
        for (int i = 0; i < (int)blockDim.x && blockIdx.x * blockDim.x + i < count; i++)
            total += values[blockIdx.x * blockDim.x + i];
        if (blockIdx.x > 0) {
            while (flags[blockIdx.x - 1] == 0) {}
            __threadfence();
            prefix = scanned[blockIdx.x - 1];
        }
        scanned[blockIdx.x] = prefix + total;
        __threadfence();
        flags[blockIdx.x] = 1;
    }
}

/// Lanes of one warp hand values from one to the next through shared memory.
__global__ void relay(int *result) {
    __shared__ volatile int turn;
    __shared__ volatile int value;
    if (threadIdx.x == 0) turn = 0, value = 1;
    __syncthreads();
    while (turn != (int)threadIdx.x) {}
    value = value * 3 + threadIdx.x;
    __threadfence_block();
    turn = threadIdx.x + 1;
    __syncthreads();
    if (threadIdx.x == 0) *result = value;
}

using Semaphore = cuda::counting_semaphore<cuda::thread_scope_device, 4>;
using Latch = cuda::latch<cuda::thread_scope_device>;

/// At most four threads of the grid at a time, and none is let go before all have been in.
__global__ void limited(Semaphore *semaphore, Latch *latch, int *inside, int *most, int *seen) {
    semaphore->acquire();
    atomicMax(most, atomicAdd(inside, 1) + 1);
    __nanosleep(100);
    atomicSub(inside, 1);
    atomicAdd(seen, 1);
    semaphore->release();
    latch->arrive_and_wait();
    if (*(volatile int *)seen != (int)(gridDim.x * blockDim.x)) __trap();
}

/// A barrier object in shared memory, for a half of the block only, round after round.
__global__ void halves(int *out) {
    __shared__ cuda::barrier<cuda::thread_scope_block> barriers[2];
    __shared__ int cells[64];
    int half = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (threadIdx.x < 2) init(&barriers[threadIdx.x], 32);
    cells[threadIdx.x] = lane;
    __syncthreads();
    for (int round = 0; round < 5; round++) {
        int next = cells[half * 32 + (lane + 1 + half) % 32];
        barriers[half].arrive_and_wait();
        cells[threadIdx.x] = next;
        barriers[half].arrive_and_wait();
    }
    out[threadIdx.x] = cells[threadIdx.x];
}

static void locks() {
    DeviceArray<int> lock(std::vector<int>{0}), count(std::vector<int>{0});
    DeviceArray<long long> sum(std::vector<long long>{0});
    locked<<<8, 64>>>(lock.data, sum.data);
    EXPECT(sum.download()[0] == 8 * 63 * 64 / 2);
    DeviceArray<cuda::atomic<int, cuda::thread_scope_device>> atomic(1);
    CHECK(cudaMemset(atomic.data, 0, sizeof(*atomic.data)));
    spinning<<<6, 48>>>(atomic.data, count.data);
    EXPECT(count.download()[0] == 6 * 48 * 3);
}

static void flags() {
    const int blocks = 300, threads = 16, count = blocks * threads;
    std::vector<int> values(count), expected(blocks);
    Random random;
    int total = 0;
    for (int i = 0; i < count; i++) {
        total += values[i] = (int)(random.next() & 255);
        expected[i / threads] = total;
    }
    DeviceArray<int> input(values), scanned(blocks), done(std::vector<int>(blocks, 0)), result(1);
    chained<<<blocks, threads>>>(input.data, scanned.data, done.data, count);
    expectEqual(scanned.download(), expected, "chained");
    relay<<<1, 20>>>(result.data);
    int value = 1;
    for (int i = 0; i < 20; i++) value = value * 3 + i;
    EXPECT(result.download()[0] == value);
}

__global__ void prepare(Semaphore *semaphore, Latch *latch, int count) {
    new (semaphore) Semaphore(4);
    new (latch) Latch(count);
}

static void objects() {
    DeviceArray<Semaphore> semaphore(1);
    DeviceArray<Latch> latch(1);
    DeviceArray<int> numbers(std::vector<int>{0, 0, 0}), out(64);
    prepare<<<1, 1>>>(semaphore.data, latch.data, 8 * 16);
    limited<<<8, 16>>>(semaphore.data, latch.data, numbers.data, numbers.data + 1, numbers.data + 2);
    CHECK(cudaDeviceSynchronize());
    std::vector<int> found = numbers.download();
    EXPECT(found[0] == 0 && found[1] >= 1 && found[1] <= 4 && found[2] == 128);
    halves<<<1, 64>>>(out.data);
    std::vector<int> expected(64);
    for (int i = 0; i < 64; i++) expected[i] = (i % 32 + 5 * (1 + i / 32)) % 32;
    expectEqual(out.download(), expected, "halves");
}

int main() {
    locks();
    flags();
    objects();
    return succeed("waiting");
}
