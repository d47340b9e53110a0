// SPDX-License-Identifier: Apache-2.0
// Prefix sums: barriers inside a loop, two kernels in order, and blocks that add what came before them.
#include "check.h"

const int blockSize = 128;

__global__ void scanBlocks(const int *input, int *output, int *blockSums, int count) {
    __shared__ int buffers[2][blockSize];
    int i = blockIdx.x * blockSize + threadIdx.x, current = 0;
    buffers[0][threadIdx.x] = i < count ? input[i] : 0;
    __syncthreads();
    for (int distance = 1; distance < blockSize; distance *= 2) {
        int next = 1 - current, value = buffers[current][threadIdx.x];
        if ((int)threadIdx.x >= distance) value += buffers[current][threadIdx.x - distance];
        buffers[next][threadIdx.x] = value;
        current = next;
        __syncthreads();
    }
    if (i < count) output[i] = buffers[current][threadIdx.x];
    if (threadIdx.x == blockSize - 1) blockSums[blockIdx.x] = buffers[current][threadIdx.x];
}

__global__ void addBlockSums(int *output, const int *scannedSums, int count) {
    int i = blockIdx.x * blockSize + threadIdx.x;
    if (blockIdx.x > 0 && i < count) output[i] += scannedSums[blockIdx.x - 1];
}

/// Barriers that also count, and that only some warps of the block reach.
__global__ void countingBarriers(int *counts) {
    int three = __syncthreads_count(threadIdx.x % 3 == 0);
    int all = __syncthreads_and(threadIdx.x < blockSize);
    int any = __syncthreads_or(threadIdx.x == 5);
    if (threadIdx.x == 0) {
        counts[0] = three;
        counts[1] = all != 0;
        counts[2] = any != 0;
    }
    if (threadIdx.x < 64) asm volatile("bar.sync 3, 64;" ::: "memory");
    __syncwarp();
    if (threadIdx.x == 63) counts[3] = 1;
}

int main() {
    const int count = 10000, blocks = (count + blockSize - 1) / blockSize;
    Random random;
    std::vector<int> input(count), expected(count);
    int running = 0;
    for (int i = 0; i < count; i++) {
        input[i] = (int)(random.next() % 100) - 30;
        running += input[i];
        expected[i] = running;
    }
    static_assert(blocks <= blockSize, "the sums of all blocks are scanned by one block");
    DeviceArray<int> deviceInput(input), output(count), sums(blocks), scannedSums(blocks), total(1);
    scanBlocks<<<blocks, blockSize>>>(deviceInput.data, output.data, sums.data, count);
    scanBlocks<<<1, blockSize>>>(sums.data, scannedSums.data, total.data, blocks);
    addBlockSums<<<blocks, blockSize>>>(output.data, scannedSums.data, count);
    CHECK(cudaGetLastError());
    expectEqual(output.download(), expected, "scan");
    EXPECT(total.download()[0] == running);

    DeviceArray<int> counts(std::vector<int>(4, 0));
    countingBarriers<<<1, blockSize>>>(counts.data);
    CHECK(cudaGetLastError());
    expectEqual(counts.download(), std::vector<int>{(blockSize + 2) / 3, 1, 1, 1}, "barriers");
    return succeed("scan");
}
