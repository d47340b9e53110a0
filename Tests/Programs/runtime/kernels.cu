// SPDX-License-Identifier: Apache-2.0
// The device half of the runtime program. Names are C names: they are looked up by hand for the older runtimes.
extern "C" {
__device__ int deviceWords[4] = {1, 2, 3, 4};
__constant__ float constantScale = 2.0f;

__global__ void addScaled(const float *a, const float *b, float *sum, int count) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) sum[i] = a[i] + b[i] * constantScale;
}

__global__ void incrementWords(int step) { deviceWords[threadIdx.x] += step; }
}
