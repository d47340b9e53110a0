// SPDX-License-Identifier: Apache-2.0
// A kernel that never ends, and a host that waits for it: what is killed in the middle of a call. It says "waiting"
// first; when the wait fails it names the error and ends with status 1.
#include "check.h"

__global__ void spin(volatile int *stop) {
    while (*stop == 0) {
    }
}

int main() {
    DeviceArray<int> stop(std::vector<int>{0});
    DeviceArray<char> held(256 << 20);
    spin<<<1, 1>>>(stop.data);
    CHECK(cudaGetLastError());
    std::printf("waiting\n");
    std::fflush(stdout);
    CHECK(cudaDeviceSynchronize());
    return succeed("endless");
}
