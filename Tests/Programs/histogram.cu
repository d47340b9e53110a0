// SPDX-License-Identifier: Apache-2.0
// A histogram with atomics in shared and in global memory, and the other atomic operations.
#include "check.h"

const int bins = 64;

__global__ void histogram(const unsigned *values, int count, unsigned *totals) {
    __shared__ unsigned local[bins];
    for (int i = threadIdx.x; i < bins; i += blockDim.x) local[i] = 0;
    __syncthreads();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x)
        atomicAdd(&local[values[i] % bins], 1u);
    __syncthreads();
    for (int i = threadIdx.x; i < bins; i += blockDim.x) atomicAdd(&totals[i], local[i]);
}

struct Results {
    int minimum, maximum, subtracted;
    unsigned all, any, odd, wrapped, countdown;
    unsigned long long sum64;
    float sumFloat;
    double sumDouble;
    int swaps;
};

__global__ void atomics(Results *r) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    atomicMin(&r->minimum, i - 7);
    atomicMax(&r->maximum, i);
    atomicSub(&r->subtracted, 2);
    atomicAnd(&r->all, ~(1u << (i % 16)));
    atomicOr(&r->any, 1u << (i % 20));
    atomicXor(&r->odd, (unsigned)i);
    atomicInc(&r->wrapped, 9);
    atomicDec(&r->countdown, 100);
    atomicAdd(&r->sum64, 1ull << 33);
    atomicAdd(&r->sumFloat, 0.5f);
    // A double sum by compare and swap, as programs for older GPUs do.
    unsigned long long *bits = (unsigned long long *)&r->sumDouble, seen = *bits, expected;
    do {
        expected = seen;
        seen = atomicCAS(bits, expected, __double_as_longlong(__longlong_as_double(expected) + 0.25));
    } while (seen != expected);
    if (atomicExch(&r->swaps, i) != i) atomicAdd(&r->sumDouble, 1.0);
}

int main() {
    const int count = 60000;
    Random random;
    std::vector<unsigned> values(count), expected(bins, 0);
    for (unsigned &value : values) {
        value = random.next();
        expected[value % bins]++;
    }
    DeviceArray<unsigned> deviceValues(values), totals(std::vector<unsigned>(bins, 0));
    histogram<<<6, 128>>>(deviceValues.data, count, totals.data);
    CHECK(cudaGetLastError());
    expectEqual(totals.download(), expected, "histogram");

    Results start = {};
    start.all = 0xffffffffu;
    start.countdown = 50;
    start.swaps = -1;
    DeviceArray<Results> device(std::vector<Results>{start});
    const int threads = 4 * 64;
    atomics<<<4, 64>>>(device.data);
    CHECK(cudaGetLastError());
    Results r = device.download()[0];
    unsigned odd = 0;
    for (int i = 0; i < threads; i++) odd ^= (unsigned)i;
    unsigned countdown = 50;
    for (int i = 0; i < threads; i++) countdown = countdown == 0 || countdown > 100 ? 100 : countdown - 1;
    EXPECT(r.minimum == -7 && r.maximum == threads - 1 && r.subtracted == -2 * threads);
    EXPECT(r.all == 0xffff0000u && r.any == 0xfffffu && r.odd == odd);
    EXPECT(r.wrapped == threads % 10 && r.countdown == countdown);
    EXPECT(r.sum64 == (unsigned long long)threads << 33);
    EXPECT(r.sumFloat == threads * 0.5f && r.sumDouble == threads * 1.25);
    return succeed("histogram");
}
