// SPDX-License-Identifier: Apache-2.0
// Shared memory whose size is chosen at launch, beside static shared memory, up to the opt-in maximum.
#include "check.h"

extern __shared__ int dynamicWords[];

__global__ void reverse(const int *input, int *output, int count) {
    __shared__ int marker;
    if (threadIdx.x == 0) marker = 1000000;
    for (int i = threadIdx.x; i < count; i += blockDim.x) dynamicWords[i] = input[i];
    __syncthreads();
    for (int i = threadIdx.x; i < count; i += blockDim.x) output[i] = dynamicWords[count - 1 - i] + marker;
}

static void run(int words) {
    std::vector<int> input(words), expected(words);
    for (int i = 0; i < words; i++) {
        input[i] = i * 7;
        expected[i] = (words - 1 - i) * 7 + 1000000;
    }
    DeviceArray<int> deviceInput(input), output(words);
    reverse<<<1, 96, words * sizeof(int)>>>(deviceInput.data, output.data, words);
    CHECK(cudaGetLastError());
    expectEqual(output.download(), expected, "reversed");
}

int main() {
    int usual = 0, optIn = 0;
    CHECK(cudaDeviceGetAttribute(&usual, cudaDevAttrMaxSharedMemoryPerBlock, 0));
    CHECK(cudaDeviceGetAttribute(&optIn, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0));
    EXPECT(usual >= 48 * 1024 && optIn >= usual);
    run(1);
    run(1000);
    // The usual maximum counts static and dynamic shared memory together; a little is left for the static word.
    run((usual - 64) / 4);

    // More is refused, unless the function was allowed to.
    reverse<<<1, 32, optIn - 64>>>(nullptr, nullptr, 0);
    EXPECT_ERROR(optIn - 64 > usual ? cudaErrorInvalidValue : cudaSuccess, cudaGetLastError());
    CHECK(cudaFuncSetAttribute(reverse, cudaFuncAttributeMaxDynamicSharedMemorySize, optIn - 64));
    run((optIn - 64) / 4);
    EXPECT(cudaFuncSetAttribute(reverse, cudaFuncAttributeMaxDynamicSharedMemorySize, optIn * 2) != cudaSuccess);
    cudaGetLastError();
    return succeed("dynamic_shared");
}
