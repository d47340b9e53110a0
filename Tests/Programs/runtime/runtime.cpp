// SPDX-License-Identifier: Apache-2.0
// One program over most of the CUDA runtime, in C++ that every runtime since 11.8 compiles: properties, memory, copies,
// launches, streams, events, symbols, occupancy, stream-ordered memory, a second context in another thread, and a
// device reset after which everything works again.
#include "../check.h"

#include <dlfcn.h>

#include <thread>

#ifndef RUNTIME_HAS_KERNELS
// Compiled by a host compiler: registration.cpp defines what nvcc would have made.
extern "C" {
void addScaled(const float *a, const float *b, float *sum, int count);
void incrementWords(int step);
extern int deviceWords[4];
extern float constantScale;
}
#endif

static void checkProperties() {
    int devices = 0, runtime = 0, driver = 0;
    CHECK(cudaGetDeviceCount(&devices));
    EXPECT(devices >= 1);
    CHECK(cudaRuntimeGetVersion(&runtime));
    CHECK(cudaDriverGetVersion(&driver));
    EXPECT(runtime == CUDART_VERSION && driver / 1000 >= runtime / 1000);
    for (int d = 0; d < devices; d++) {
        cudaDeviceProp properties;
        CHECK(cudaGetDeviceProperties(&properties, d));
        EXPECT(std::strlen(properties.name) > 0 && properties.totalGlobalMem > 0);
        EXPECT(properties.warpSize == 32 && properties.maxThreadsPerBlock >= 1024 && properties.major >= 7);
        int processors = 0;
        CHECK(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, d));
        EXPECT(processors == properties.multiProcessorCount && processors > 0);
        char busId[32];
        int found = -1;
        CHECK(cudaDeviceGetPCIBusId(busId, sizeof busId, d));
        CHECK(cudaDeviceGetByPCIBusId(&found, busId));
        EXPECT(found == d);
    }
    std::printf("runtime %d on driver %d\n", runtime, driver);
}

static void launchAddScaled(const float *a, const float *b, float *sum, int count, cudaStream_t stream) {
    void *arguments[] = {&a, &b, &sum, &count};
    CHECK(cudaLaunchKernel((const void *)addScaled, dim3((count + 127) / 128), dim3(128), arguments, 0, stream));
}

static void checkMemoryAndLaunch(float scale) {
    const int count = 5000;
    std::vector<float> a(count), b(count), expected(count);
    for (int i = 0; i < count; i++) {
        a[i] = (float)i;
        b[i] = (float)(count - i);
        expected[i] = a[i] + b[i] * scale;
    }
    size_t freeBefore = 0, freeDuring = 0, total = 0;
    CHECK(cudaMemGetInfo(&freeBefore, &total));
    EXPECT(freeBefore > 0 && freeBefore <= total);
    void *large = nullptr;
    CHECK(cudaMalloc(&large, 32 << 20));
    CHECK(cudaMemGetInfo(&freeDuring, &total));
    // Other threads of this program may give back a little meanwhile.
    EXPECT(freeDuring + (31 << 20) <= freeBefore);
    CHECK(cudaFree(large));

    DeviceArray<float> deviceA(a), deviceB(b), sum(count), copy(count);
    launchAddScaled(deviceA.data, deviceB.data, sum.data, count, nullptr);
    CHECK(cudaGetLastError());
    CHECK(cudaDeviceSynchronize());
    CHECK(cudaMemcpy(copy.data, sum.data, count * sizeof(float), cudaMemcpyDeviceToDevice));
    expectEqual(copy.download(), expected, "sum");

    // The direction can be told from the addresses.
    CHECK(cudaMemcpy(a.data(), copy.data, count * sizeof(float), cudaMemcpyDefault));
    expectEqual(a, expected, "default direction");
    cudaPointerAttributes attributes;
    CHECK(cudaPointerGetAttributes(&attributes, copy.data));
    EXPECT(attributes.type == cudaMemoryTypeDevice);
    CHECK(cudaPointerGetAttributes(&attributes, a.data()));
    EXPECT(attributes.type == cudaMemoryTypeUnregistered);

    EXPECT_ERROR(cudaErrorMemoryAllocation, cudaMalloc(&large, (size_t)1 << 46));
    EXPECT_ERROR(cudaErrorMemoryAllocation, cudaGetLastError());
    EXPECT_ERROR(cudaSuccess, cudaGetLastError());
    void *arguments[] = {nullptr};
    EXPECT(cudaLaunchKernel((const void *)incrementWords, dim3(1), dim3(4096), arguments, 0, nullptr) != cudaSuccess);
    cudaGetLastError();
}

