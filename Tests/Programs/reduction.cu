// SPDX-License-Identifier: Apache-2.0
// Sums and maxima by warp shuffles of every kind, then across warps through shared memory.
#include "check.h"

__device__ int warpSum(int value) {
    for (int offset = 16; offset > 0; offset /= 2) value += __shfl_down_sync(0xffffffffu, value, offset);
    return value;
}

__device__ int warpMaximum(int value) {
    for (int mask = 16; mask > 0; mask /= 2) {
        int other = __shfl_xor_sync(0xffffffffu, value, mask);
        value = other > value ? other : value;
    }
    return value;
}

__global__ void reduce(const int *values, int count, int *sum, int *maximum) {
    __shared__ int sums[32], maxima[32];
    int total = 0, largest = -0x7fffffff;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
        total += values[i];
        largest = max(largest, values[i]);
    }
    total = warpSum(total);
    largest = warpMaximum(largest);
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    if (lane == 0) {
        sums[warp] = total;
        maxima[warp] = largest;
    }
    __syncthreads();
    if (warp == 0) {
        total = warpSum(lane < warps ? sums[lane] : 0);
        largest = warpMaximum(lane < warps ? maxima[lane] : -0x7fffffff);
        if (lane == 0) {
            atomicAdd(sum, total);
            atomicMax(maximum, largest);
        }
    }
}

/// Each lane asks another one, up, by index, and within groups of eight; votes say which lanes are odd.
__global__ void exchange(int *up, int *broadcast, int *grouped, unsigned *odd) {
    int lane = threadIdx.x;
    up[lane] = __shfl_up_sync(0xffffffffu, lane * 10, 3);
    broadcast[lane] = __shfl_sync(0xffffffffu, lane * 10, 5);
    grouped[lane] = __shfl_sync(0xffffffffu, lane * 10, 9, 8);
    unsigned ballot = __ballot_sync(0xffffffffu, lane & 1);
    if (lane == 0) {
        odd[0] = ballot;
        odd[1] = __popc(ballot);
    }
    odd[2 + lane] = __any_sync(0xffffffffu, lane == 7) && !__all_sync(0xffffffffu, lane < 31);
}

int main() {
    const int count = 50021;
    Random random;
    std::vector<int> values(count);
    int sum = 0, maximum = -0x7fffffff;
    for (int &value : values) {
        value = (int)(random.next() % 20001) - 10000;
        sum += value;
        if (value > maximum) maximum = value;
    }
    DeviceArray<int> deviceValues(values), deviceSum(std::vector<int>{0});
    DeviceArray<int> deviceMaximum(std::vector<int>{-0x7fffffff});
    reduce<<<4, 256>>>(deviceValues.data, count, deviceSum.data, deviceMaximum.data);
    CHECK(cudaGetLastError());
    EXPECT(deviceSum.download()[0] == sum);
    EXPECT(deviceMaximum.download()[0] == maximum);

    DeviceArray<int> up(32), broadcast(32), grouped(32);
    DeviceArray<unsigned> odd(34);
    exchange<<<1, 32>>>(up.data, broadcast.data, grouped.data, odd.data);
    CHECK(cudaGetLastError());
    std::vector<int> ups = up.download(), broadcasts = broadcast.download(), groups = grouped.download();
    std::vector<unsigned> odds = odd.download();
    for (int lane = 0; lane < 32; lane++) {
        EXPECT(ups[lane] == (lane < 3 ? lane : lane - 3) * 10);
        EXPECT(broadcasts[lane] == 50);
        EXPECT(groups[lane] == (lane / 8 * 8 + 1) * 10);
        EXPECT(odds[2 + lane] == 1);
    }
    EXPECT(odds[0] == 0xaaaaaaaau && odds[1] == 16);
    return succeed("reduction");
}
