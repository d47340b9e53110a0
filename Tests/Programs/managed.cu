// SPDX-License-Identifier: Apache-2.0
// Managed memory, managed variables and host memory that kernels use: the host and the device see what the other wrote.
#include <thread>

#include "check.h"

__managed__ int counter = 5;
__managed__ float table[3000];
__device__ int between = 77;
__managed__ double last = 2.5;

__global__ void addOne(int *values, int count) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) values[i] += 1;
}

__global__ void useVariables() {
    atomicAdd(&counter, 1);
    table[threadIdx.x] += 1;
    if (threadIdx.x == 0) {
        last *= 2;
        between++;
    }
}

__global__ void followPointers(int **lists, int *result) { *result = lists[0][3] + lists[1][4]; }

static void addOneToAll(int *values, int count, cudaStream_t stream = nullptr) {
    addOne<<<(count + 255) / 256, 256, 0, stream>>>(values, count);
    CHECK(cudaGetLastError());
}

static int wrong(const int *values, int count, int base) {
    int errors = 0;
    for (int i = 0; i < count; i++) errors += values[i] != i + base;
    return errors;
}

static void CUDART_CB doubleInHost(void *data) {
    int *values = (int *)data;
    for (int i = 0; i < 100; i++) values[i] *= 2;
}

/// Host and device by turns, all of it and a single element at a time.
static void takeTurns() {
    const int count = 1 << 20;
    int *values;
    CHECK(cudaMallocManaged((void **)&values, count * sizeof(int)));
    for (int i = 0; i < count; i++) values[i] = i;
    addOneToAll(values, count);
    CHECK(cudaDeviceSynchronize());
    EXPECT(wrong(values, count, 1) == 0);
    for (int turn = 0; turn < 20; turn++) {
        values[turn * 5000] = 0;
        addOneToAll(values, count);
        CHECK(cudaDeviceSynchronize());
        EXPECT(values[turn * 5000] == 1);
        EXPECT(values[count - 1] == count + turn + 1);
    }
    cudaPointerAttributes attributes;
    CHECK(cudaPointerGetAttributes(&attributes, values));
    EXPECT(attributes.type == cudaMemoryTypeManaged && attributes.hostPointer == values);
    CHECK(cudaFree(values));
    EXPECT_ERROR(cudaErrorInvalidValue, cudaFree(values));
    cudaGetLastError();
}

/// Copies and sets whose one side is managed memory, or both.
static void copyAndSet() {
    const int count = 50000, bytes = count * sizeof(int);
    int *one, *other;
    CHECK(cudaMallocManaged((void **)&one, bytes));
    CHECK(cudaMallocManaged((void **)&other, bytes));
    DeviceArray<int> device(count);
    std::vector<int> host(count);
    for (int i = 0; i < count; i++) one[i] = i;
    CHECK(cudaMemcpy(device.data, one, bytes, cudaMemcpyDefault));
    addOneToAll(device.data, count);
    CHECK(cudaMemcpy(other, device.data, bytes, cudaMemcpyDefault));
    EXPECT(wrong(other, count, 1) == 0);
    other[7] = 8;
    CHECK(cudaMemcpy(one, other, bytes, cudaMemcpyDefault));
    CHECK(cudaMemcpy(host.data(), one, bytes, cudaMemcpyDefault));
    EXPECT(wrong(host.data(), count, 1) == 0);
    for (int &value : host) value += 9;
    CHECK(cudaMemcpy(one, host.data(), bytes, cudaMemcpyDefault));
    EXPECT(wrong(one, count, 10) == 0);
    // A part is set on the device; what the host wrote around it stays.
    one[0] = 1000;
    one[199] = 1199;
    CHECK(cudaMemset(one + 1, 0xff, 198 * sizeof(int)));
    EXPECT(one[0] == 1000 && one[1] == -1 && one[198] == -1 && one[199] == 1199);
    CHECK(cudaMemcpy2D(other, 400, one, 400, 200, 100, cudaMemcpyDefault));
    EXPECT(other[0] == 1000 && other[1] == -1 && other[50] == 51);
    CHECK(cudaFree(one));
    CHECK(cudaFree(other));
}

