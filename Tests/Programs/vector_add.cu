// SPDX-License-Identifier: Apache-2.0
// The smallest complete program: two arrays up, one kernel, one array down.
#include "check.h"

__global__ void add(const float *a, const float *b, float *sum, int count) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) sum[i] = a[i] + b[i];
}

int main() {
    const int count = 100003;  // Not a multiple of the block: the last block is part full.
    Random random;
    std::vector<float> a(count), b(count), expected(count);
    for (int i = 0; i < count; i++) {
        a[i] = random.unit();
        b[i] = random.unit();
        expected[i] = a[i] + b[i];
    }
    DeviceArray<float> deviceA(a), deviceB(b), deviceSum(count);
    add<<<(count + 255) / 256, 256>>>(deviceA.data, deviceB.data, deviceSum.data, count);
    CHECK(cudaGetLastError());
    expectEqual(deviceSum.download(), expected, "sum");
    return succeed("vector_add");
}
