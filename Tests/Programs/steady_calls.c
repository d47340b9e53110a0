// SPDX-License-Identifier: Apache-2.0
// Makes many calls of one kind after another and prints, for each kind, how many heap allocations all processes of the
// folder BITFUSION_ALLOCATIONS have made meanwhile: `KIND CALLS CLIENT WORKER`, the worker's own code only.
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cuda.h"

#define CHECK(call)                                                                            \
    do {                                                                                       \
        CUresult result = (call);                                                              \
        if (result != CUDA_SUCCESS) {                                                          \
            fprintf(stderr, "%s: error %d\n", #call, (int)result);                             \
            exit(1);                                                                           \
        }                                                                                      \
    } while (0)

struct counts {
    unsigned long client, workers;
};

static struct counts read_counts(void) {
    struct counts counts = {0, 0};
    const char *folder = getenv("BITFUSION_ALLOCATIONS");
    DIR *entries = folder ? opendir(folder) : NULL;
    if (!entries) exit(2);
    for (struct dirent *entry; (entry = readdir(entries));) {
        char path[4096];
        unsigned long words[2];
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        FILE *file = atoi(entry->d_name) > 0 ? fopen(path, "rb") : NULL;
        if (!file) continue;
        if (fread(words, sizeof words, 1, file) == 1) {
            if (atoi(entry->d_name) == getpid())
                counts.client += words[0] + words[1];
            else
                counts.workers += words[0];
        }
        fclose(file);
    }
    closedir(entries);
    return counts;
}

static CUstream stream;
static CUevent event;
static CUfunction function;
static CUdeviceptr memory;
static char *pageable, *pinned;

static void launch(void) {
    static CUdeviceptr value;
    void *parameters[] = {&value, &value, &value};
    CHECK(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, stream, parameters, NULL));
}
static void record(void) { CHECK(cuEventRecord(event, stream)); }
static void wait_event(void) { CHECK(cuStreamWaitEvent(stream, event, 0)); }
static void query(void) {
    CUresult result = cuEventQuery(event);
    if (result != CUDA_ERROR_NOT_READY) CHECK(result);
}
static void synchronize(void) { CHECK(cuEventSynchronize(event)); }
static void small_up(void) { CHECK(cuMemcpyHtoDAsync(memory, pageable, 64, stream)); }
static void small_down(void) { CHECK(cuMemcpyDtoH(pageable, memory, 64)); }
static void up(void) { CHECK(cuMemcpyHtoD(memory, pageable, 1 << 20)); }
static void down(void) { CHECK(cuMemcpyDtoH(pageable, memory, 1 << 20)); }
static void pinned_up(void) { CHECK(cuMemcpyHtoDAsync(memory, pinned, 1 << 20, stream)); }
static void pinned_down(void) { CHECK(cuMemcpyDtoHAsync(pinned, memory, 1 << 20, stream)); }

/// The fewest of some attempts: a worker that is started ahead meanwhile allocates too.
static void measure(const char *kind, void (*call)(void), int calls) {
    unsigned long client = ~0ul, workers = ~0ul;
    for (int attempt = 0; attempt < 4; attempt++) {
        CHECK(cuCtxSynchronize());
        read_counts();
        struct counts before = read_counts(), empty = read_counts();
        for (int i = 0; i < calls; i++) call();
        // Answered behind everything that was sent.
        CUresult result;
        while ((result = cuStreamQuery(stream)) == CUDA_ERROR_NOT_READY) {}
        CHECK(result);
        struct counts after = read_counts();
        // Reading the counts allocates too.
        unsigned long own = empty.client - before.client;
        if (after.client - empty.client - own < client) client = after.client - empty.client - own;
        if (after.workers - empty.workers < workers) workers = after.workers - empty.workers;
    }
    printf("%s %d %lu %lu\n", kind, calls, client, workers);
}

int main(void) {
    static const char text[] =
        ".version 7.0\n.target sm_52\n.address_size 64\n"
        ".visible .entry nothing(.param .u64 a, .param .u64 b, .param .u64 c) { ret; }\n";
    CUdevice device;
    CUcontext context;
    CUmodule module;
    CHECK(cuInit(0));
    CHECK(cuDeviceGet(&device, 0));
    CHECK(cuDevicePrimaryCtxRetain(&context, device));
    CHECK(cuCtxSetCurrent(context));
    CHECK(cuStreamCreate(&stream, 0));
    CHECK(cuEventCreate(&event, 0));
    CHECK(cuModuleLoadData(&module, text));
    CHECK(cuModuleGetFunction(&function, module, "nothing"));
    CHECK(cuMemAlloc(&memory, 1 << 20));
    CHECK(cuMemHostAlloc((void **)&pinned, 1 << 20, 0));
    pageable = malloc(1 << 20);
    memset(pageable, 1, 1 << 20);
    measure("launch", launch, 20000);
    measure("cuEventRecord", record, 20000);
    measure("cuStreamWaitEvent", wait_event, 20000);
    measure("cuEventQuery", query, 2000);
    measure("cuEventSynchronize", synchronize, 2000);
    measure("cuMemcpyHtoDAsync-64", small_up, 20000);
    measure("cuMemcpyDtoH-64", small_down, 2000);
    measure("cuMemcpyHtoD-1M", up, 200);
    measure("cuMemcpyDtoH-1M", down, 200);
    measure("cuMemcpyHtoDAsync-pinned-1M", pinned_up, 200);
    measure("cuMemcpyDtoHAsync-pinned-1M", pinned_down, 200);
    puts("ok steady_calls");
    return 0;
}
