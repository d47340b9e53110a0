// SPDX-License-Identifier: Apache-2.0
// A kernel that writes where nothing is: the error is reported by the next synchronisation, and stays.
#include "check.h"

__global__ void store(int *address) { *address = 1; }

int main() {
    DeviceArray<int> memory(64);
    store<<<1, 1>>>(memory.data);
    CHECK(cudaDeviceSynchronize());
    store<<<1, 1>>>(memory.data + ((size_t)1 << 36));
    EXPECT_ERROR(cudaErrorIllegalAddress, cudaDeviceSynchronize());
    void *more = nullptr;
    EXPECT_ERROR(cudaErrorIllegalAddress, cudaMalloc(&more, 16));
    EXPECT_ERROR(cudaErrorIllegalAddress, cudaDeviceSynchronize());
    return succeed("illegal_address");
}