/// Pointers in managed memory to managed memory, and advice.
static void structures() {
    int **lists, *result;
    CHECK(cudaMallocManaged((void **)&lists, 2 * sizeof(int *)));
    CHECK(cudaMallocManaged((void **)&result, sizeof(int)));
    for (int list = 0; list < 2; list++) {
        CHECK(cudaMallocManaged((void **)&lists[list], 10 * sizeof(int)));
        for (int i = 0; i < 10; i++) lists[list][i] = 100 * list + i;
    }
    int device = -5;
    CHECK(cudaMemPrefetchAsync(lists[0], 10 * sizeof(int), cudaMemLocation{cudaMemLocationTypeDevice, 0}, 0));
    CHECK(cudaMemAdvise(result, sizeof(int), cudaMemAdviseSetPreferredLocation,
                        cudaMemLocation{cudaMemLocationTypeDevice, 0}));
    CHECK(cudaMemRangeGetAttribute(&device, sizeof device, cudaMemRangeAttributePreferredLocation, result, sizeof(int)));
    EXPECT(device == 0);
    EXPECT_ERROR(cudaErrorInvalidValue, cudaMemPrefetchAsync(&device, 4, cudaMemLocation{cudaMemLocationTypeDevice, 0}, 0));
    cudaGetLastError();
    followPointers<<<1, 1>>>(lists, result);
    CHECK(cudaDeviceSynchronize());
    EXPECT(*result == 3 + 104);
}

static void variables() {
    EXPECT(counter == 5 && last == 2.5);
    table[10] = 41;
    counter = 7;
    useVariables<<<1, 100>>>();
    CHECK(cudaDeviceSynchronize());
    EXPECT(counter == 107 && table[10] == 42 && table[0] == 1 && table[2999] == 0 && last == 5);
    last = 10;
    useVariables<<<1, 100>>>();
    int seen;
    CHECK(cudaMemcpyFromSymbol(&seen, between, sizeof seen));
    EXPECT(seen == 79);
    EXPECT(last == 20);
}

/// Host memory that kernels read and write where it is, with its device address or without.
static void hostMemory() {
    const int count = 3000;
    int *mapped, *plain, *device;
    CHECK(cudaHostAlloc((void **)&mapped, count * sizeof(int), cudaHostAllocMapped));
    CHECK(cudaMallocHost((void **)&plain, count * sizeof(int)));
    for (int i = 0; i < count; i++) mapped[i] = plain[i] = i;
    CHECK(cudaHostGetDevicePointer((void **)&device, mapped, 0));
    addOneToAll(device, count);
    addOneToAll(plain, count);
    // The device's address is one for copies too.
    int first;
    CHECK(cudaMemcpy(&first, device, sizeof first, cudaMemcpyDeviceToHost));
    EXPECT(first == 1);
    CHECK(cudaMemset(device, 0, sizeof(int)));
    EXPECT(mapped[1] == 2);
    CHECK(cudaDeviceSynchronize());
    EXPECT(mapped[0] == 0);
    mapped[0] = 1;
    EXPECT_ERROR(cudaErrorInvalidValue, device == mapped ? cudaErrorInvalidValue : cudaFree(device));
    cudaGetLastError();
    CHECK(cudaDeviceSynchronize());
    EXPECT(wrong(mapped, count, 1) == 0);
    EXPECT(wrong(plain, count, 1) == 0);
    // Both are still what copies use.
    DeviceArray<int> array(count);
    CHECK(cudaMemcpyAsync(array.data, plain, count * sizeof(int), cudaMemcpyHostToDevice));
    addOneToAll(array.data, count);
    CHECK(cudaMemcpyAsync(mapped, array.data, count * sizeof(int), cudaMemcpyDeviceToHost));
    CHECK(cudaStreamSynchronize(nullptr));
    EXPECT(wrong(mapped, count, 2) == 0);
    std::memset(plain, 0, 100 * sizeof(int));
    addOneToAll(plain, count);
    CHECK(cudaDeviceSynchronize());
    EXPECT(plain[99] == 1 && plain[100] == 102);
    CHECK(cudaFreeHost(mapped));
    CHECK(cudaFreeHost(plain));
}

/// Threads that touch memory while others launch, and a host function that touches it in the middle of its stream.
static void together() {
    const int threads = 4, count = 40000;
    std::vector<std::thread> running;
    for (int t = 0; t < threads; t++) {
        running.emplace_back([t] {
            int *values;
            cudaStream_t stream;
            CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
            CHECK(cudaMallocManaged((void **)&values, count * sizeof(int)));
            for (int i = 0; i < count; i++) values[i] = i;
            for (int turn = 0; turn < 10; turn++) {
                addOneToAll(values, count, stream);
                CHECK(cudaStreamSynchronize(stream));
                EXPECT(wrong(values, count, turn + 1) == 0);
            }
            CHECK(cudaLaunchHostFunc(stream, doubleInHost, values));
            addOneToAll(values, count, stream);
            CHECK(cudaStreamSynchronize(stream));
            EXPECT(values[50] == 2 * (50 + 10) + 1 && values[200] == 200 + 11);
            CHECK(cudaFree(values));
        });
    }
    for (auto &thread : running) thread.join();
}

int main() {
    variables();
    takeTurns();
    copyAndSet();
    structures();
    hostMemory();
    together();
    std::printf("ok managed\n");
    return 0;
}
