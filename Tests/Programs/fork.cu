// SPDX-License-Identifier: Apache-2.0
// Processes that fork: before the driver is used both sides work; a child that inherits an initialised driver is told so
// and harms nobody; a child that executes a program anew works.
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

__global__ void fill(int *values, int value) { values[threadIdx.x] = value + (int)threadIdx.x; }

static void work(int value) {
    DeviceArray<int> memory(64);
    fill<<<1, 64>>>(memory.data, value);
    CHECK(cudaGetLastError());
    std::vector<int> found = memory.download();
    for (int i = 0; i < 64; i++) EXPECT(found[i] == value + i);
}

/// Runs `body` in a child, which must end with status 0.
template <typename Body> static void inChild(Body body) {
    std::fflush(nullptr);
    pid_t child = fork();
    EXPECT(child >= 0);
    if (child == 0) {
        body();
        _exit(0);
    }
    int status = -1;
    EXPECT(waitpid(child, &status, 0) == child);
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(int argc, char **argv) {
    work(0);
    if (argc > 1) return 0;  // Executed by the child below.

    DeviceArray<int> before(std::vector<int>(100, 7));
    inChild([] {
        void *memory = nullptr;
        EXPECT_ERROR(cudaErrorInitializationError, cudaMalloc(&memory, 64));
        EXPECT_ERROR(cudaErrorInitializationError, cudaDeviceSynchronize());
    });
    work(1);
    inChild([argv] {
        execl("/proc/self/exe", argv[0], "again", (char *)nullptr);
        _exit(1);
    });
    work(2);
    for (int value : before.download()) EXPECT(value == 7);
    return succeed("fork");
}