static void checkStreamsAndEvents(float scale) {
    const int count = 4000;
    float *pinned;
    CHECK(cudaMallocHost((void **)&pinned, count * sizeof(float)));
    for (int i = 0; i < count; i++) pinned[i] = (float)i;
    cudaStream_t stream, other;
    cudaEvent_t start, middle, end;
    CHECK(cudaStreamCreate(&stream));
    CHECK(cudaStreamCreateWithPriority(&other, cudaStreamNonBlocking, 0));
    CHECK(cudaEventCreate(&start));
    CHECK(cudaEventCreateWithFlags(&middle, cudaEventDisableTiming));
    CHECK(cudaEventCreate(&end));
    DeviceArray<float> a(count), sum(count);
    CHECK(cudaEventRecord(start, stream));
    CHECK(cudaMemcpyAsync(a.data, pinned, count * sizeof(float), cudaMemcpyHostToDevice, stream));
    launchAddScaled(a.data, a.data, sum.data, count, stream);
    CHECK(cudaEventRecord(middle, stream));
    CHECK(cudaStreamWaitEvent(other, middle, 0));
    CHECK(cudaMemcpyAsync(pinned, sum.data, count * sizeof(float), cudaMemcpyDeviceToHost, other));
    CHECK(cudaStreamSynchronize(other));
    CHECK(cudaEventRecord(end, stream));
    CHECK(cudaEventSynchronize(end));
    for (int i = 0; i < count; i++) EXPECT(pinned[i] == (float)i + (float)i * scale);
    float milliseconds = -1;
    CHECK(cudaEventElapsedTime(&milliseconds, start, end));
    EXPECT(milliseconds >= 0);
    CHECK(cudaStreamQuery(stream));
    CHECK(cudaEventDestroy(start));
    CHECK(cudaEventDestroy(middle));
    CHECK(cudaEventDestroy(end));
    CHECK(cudaStreamDestroy(stream));
    CHECK(cudaStreamDestroy(other));
    CHECK(cudaFreeHost(pinned));
}

static void checkSymbols() {
    int words[4] = {10, 20, 30, 40}, found[4] = {}, step = 5;
    size_t size = 0;
    void *address = nullptr, *arguments[] = {&step};
    CHECK(cudaMemcpyFromSymbol(found, (const void *)deviceWords, sizeof found, 0, cudaMemcpyDeviceToHost));
    for (int i = 0; i < 4; i++) EXPECT(found[i] == i + 1);
    CHECK(cudaMemcpyToSymbol((const void *)deviceWords, words, sizeof words, 0, cudaMemcpyHostToDevice));
    CHECK(cudaLaunchKernel((const void *)incrementWords, dim3(1), dim3(4), arguments, 0, nullptr));
    CHECK(cudaMemcpyFromSymbol(found, (const void *)deviceWords, sizeof found, 0, cudaMemcpyDeviceToHost));
    for (int i = 0; i < 4; i++) EXPECT(found[i] == words[i] + step);
    CHECK(cudaGetSymbolAddress(&address, (const void *)deviceWords));
    CHECK(cudaGetSymbolSize(&size, (const void *)deviceWords));
    EXPECT(address != nullptr && size == sizeof words);
    float scale = 3.0f;
    CHECK(cudaMemcpyToSymbol((const void *)&constantScale, &scale, sizeof scale, 0, cudaMemcpyHostToDevice));
}

