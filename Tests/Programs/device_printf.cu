// SPDX-License-Identifier: Apache-2.0
// Text printed by kernels appears on the program's stdout, in order with the text the host prints.
#include "check.h"

__global__ void greet(const char *name, int count) {
    if (threadIdx.x == 0) {
        printf("kernel: block %d of %s, %5.2f %c %% %s\n", (int)blockIdx.x, name, 3.14159, 'x', "text");
        printf("kernel: %lld %u %x %e\n", -5000000000ll, 4000000000u, 255, 12345.678);
    }
    if ((int)threadIdx.x < count) printf("thread %u\n", threadIdx.x);
}

int main() {
    std::printf("host: before\n");
    std::vector<char> name = {'d', 'e', 'v', 0};
    DeviceArray<char> deviceName(name);
    greet<<<1, 32>>>(deviceName.data, 3);
    CHECK(cudaGetLastError());
    CHECK(cudaDeviceSynchronize());
    std::printf("host: between\n");
    greet<<<1, 32>>>(deviceName.data, 0);
    CHECK(cudaGetLastError());
    CHECK(cudaDeviceSynchronize());
    return succeed("device_printf");
}
