// SPDX-License-Identifier: Apache-2.0
// An assertion that holds does nothing; one that does not is reported once and poisons the context.
#include <cassert>

#include "check.h"

__global__ void below(const int *values, int limit) { assert(values[threadIdx.x] < limit); }

int main() {
    DeviceArray<int> values(std::vector<int>{1, 2, 3, 4});
    below<<<1, 4>>>(values.data, 5);
    CHECK(cudaDeviceSynchronize());
    below<<<1, 4>>>(values.data, 4);
    EXPECT_ERROR(cudaErrorAssert, cudaDeviceSynchronize());
    // Nothing works in this context any more, and the program still ends in order.
    void *memory = nullptr;
    EXPECT_ERROR(cudaErrorAssert, cudaMalloc(&memory, 16));
    EXPECT_ERROR(cudaErrorAssert, cudaDeviceSynchronize());
    return succeed("device_assert");
}
