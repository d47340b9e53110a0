// SPDX-License-Identifier: Apache-2.0
// What programs ask of a driver beside work: multiprocessors and green contexts, the error log, core dumps, launches as
// before CUDA 4; and handles that are none, after each of which everything still works.
#include <cuda.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void expect(int line, const char *what, CUresult found, CUresult wanted) {
    if (found == wanted) return;
    fprintf(stderr, "driver_tools.c:%d: %s: %d, expected %d\n", line, what, (int)found, (int)wanted);
    exit(1);
}
#define OK(call) expect(__LINE__, #call, call, CUDA_SUCCESS)
#define FAILS(error, call) expect(__LINE__, #call, call, error)
#define CHECK(condition) if (!(condition)) { fprintf(stderr, "driver_tools.c:%d: %s\n", __LINE__, #condition); exit(1); }

static const char ptx[] =
    ".version 6.4\n.target sm_70\n.address_size 64\n"
    ".visible .entry add(.param .u64 p, .param .u32 value) {\n"
    "  .reg .b32 %r<4>; .reg .b64 %d<2>;\n"
    "  ld.param.u64 %d1, [p]; ld.param.u32 %r1, [value];\n"
    "  red.global.add.u32 [%d1], %r1; ret; }\n";

static CUcontext primary;
static CUfunction add;
static CUdeviceptr sum;

static unsigned value_of_sum(void) {
    unsigned value = 0;
    OK(cuCtxSynchronize());
    OK(cuMemcpyDtoH(&value, sum, sizeof value));
    return value;
}

static void launch(CUstream stream, unsigned blocks, unsigned value) {
    void *parameters[] = {&sum, &value};
    OK(cuLaunchKernel(add, blocks, 1, 1, 1, 1, 1, 0, stream, parameters, NULL));
}

static void green_contexts(void) {
    CUdevResource whole, group, rest;
    unsigned groups = 1;
    int multiprocessors = 0;
    OK(cuDeviceGetAttribute(&multiprocessors, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 0));
    OK(cuDeviceGetDevResource(0, &whole, CU_DEV_RESOURCE_TYPE_SM));
    CHECK(whole.type == CU_DEV_RESOURCE_TYPE_SM && whole.sm.smCount == (unsigned)multiprocessors);
    OK(cuDevSmResourceSplitByCount(&group, &groups, &whole, &rest, 0, 1));
    CHECK(groups == 1 && group.sm.smCount >= whole.sm.minSmPartitionSize);
    CUdevResourceDesc descriptor;
    CUgreenCtx green;
    CUcontext context;
    CUstream stream;
    OK(cuDevResourceGenerateDesc(&descriptor, &group, 1));
    OK(cuGreenCtxCreate(&green, descriptor, 0, CU_GREEN_CTX_DEFAULT_STREAM));
    OK(cuCtxFromGreenCtx(&context, green));
    OK(cuGreenCtxStreamCreate(&stream, green, CU_STREAM_NON_BLOCKING, 0));
    unsigned before = value_of_sum();
    OK(cuCtxPushCurrent(context));
    launch(stream, 1000, 1);
    launch(NULL, 1000, 1);
    OK(cuCtxSynchronize());
    OK(cuCtxPopCurrent(NULL));
    CHECK(value_of_sum() == before + 2000);
    CUdevResource used;
    OK(cuStreamGetDevResource(stream, &used, CU_DEV_RESOURCE_TYPE_SM));
    CHECK(used.sm.smCount == group.sm.smCount);
    OK(cuGreenCtxDestroy(green));
    FAILS(CUDA_ERROR_STREAM_DETACHED, cuStreamQuery(stream));
    OK(cuStreamDestroy(stream));
}

static void launches_of_old(void) {
    unsigned before = value_of_sum();
    OK(cuFuncSetBlockShape(add, 2, 1, 1));
    OK(cuParamSetSize(add, 12));
    OK(cuParamSetv(add, 0, &sum, sizeof sum));
    OK(cuParamSeti(add, 8, 3));
    OK(cuLaunchGrid(add, 4, 5));
    OK(cuLaunch(add));
    CHECK(value_of_sum() == before + 3 * 2 * 21);
}

