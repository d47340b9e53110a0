// SPDX-License-Identifier: Apache-2.0
// A process that forks before it uses the driver: every child and the parent have a GPU of their own, at the same time.
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

__global__ void fill(int *values, int value) { values[threadIdx.x] = value + (int)threadIdx.x; }

static void work(int value) {
    DeviceArray<int> memory(64);
    for (int round = 0; round < 20; round++) {
        fill<<<1, 64>>>(memory.data, value + round);
        CHECK(cudaGetLastError());
        std::vector<int> found = memory.download();
        for (int i = 0; i < 64; i++) EXPECT(found[i] == value + round + i);
    }
}

int main() {
    const int children = 3;
    pid_t child[children];
    for (int c = 0; c < children; c++) {
        child[c] = fork();
        EXPECT(child[c] >= 0);
        if (child[c] == 0) {
            work(1000 * c);
            return 0;  // Through the exit handlers, as a program ends.
        }
    }
    work(-1000);
    for (int c = 0; c < children; c++) {
        int status = -1;
        EXPECT(waitpid(child[c], &status, 0) == child[c]);
        EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    return succeed("fork_first");
}
