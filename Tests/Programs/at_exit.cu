// SPDX-License-Identifier: Apache-2.0
// Calls that arrive while the process ends, from an exit handler and from a static destructor.
#include "check.h"

__global__ void fill(int *values) { values[threadIdx.x] = (int)threadIdx.x; }

/// Whether a call worked or said that the runtime is on its way out; anything else is wrong.
static bool isFine(cudaError_t status) {
    return status == cudaSuccess || status == cudaErrorCudartUnloading || status == cudaErrorContextIsDestroyed;
}

struct FreesAtExit {
    int *memory = nullptr;
    ~FreesAtExit() {
        if (!isFine(cudaFree(memory))) {
            std::fprintf(stderr, "cudaFree at exit failed\n");
            _Exit(1);
        }
    }
};
static FreesAtExit global;

static void synchroniseAtExit() {
    if (!isFine(cudaDeviceSynchronize())) {
        std::fprintf(stderr, "cudaDeviceSynchronize at exit failed\n");
        _Exit(1);
    }
}

int main() {
    CHECK(cudaMalloc((void **)&global.memory, 64 * sizeof(int)));
    fill<<<1, 64>>>(global.memory);
    CHECK(cudaDeviceSynchronize());
    std::atexit(synchroniseAtExit);
    return succeed("at_exit");
}
