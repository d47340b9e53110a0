// SPDX-License-Identifier: Apache-2.0
// nvcc: -default-stream per-thread
// Programs compiled so that every thread's default stream is its own: threads do not wait for each other's work, and
// each sees its own in order.
#include <thread>

#include "check.h"

__global__ void add(int *values, int amount) { values[threadIdx.x] += amount; }

int main() {
    const int threads = 6, rounds = 30, size = 96;
    std::vector<std::thread> running;
    for (int t = 0; t < threads; t++)
        running.emplace_back([t] {
            int *memory, found[size];
            cudaEvent_t done;
            CHECK(cudaMalloc((void **)&memory, sizeof found));
            CHECK(cudaEventCreateWithFlags(&done, cudaEventDisableTiming));
            CHECK(cudaMemsetAsync(memory, 0, sizeof found, cudaStreamPerThread));
            for (int round = 1; round <= rounds; round++) {
                add<<<1, size>>>(memory, t + round);
                CHECK(cudaGetLastError());
            }
            CHECK(cudaEventRecord(done));
            CHECK(cudaEventSynchronize(done));
            CHECK(cudaMemcpy(found, memory, sizeof found, cudaMemcpyDeviceToHost));
            for (int value : found) EXPECT(value == rounds * t + rounds * (rounds + 1) / 2);
            CHECK(cudaStreamSynchronize(0));
            CHECK(cudaEventDestroy(done));
            CHECK(cudaFree(memory));
        });
    for (std::thread &thread : running) thread.join();
    CHECK(cudaDeviceSynchronize());
    return succeed("per_thread");
}
