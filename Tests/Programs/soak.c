// SPDX-License-Identifier: Apache-2.0
// Makes mixed driver calls, as many as it is told, and checks their results on the way. Its own memory must not grow:
//
//   soak CALLS
//
// prints `calls resident-KiB` every few seconds and `ok soak CALLS` at the end. Who runs it watches the worker.
#include <cuda.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static unsigned long calls;

#define CALL(call)                                                                                  \
    do {                                                                                            \
        CUresult code = (call);                                                                     \
        calls++;                                                                                    \
        if (code != CUDA_SUCCESS) {                                                                 \
            fprintf(stderr, "soak: %s returned %d after %lu calls\n", #call, (int)code, calls);      \
            exit(1);                                                                                \
        }                                                                                           \
    } while (0)

static const char image[] =
    ".version 7.0\n.target sm_70\n.address_size 64\n"
    ".visible .entry add(.param .u64 place, .param .u32 amount) {\n"
    ".reg .b32 %r<3>; .reg .b64 %a<3>;\n"
    "ld.param.u64 %a1, [place]; ld.param.u32 %r1, [amount];\n"
    "cvta.to.global.u64 %a2, %a1; red.global.add.u32 [%a2], %r1; ret;\n}\n";

static long resident_kib(void) {
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%*d %ld", &pages) != 1) exit(1);
    fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

enum { launches = 24, bytes = 4096, streams = 4 };

// One round: work of every kind, whose sum is known.
static void round_of_calls(CUfunction add, CUdeviceptr sum, CUstream *stream, unsigned *pinned, unsigned round) {
    unsigned expected = 0, found = 0;
    CALL(cuMemsetD32Async(sum, 0, 1, stream[0]));
    CUevent begun, done;
    CALL(cuEventCreate(&begun, CU_EVENT_DISABLE_TIMING));
    CALL(cuEventCreate(&done, CU_EVENT_DEFAULT));
    CALL(cuEventRecord(begun, stream[0]));
    for (int i = 1; i < streams; i++) CALL(cuStreamWaitEvent(stream[i], begun, 0));
    for (int i = 0; i < launches; i++) {
        unsigned amount = round % 7 + i;
        void *arguments[] = {&sum, &amount};
        CALL(cuLaunchKernel(add, 1, 1, 1, 1, 1, 1, 0, stream[i % streams], arguments, NULL));
        expected += amount;
    }
    for (int i = 1; i < streams; i++) {
        CALL(cuEventRecord(done, stream[i]));
        CALL(cuStreamWaitEvent(stream[0], done, 0));
    }
    CUdeviceptr block, pooled;
    CALL(cuMemAlloc(&block, bytes << (round % 6)));
    CALL(cuMemAllocAsync(&pooled, bytes, stream[0]));
    for (int i = 0; i < bytes / 4; i++) pinned[i] = round + i;
    CALL(cuMemcpyHtoDAsync(block, pinned, bytes, stream[0]));
    CALL(cuMemcpyDtoDAsync(pooled, block, bytes, stream[0]));
    CALL(cuMemcpyDtoHAsync(pinned + bytes / 4, pooled, bytes, stream[0]));
    CALL(cuMemFreeAsync(pooled, stream[0]));
    CALL(cuStreamSynchronize(stream[0]));
    if (memcmp(pinned, pinned + bytes / 4, bytes) != 0) {
        fprintf(stderr, "soak: a copy differs in round %u\n", round);
        exit(1);
    }
    CALL(cuMemcpyDtoH(&found, sum, sizeof found));
    if (found != expected) {
        fprintf(stderr, "soak: round %u sums up to %u, not %u\n", round, found, expected);
        exit(1);
    }
    CALL(cuMemFree(block));
    CALL(cuEventDestroy(begun));
    CALL(cuEventDestroy(done));
    if (round % 16 == 0) {
        CUstream short_lived;
        CALL(cuStreamCreate(&short_lived, CU_STREAM_NON_BLOCKING));
        CALL(cuMemsetD8Async(sum, 1, 4, short_lived));
        CALL(cuStreamDestroy(short_lived));
        size_t available, total;
        CALL(cuMemGetInfo(&available, &total));
    }
}

int main(int count, char **words) {
    unsigned long wanted = count == 2 ? strtoul(words[1], NULL, 10) : 0;
    if (wanted == 0) return fprintf(stderr, "usage: soak CALLS\n"), 64;
    CUdevice device;
    CUcontext context;
    CUmodule module, again;
    CUfunction add;
    CUdeviceptr sum;
    CUstream stream[streams];
    unsigned *pinned;
    CALL(cuInit(0));
    CALL(cuDeviceGet(&device, 0));
    CALL(cuDevicePrimaryCtxRetain(&context, device));
    CALL(cuCtxSetCurrent(context));
    CALL(cuModuleLoadData(&module, image));
    CALL(cuModuleGetFunction(&add, module, "add"));
    CALL(cuMemAlloc(&sum, 4));
    CALL(cuMemAllocHost((void **)&pinned, 2 * bytes));
    for (int i = 0; i < streams; i++) CALL(cuStreamCreate(&stream[i], CU_STREAM_NON_BLOCKING));
    time_t told = time(NULL);
    for (unsigned round = 0; calls < wanted; round++) {
        round_of_calls(add, sum, stream, pinned, round);
        if (round % 2000 == 1999) {
            // Loaded and compiled anew, and unloaded: neither end may keep anything of it.
            CUfunction other;
            CALL(cuModuleLoadData(&again, image));
            CALL(cuModuleGetFunction(&other, again, "add"));
            unsigned amount = 0;
            void *arguments[] = {&sum, &amount};
            CALL(cuLaunchKernel(other, 1, 1, 1, 1, 1, 1, 0, stream[0], arguments, NULL));
            CALL(cuStreamSynchronize(stream[0]));
            CALL(cuModuleUnload(again));
        }
        if (time(NULL) >= told + 2) {
            told = time(NULL);
            printf("%lu %ld\n", calls, resident_kib());
            fflush(stdout);
        }
    }
    printf("%lu %ld\nok soak %lu\n", calls, resident_kib(), calls);
    return 0;
}
