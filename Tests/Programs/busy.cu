// SPDX-License-Identifier: Apache-2.0
// A program that keeps its GPU busy: `busy SECONDS MIB [FILE]` holds that memory, computes in it round after round, and
// checks every round. It says "started" after the first, so that a test knows when to interfere with its neighbour. It
// ends after SECONDS, or as soon as FILE exists.
#include <unistd.h>

#include <chrono>

#include "check.h"

__global__ void step(unsigned *values, size_t count) {
    for (size_t i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (size_t)gridDim.x * blockDim.x)
        values[i] = values[i] * 1664525u + 1013904223u;
}

int main(int argc, char **argv) {
    EXPECT(argc == 3 || argc == 4);
    double seconds = std::atof(argv[1]);
    size_t bytes = std::strtoul(argv[2], nullptr, 10) << 20;
    const size_t count = 1 << 16;
    EXPECT(bytes >= count * sizeof(unsigned));
    DeviceArray<unsigned> memory(bytes / sizeof(unsigned));
    std::vector<unsigned> expected(count), found(count);
    for (size_t i = 0; i < count; i++) expected[i] = (unsigned)i;
    memory.upload(expected);
    auto start = std::chrono::steady_clock::now();
    long rounds = 0;
    do {
        step<<<8, 128>>>(memory.data, count);
        CHECK(cudaGetLastError());
        for (unsigned &value : expected) value = value * 1664525u + 1013904223u;
        CHECK(cudaMemcpy(found.data(), memory.data, count * sizeof(unsigned), cudaMemcpyDeviceToHost));
        EXPECT(found == expected);
        if (rounds++ == 0) {
            std::printf("started\n");
            std::fflush(stdout);
        }
        if (argc == 4 && access(argv[3], F_OK) == 0) break;
    } while (std::chrono::steady_clock::now() - start < std::chrono::duration<double>(seconds));
    return succeed("busy");
}