static void error_log(void) {
    CUlogIterator iterator;
    char text[4096];
    size_t size = sizeof text;
    OK(cuLogsCurrent(&iterator, 0));
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemFree(12));
    OK(cuLogsDumpToMemory(&iterator, text, &size, 0));
    CHECK(strstr(text, "[CUDA][E] Returning 1 (CUDA_ERROR_INVALID_VALUE) from cuMemFree_v2\n"));
    CHECK(size == strlen(text));
}

static void core_dumps(void) {
    char path[1024];
    bool on = true;
    size_t size = sizeof path;
    OK(cuCoredumpGetAttribute(CU_COREDUMP_FILE, path, &size));
    CHECK(strncmp(path, "core.cuda.", 10) == 0);
    size = sizeof on;
    FAILS(CUDA_ERROR_NOT_PERMITTED, cuCoredumpSetAttributeGlobal(CU_COREDUMP_ENABLE_ON_EXCEPTION, &on, &size));
}

static void device_questions(void) {
    size_t width = 0;
    OK(cuDeviceGetTexture1DLinearMaxWidth(&width, CU_AD_FORMAT_FLOAT, 4, 0));
    CHECK(width > 0);
    FAILS(CUDA_ERROR_INVALID_VALUE, cuDeviceGetTexture1DLinearMaxWidth(&width, CU_AD_FORMAT_FLOAT, 3, 0));
    CUatomicOperation operations[] = {CU_ATOMIC_OPERATION_INTEGER_ADD, CU_ATOMIC_OPERATION_CAS};
    unsigned capabilities[] = {7, 7};
    OK(cuDeviceGetHostAtomicCapabilities(capabilities, operations, 2, 0));
    CHECK(capabilities[0] == 0 && capabilities[1] == 0);
    FAILS(CUDA_ERROR_INVALID_DEVICE, cuDeviceGetP2PAtomicCapabilities(capabilities, operations, 2, 0, 0));
    for (int code = 0; code < 1000; code++) {
        const char *name = NULL, *words = NULL;
        CUresult known = cuGetErrorName((CUresult)code, &name);
        CHECK(known == cuGetErrorString((CUresult)code, &words));
        CHECK(known == CUDA_SUCCESS ? name && words && *words : !name && !words);
    }
}

