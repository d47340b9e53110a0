// SPDX-License-Identifier: Apache-2.0
// Rates of driver calls and of copies, as an application sees them: `driver-calls [CALLS]`. The lines are read by
// report.py. Heap allocations are counted by replacing malloc for the whole process.
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cuda.h>

static atomic_long allocations;
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *malloc(size_t size) {
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    return __libc_malloc(size);
}
void *calloc(size_t count, size_t size) {
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    return __libc_calloc(count, size);
}
void *realloc(void *old, size_t size) {
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    return __libc_realloc(old, size);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void check(CUresult result, const char *what) {
    if (result == CUDA_SUCCESS) return;
    fprintf(stderr, "driver-calls: %s: error %d\n", what, (int)result);
    exit(1);
}
#define CHECK(call) check((call), #call)

/// Times `count` calls after a few that warm up, and prints their rate.
#define RATE(name, count, call)                                                                               \
    do {                                                                                                      \
        for (int i = 0; i < (count) / 20 + 1; i++) CHECK(call);                                               \
        double start = now();                                                                                 \
        for (int i = 0; i < (count); i++) CHECK(call);                                                        \
        double seconds = now() - start;                                                                       \
        printf("%-28s %9.0f calls/s  %7.2f us\n", name, (count) / seconds, seconds / (count) * 1e6);          \
        fflush(stdout);                                                                                       \
    } while (0)

static const char kernel[] =
    ".version 7.0\n.target sm_52\n.address_size 64\n"
    ".visible .entry nothing(.param .u64 a, .param .u64 b, .param .u64 c) { ret; }\n";

static void CUDA_CB nothingOnHost(void *data) { (void)data; }

/// Launches a graph of 1,000 kernels in a row; with `host` a host function comes first.
static void measureGraph(CUfunction function, CUstream stream, int host) {
    enum { nodes = 1000, launches = 200 };
    void *a = NULL, *b = NULL, *c = NULL, *parameters[] = {&a, &b, &c};
    CUgraph graph;
    CUgraphExec executable;
    CHECK(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    if (host) CHECK(cuLaunchHostFunc(stream, nothingOnHost, NULL));
    for (int i = 0; i < nodes; i++)
        CHECK(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, stream, parameters, NULL));
    CHECK(cuStreamEndCapture(stream, &graph));
    double start = now();
    CHECK(cuGraphInstantiate(&executable, graph, 0));
    double instantiated = now() - start;
    CHECK(cuGraphLaunch(executable, stream));
    CHECK(cuStreamSynchronize(stream));
    start = now();
    for (int i = 0; i < launches; i++) CHECK(cuGraphLaunch(executable, stream));
    double posted = now() - start;
    CHECK(cuStreamSynchronize(stream));
    double seconds = now() - start;
    printf("%-28s %9.0f kernels/s  %7.2f us a launch for the caller, instantiated in %.2f ms\n",
           host ? "graph, 1000 kernels + host" : "graph, 1000 kernels", launches * (double)nodes / seconds,
           posted / launches * 1e6, instantiated * 1e3);
    CHECK(cuGraphExecDestroy(executable));
    CHECK(cuGraphDestroy(graph));
}

static void measureLaunches(int calls, CUstream stream) {
    CUmodule module;
    CUfunction function;
    CHECK(cuModuleLoadData(&module, kernel));
    CHECK(cuModuleGetFunction(&function, module, "nothing"));
    void *a = NULL, *b = NULL, *c = NULL, *parameters[] = {&a, &b, &c};
    CHECK(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, stream, parameters, NULL));
    CHECK(cuStreamSynchronize(stream));
    // As many as fit between the program and the worker: what a launch costs the thread that makes it.
    RATE("cuLaunchKernel(3 args)", calls, cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, stream, parameters, NULL));
    CHECK(cuStreamSynchronize(stream));
    // Many more: what the worker executes.
    calls *= 10;
    long before = atomic_load(&allocations);
    double start = now();
    for (int i = 0; i < calls; i++)
        CHECK(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, stream, parameters, NULL));
    long during = atomic_load(&allocations) - before;
    CHECK(cuStreamSynchronize(stream));
    double seconds = now() - start;
    printf("%-28s %9.0f calls/s  %7.2f us\n", "launch x N + sync", calls / seconds, seconds / calls * 1e6);
    printf("heap allocations in %d launches: %ld\n", calls, during);
    CUstream capturable;
    CHECK(cuStreamCreate(&capturable, CU_STREAM_NON_BLOCKING));
    measureGraph(function, capturable, 0);
    measureGraph(function, capturable, 1);
    CHECK(cuStreamDestroy(capturable));
}

static const size_t largest = (size_t)256 << 20;