static void checkOccupancy() {
    int blocks = 0;
    CHECK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, (const void *)addScaled, 128, 0));
    EXPECT(blocks >= 1 && blocks <= 64);
    cudaFuncAttributes attributes;
    CHECK(cudaFuncGetAttributes(&attributes, (const void *)addScaled));
    EXPECT(attributes.maxThreadsPerBlock >= 128 && attributes.ptxVersion >= 70);
}

static void checkStreamOrderedMemory() {
    int supported = 0;
    CHECK(cudaDeviceGetAttribute(&supported, cudaDevAttrMemoryPoolsSupported, 0));
    EXPECT(supported == 1);
    cudaStream_t stream;
    CHECK(cudaStreamCreate(&stream));
    unsigned char *memory, found[256];
    for (int round = 1; round <= 3; round++) {
        CHECK(cudaMallocAsync((void **)&memory, sizeof found, stream));
        CHECK(cudaMemsetAsync(memory, round, sizeof found, stream));
        CHECK(cudaMemcpyAsync(found, memory, sizeof found, cudaMemcpyDeviceToHost, stream));
        CHECK(cudaFreeAsync(memory, stream));
        CHECK(cudaStreamSynchronize(stream));
        for (unsigned char byte : found) EXPECT(byte == round);
    }
    cudaMemPool_t pool;
    CHECK(cudaDeviceGetDefaultMemPool(&pool, 0));
    CHECK(cudaMemPoolTrimTo(pool, 0));
    CHECK(cudaStreamDestroy(stream));
}

/// Uses the driver API in a context of its own, while the main thread goes on in the runtime's.
static void useSecondContext() {
    void *driver = dlopen("libcuda.so.1", RTLD_NOW);
    EXPECT(driver != nullptr);
    auto contextCreate = (int (*)(void **, unsigned, int))dlsym(driver, "cuCtxCreate_v2");
    auto contextDestroy = (int (*)(void *))dlsym(driver, "cuCtxDestroy_v2");
    auto allocate = (int (*)(unsigned long long *, size_t))dlsym(driver, "cuMemAlloc_v2");
    auto release = (int (*)(unsigned long long))dlsym(driver, "cuMemFree_v2");
    auto set = (int (*)(unsigned long long, unsigned, size_t))dlsym(driver, "cuMemsetD32_v2");
    auto download = (int (*)(void *, unsigned long long, size_t))dlsym(driver, "cuMemcpyDtoH_v2");
    EXPECT(contextCreate && contextDestroy && allocate && release && set && download);
    for (unsigned round = 0; round < 3; round++) {
        void *context = nullptr;
        unsigned long long memory = 0;
        unsigned words[100] = {};
        EXPECT(contextCreate(&context, 0, 0) == 0);
        EXPECT(allocate(&memory, sizeof words) == 0);
        EXPECT(set(memory, 0xabcd0000u + round, 100) == 0);
        EXPECT(download(words, memory, sizeof words) == 0);
        for (unsigned word : words) EXPECT(word == 0xabcd0000u + round);
        EXPECT(release(memory) == 0);
        EXPECT(contextDestroy(context) == 0);
    }
    dlclose(driver);
}

/// Uses the runtime, in the context all its threads share.
static void useRuntime() {
    DeviceArray<float> memory(std::vector<float>(1000, 1.5f));
    launchAddScaled(memory.data, memory.data, memory.data, 1000, nullptr);
    CHECK(cudaGetLastError());
    for (float value : memory.download()) EXPECT(value == 1.5f + 1.5f * 3.0f);
}

int main() {
    checkProperties();
    CHECK(cudaSetDevice(0));
    checkMemoryAndLaunch(2.0f);
    checkStreamsAndEvents(2.0f);
    checkSymbols();  // Makes the scale 3.
    checkMemoryAndLaunch(3.0f);
    checkOccupancy();
    checkStreamOrderedMemory();
    std::thread second(useSecondContext), third(useRuntime);
    for (int i = 0; i < 5; i++) checkMemoryAndLaunch(3.0f);
    second.join();
    third.join();
    CHECK(cudaDeviceReset());
    // A module loaded anew has its initial values again.
    checkMemoryAndLaunch(2.0f);
    checkSymbols();
    return succeed("runtime");
}
