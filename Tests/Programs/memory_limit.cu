// SPDX-License-Identifier: Apache-2.0
// Proves a memory partition: `memory_limit MIB` sees exactly that much, can allocate all of it, and not one MiB more.
#include "check.h"

int main(int argc, char **argv) {
    EXPECT(argc == 2);
    const size_t mebibyte = 1 << 20, limit = std::strtoul(argv[1], nullptr, 10);
    cudaDeviceProp properties;
    CHECK(cudaGetDeviceProperties(&properties, 0));
    EXPECT(properties.totalGlobalMem == limit * mebibyte);
    size_t free = 0, total = 0;
    CHECK(cudaMemGetInfo(&free, &total));
    EXPECT(total == limit * mebibyte && free == total);

    std::vector<void *> blocks(limit, nullptr);
    for (void *&block : blocks) CHECK(cudaMalloc(&block, mebibyte));
    CHECK(cudaMemGetInfo(&free, &total));
    EXPECT(free == 0);
    void *more = nullptr;
    EXPECT_ERROR(cudaErrorMemoryAllocation, cudaMalloc(&more, mebibyte));
    cudaGetLastError();

    // What is freed can be had again, and the last block is as usable as the first.
    CHECK(cudaFree(blocks.back()));
    CHECK(cudaMalloc(&blocks.back(), mebibyte));
    CHECK(cudaMemset(blocks.back(), 7, mebibyte));
    for (void *block : blocks) CHECK(cudaFree(block));
    CHECK(cudaMemGetInfo(&free, &total));
    EXPECT(free == total);
    return succeed("memory_limit");
}