static void measureCopies(const char *kind, CUdeviceptr device, unsigned char *source, unsigned char *target) {
    static const size_t sizes[] = {64 << 10, 1 << 20, 16 << 20, 256 << 20};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        size_t size = sizes[s];
        int rounds = (int)(((size_t)1 << 30) / size);
        if (rounds > 1000) rounds = 1000;
        CHECK(cuMemcpyHtoD(device, source, size));
        double start = now();
        for (int i = 0; i < rounds; i++) CHECK(cuMemcpyHtoD(device, source, size));
        CHECK(cuCtxSynchronize());
        double up = now() - start;
        start = now();
        for (int i = 0; i < rounds; i++) CHECK(cuMemcpyDtoH(target, device, size));
        double down = now() - start;
        if (memcmp(source, target, size) != 0) check(CUDA_ERROR_UNKNOWN, "comparing what came back");
        double bytes = (double)rounds * (double)size / 1e9;
        printf("%s %8zu KiB  HtoD %7.2f GB/s  DtoH %7.2f GB/s\n", kind, size >> 10, bytes / up, bytes / down);
        fflush(stdout);
    }
}

static void measureAllCopies(CUdeviceptr device) {
    unsigned char *source = malloc(largest), *target = malloc(largest), *pinnedSource, *pinnedTarget;
    if (!source || !target) check(CUDA_ERROR_OUT_OF_MEMORY, "malloc");
    unsigned long long state = 88172645463325252ull;
    for (size_t i = 0; i < largest / 8; i++) {  // Data that no compression could shrink.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        memcpy(source + i * 8, &state, 8);
    }
    // Pages of its own, as the raw measurement has; with 0 the compiler would take memory that has none yet.
    memset(target, 1, largest);
    measureCopies("pageable", device, source, target);
    free(target);
    target = malloc(largest);
    if (!target) check(CUDA_ERROR_OUT_OF_MEMORY, "malloc");
    double start = now();
    CHECK(cuMemcpyDtoH(target, device, largest));
    printf("%8zu KiB  DtoH %7.2f GB/s into an array that nobody has touched\n", largest >> 10,
           (double)largest / (now() - start) / 1e9);
    free(target);
    CHECK(cuMemAllocHost((void **)&pinnedSource, largest));
    CHECK(cuMemAllocHost((void **)&pinnedTarget, largest));
    memcpy(pinnedSource, source, largest);
    memset(pinnedTarget, 1, largest);
    free(source);
    measureCopies("pinned", device, pinnedSource, pinnedTarget);
}

int main(int argc, char **argv) {
    int calls = argc > 1 ? atoi(argv[1]) : 20000;
    if (calls < 20) {
        fprintf(stderr, "usage: driver-calls [CALLS], at least 20\n");
        return 64;
    }
    double start = now();
    CUdevice device;
    CUcontext context;
    CHECK(cuInit(0));
    CHECK(cuDeviceGet(&device, 0));
    CHECK(cuDevicePrimaryCtxRetain(&context, device));
    CHECK(cuCtxSetCurrent(context));
    CUdeviceptr memory;
    // A context is usable when something can be done in it.
    CHECK(cuMemAlloc(&memory, 4096));
    char name[64];
    double seconds = now() - start;
    CHECK(cuDeviceGetName(name, sizeof name, device));
    printf("init to context %.2f ms, device %s\n", seconds * 1e3, name);
    CHECK(cuMemFree(memory));

    CUstream stream;
    CUevent event;
    size_t freeBytes, totalBytes;
    char small[64] = {0};
    CUdeviceptr other;
    CHECK(cuStreamCreate(&stream, 0));
    CHECK(cuEventCreate(&event, 0));
    CHECK(cuMemAlloc(&memory, largest));
    RATE("cuCtxGetCurrent", calls, cuCtxGetCurrent(&context));
    RATE("cuMemGetInfo", calls, cuMemGetInfo(&freeBytes, &totalBytes));
    RATE("cuEventRecord", calls, cuEventRecord(event, stream));
    RATE("cuStreamWaitEvent", calls, cuStreamWaitEvent(stream, event, 0));
    RATE("cuStreamSynchronize", calls, cuStreamSynchronize(stream));
    RATE("HtoD 64B", calls, cuMemcpyHtoD(memory, small, sizeof small));
    RATE("HtoDAsync 64B", calls, cuMemcpyHtoDAsync(memory, small, sizeof small, stream));
    CHECK(cuStreamSynchronize(stream));
    RATE("cuMemAlloc+cuMemFree 1 MiB", calls / 4, (check(cuMemAlloc(&other, 1 << 20), "cuMemAlloc"), cuMemFree(other)));
    RATE("DtoH 64B", calls, cuMemcpyDtoH(small, memory, sizeof small));
    measureLaunches(calls, stream);
    measureAllCopies(memory);
    return 0;
}
