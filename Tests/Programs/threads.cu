// SPDX-License-Identifier: Apache-2.0
// Many host threads at once, each with its own stream and memory, and one counter they all share.
#include <thread>

#include "check.h"

__global__ void work(int *own, int *shared, int thread) {
    own[threadIdx.x] += thread * 1000 + (int)threadIdx.x;
    if (threadIdx.x == 0) atomicAdd(shared, 1);
}

int main() {
    const int threads = 8, launches = 60, size = 64;
    DeviceArray<int> shared(std::vector<int>{0});
    std::vector<std::thread> running;
    for (int t = 0; t < threads; t++)
        running.emplace_back([t, &shared] {
            cudaStream_t stream;
            CHECK(cudaStreamCreate(&stream));
            DeviceArray<int> own(std::vector<int>(size, 0));
            for (int n = 0; n < launches; n++) {
                work<<<1, size, 0, stream>>>(own.data, shared.data, t);
                CHECK(cudaGetLastError());
                if (n % 16 == 0) CHECK(cudaStreamSynchronize(stream));
            }
            CHECK(cudaStreamSynchronize(stream));
            std::vector<int> found = own.download();
            for (int i = 0; i < size; i++) EXPECT(found[i] == launches * (t * 1000 + i));
            CHECK(cudaStreamDestroy(stream));
        });
    for (std::thread &thread : running) thread.join();
    CHECK(cudaDeviceSynchronize());
    EXPECT(shared.download()[0] == threads * launches);
    return succeed("threads");
}
