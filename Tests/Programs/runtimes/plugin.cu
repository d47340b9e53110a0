// SPDX-License-Identifier: Apache-2.0
// A shared library with a CUDA runtime of its own inside, as NVIDIA's libraries have.
#include "../check.h"

__device__ int calls = 0;

__global__ void sum(const int *values, int count, int *total) {
    int own = 0;
    for (int i = threadIdx.x; i < count; i += blockDim.x) own += values[i];
    atomicAdd(total, own);
    if (threadIdx.x == 0) calls++;
}

/// Sums memory another runtime allocated, and says how often this library was called since it was loaded.
extern "C" int pluginSum(const int *values, int count, int *callCount) {
    DeviceArray<int> total(std::vector<int>{0});
    sum<<<1, 64>>>(values, count, total.data);
    CHECK(cudaGetLastError());
    CHECK(cudaMemcpyFromSymbol(callCount, calls, sizeof(int)));
    return total.download()[0];
}
