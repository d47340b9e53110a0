// SPDX-License-Identifier: Apache-2.0
// Two GPUs: each has its own memory, its own copy of a module's variables, and its own streams; data moves between them.
#include "check.h"

__device__ int factor = 1;

__global__ void multiply(int *values, int count) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) values[i] *= factor;
}

int main() {
    int devices = 0;
    CHECK(cudaGetDeviceCount(&devices));
    EXPECT(devices == 2);
    cudaDeviceProp properties[2];
    for (int d = 0; d < 2; d++) CHECK(cudaGetDeviceProperties(&properties[d], d));
    EXPECT(std::memcmp(&properties[0].uuid, &properties[1].uuid, sizeof properties[0].uuid) != 0);
    EXPECT(properties[0].pciBusID != properties[1].pciBusID || properties[0].pciDomainID != properties[1].pciDomainID);

    const int count = 3000;
    int *memory[2], factors[2] = {3, 5};
    std::vector<int> host(count), found(count);
    for (int i = 0; i < count; i++) host[i] = i;
    for (int d = 0; d < 2; d++) {
        CHECK(cudaSetDevice(d));
        CHECK(cudaMalloc((void **)&memory[d], count * sizeof(int)));
        CHECK(cudaMemcpyToSymbol(factor, &factors[d], sizeof(int)));
        CHECK(cudaMemcpy(memory[d], host.data(), count * sizeof(int), cudaMemcpyHostToDevice));
        multiply<<<(count + 127) / 128, 128>>>(memory[d], count);
        CHECK(cudaGetLastError());
    }
    for (int d = 0; d < 2; d++) {
        cudaPointerAttributes attributes;
        CHECK(cudaPointerGetAttributes(&attributes, memory[d]));
        EXPECT(attributes.type == cudaMemoryTypeDevice && attributes.device == d);
        CHECK(cudaSetDevice(d));
        CHECK(cudaMemcpy(found.data(), memory[d], count * sizeof(int), cudaMemcpyDeviceToHost));
        for (int i = 0; i < count; i++) EXPECT(found[i] == i * factors[d]);
    }

    // From the first to the second, which multiplies it once more.
    CHECK(cudaSetDevice(1));
    CHECK(cudaMemcpyPeer(memory[1], 1, memory[0], 0, count * sizeof(int)));
    multiply<<<(count + 127) / 128, 128>>>(memory[1], count);
    CHECK(cudaGetLastError());
    CHECK(cudaMemcpy(found.data(), memory[1], count * sizeof(int), cudaMemcpyDeviceToHost));
    for (int i = 0; i < count; i++) EXPECT(found[i] == i * 15);
    CHECK(cudaFree(memory[1]));
    CHECK(cudaSetDevice(0));
    CHECK(cudaFree(memory[0]));
    EXPECT_ERROR(cudaErrorInvalidDevice, cudaSetDevice(2));
    return succeed("two_devices");
}