// Every handle is a number that some program might come with: small, an address of its own, an object of another kind,
// an object that has ended.
static void stray_handles(void) {
    CUevent ended;
    OK(cuEventCreate(&ended, 0));
    OK(cuEventDestroy(ended));
    void *strays[] = {(void *)0x10, (void *)&ended, (void *)ptx, (void *)-1, (void *)~0xfful, ended, add, primary};
    for (unsigned i = 0; i < sizeof strays / sizeof *strays; i++) {
        void *stray = strays[i], *out[4] = {0};
        size_t size = 8;
        int number = 0;
        float time;
        unsigned before = value_of_sum();
#define STRAY(call) CHECK((call) != CUDA_SUCCESS)
        if (stray != primary) {
            STRAY(cuCtxSetCurrent((CUcontext)stray));
            STRAY(cuCtxPushCurrent((CUcontext)stray));
            STRAY(cuCtxRecordEvent((CUcontext)stray, NULL));
        }
        STRAY(cuCtxDestroy((CUcontext)stray));
        STRAY(cuModuleUnload((CUmodule)stray));
        STRAY(cuModuleGetFunction((CUfunction *)out, (CUmodule)stray, "add"));
        STRAY(cuModuleGetGlobal((CUdeviceptr *)out, &size, (CUmodule)stray, "x"));
        STRAY(cuLibraryUnload((CUlibrary)stray));
        STRAY(cuKernelGetFunction((CUfunction *)out, (CUkernel)stray));
        STRAY(cuLinkComplete((CUlinkState)stray, out, &size));
        if (stray != add) {
            STRAY(cuLaunchKernel((CUfunction)stray, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
            STRAY(cuFuncGetAttribute(&number, CU_FUNC_ATTRIBUTE_NUM_REGS, (CUfunction)stray));
            STRAY(cuParamSeti((CUfunction)stray, 0, 1));
            STRAY(cuLaunch((CUfunction)stray));
        }
        STRAY(cuStreamSynchronize((CUstream)stray));
        STRAY(cuStreamQuery((CUstream)stray));
        STRAY(cuStreamDestroy((CUstream)stray));
        STRAY(cuStreamWaitEvent(NULL, (CUevent)stray, 0));
        STRAY(cuStreamBeginCapture((CUstream)stray, CU_STREAM_CAPTURE_MODE_GLOBAL));
        STRAY(cuMemsetD8Async(sum, 0, 1, (CUstream)stray));
        STRAY(cuMemcpyHtoDAsync(sum, &before, 4, (CUstream)stray));
        STRAY(cuMemcpyDtoHAsync(&before, sum, 4, (CUstream)stray));
        STRAY(cuMemAllocAsync((CUdeviceptr *)out, 16, (CUstream)stray));
        STRAY(cuEventRecord((CUevent)stray, NULL));
        STRAY(cuEventQuery((CUevent)stray));
        STRAY(cuEventSynchronize((CUevent)stray));
        STRAY(cuEventElapsedTime(&time, (CUevent)stray, (CUevent)stray));
        STRAY(cuEventDestroy((CUevent)stray));
        STRAY(cuMemFree((CUdeviceptr)stray));
        STRAY(cuMemFreeAsync((CUdeviceptr)stray, NULL));
        STRAY(cuMemFreeHost(stray));
        STRAY(cuMemHostUnregister(stray));
        STRAY(cuMemPoolDestroy((CUmemoryPool)stray));
        STRAY(cuMemAllocFromPoolAsync((CUdeviceptr *)out, 16, (CUmemoryPool)stray, NULL));
        STRAY(cuMemRelease((CUmemGenericAllocationHandle)stray));
        STRAY(cuMemUnmap((CUdeviceptr)stray, 4096));
        STRAY(cuArrayDestroy((CUarray)stray));
        STRAY(cuMipmappedArrayDestroy((CUmipmappedArray)stray));
        STRAY(cuTexObjectDestroy((CUtexObject)stray));
        STRAY(cuSurfObjectDestroy((CUsurfObject)stray));
        STRAY(cuGraphDestroy((CUgraph)stray));
        STRAY(cuGraphDestroyNode((CUgraphNode)stray));
        STRAY(cuGraphLaunch((CUgraphExec)stray, NULL));
        STRAY(cuGraphExecDestroy((CUgraphExec)stray));
        STRAY(cuUserObjectRelease((CUuserObject)stray, 1));
        STRAY(cuGreenCtxDestroy((CUgreenCtx)stray));
        STRAY(cuCtxFromGreenCtx((CUcontext *)out, (CUgreenCtx)stray));
        STRAY(cuGreenCtxCreate((CUgreenCtx *)out, (CUdevResourceDesc)stray, 0, 1));
        STRAY(cuLogsUnregisterCallback((CUlogsCallbackHandle)stray));
        STRAY(cuCoredumpDeregisterStartCallback((CUcoredumpCallbackHandle)stray));
        STRAY(cuDeviceUnregisterAsyncNotification(0, (CUasyncCallbackHandle)stray));
        CUdevResource resource;
        memset(&resource, 0x5a, sizeof resource);
        resource.type = CU_DEV_RESOURCE_TYPE_SM;
        memcpy(resource._internal_padding, &stray, sizeof stray);
        STRAY(cuDevResourceGenerateDesc((CUdevResourceDesc *)out, &resource, 1));
        launch(NULL, 1, 1);
        CHECK(value_of_sum() == before + 1);
    }
}

int main(void) {
    CUmodule module;
    OK(cuInit(0));
    OK(cuDevicePrimaryCtxRetain(&primary, 0));
    OK(cuCtxSetCurrent(primary));
    OK(cuModuleLoadData(&module, ptx));
    OK(cuModuleGetFunction(&add, module, "add"));
    OK(cuMemAlloc(&sum, 4));
    OK(cuMemsetD32(sum, 0, 1));
    device_questions();
    error_log();
    core_dumps();
    launches_of_old();
    green_contexts();
    stray_handles();
    OK(cuDevicePrimaryCtxRelease(0));
    puts("ok driver_tools");
    return 0;
}
