// SPDX-License-Identifier: Apache-2.0
// cuLaunchCooperativeKernelMultiDevice: one grid on each of two devices, whose streams wait for each other before and
// after, or do not.
#include <cuda.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void expect(int line, const char *what, CUresult found, CUresult wanted) {
    if (found == wanted) return;
    fprintf(stderr, "multi_device.c:%d: %s: %d, expected %d\n", line, what, (int)found, (int)wanted);
    exit(1);
}
#define OK(call) expect(__LINE__, #call, call, CUDA_SUCCESS)
#define FAILS(error, call) expect(__LINE__, #call, call, error)
#define CHECK(condition) if (!(condition)) { fprintf(stderr, "multi_device.c:%d: %s\n", __LINE__, #condition); exit(1); }

static const char ptx[] =
    ".version 6.4\n.target sm_70\n.address_size 64\n"
    ".visible .entry add(.param .u64 p, .param .u32 value) {\n"
    "  .reg .b32 %r<4>; .reg .b64 %d<2>;\n"
    "  ld.param.u64 %d1, [p]; ld.param.u32 %r1, [value];\n"
    "  red.global.add.u32 [%d1], %r1; ret; }\n";

static CUcontext contexts[2];
static CUdeviceptr sums[2];
static volatile int is_open;

static void wait_until_open(void *unused) {
    (void)unused;
    while (!is_open) usleep(1000);
}

// Whether the second stream comes to its end while the first stands still, before the launch.
static int second_goes_on(CUDA_LAUNCH_PARAMS *launches, unsigned flags) {
    is_open = 0;
    OK(cuLaunchHostFunc(launches[0].hStream, wait_until_open, NULL));
    OK(cuLaunchCooperativeKernelMultiDevice(launches, 2, flags));
    CUresult found = CUDA_ERROR_NOT_READY;
    for (int round = 0; round < 100 && found == CUDA_ERROR_NOT_READY; round++) {
        usleep(2000);
        found = cuStreamQuery(launches[1].hStream);
    }
    CHECK(cuStreamQuery(launches[0].hStream) == CUDA_ERROR_NOT_READY);
    is_open = 1;
    for (int index = 0; index < 2; index++) OK(cuStreamSynchronize(launches[index].hStream));
    return found == CUDA_SUCCESS;
}

static unsigned sum(int index) {
    unsigned value;
    OK(cuCtxSetCurrent(contexts[index]));
    OK(cuMemcpyDtoH(&value, sums[index], sizeof value));
    return value;
}

int main(void) {
    CUDA_LAUNCH_PARAMS launches[2] = {{0}};
    unsigned values[2] = {3, 5};
    void *parameters[2][2];
    OK(cuInit(0));
    for (int index = 0; index < 2; index++) {
        CUmodule module;
        int can = 0;
        OK(cuDeviceGetAttribute(&can, CU_DEVICE_ATTRIBUTE_COOPERATIVE_MULTI_DEVICE_LAUNCH, index));
        CHECK(can == 1);
        OK(cuDevicePrimaryCtxRetain(&contexts[index], index));
        OK(cuCtxSetCurrent(contexts[index]));
        OK(cuModuleLoadData(&module, ptx));
        OK(cuModuleGetFunction(&launches[index].function, module, "add"));
        OK(cuStreamCreate(&launches[index].hStream, CU_STREAM_NON_BLOCKING));
        OK(cuMemAlloc(&sums[index], 4));
        OK(cuMemsetD32(sums[index], 0, 1));
        OK(cuCtxSynchronize());
        parameters[index][0] = &sums[index];
        parameters[index][1] = &values[index];
        launches[index].gridDimX = 2;
        launches[index].gridDimY = launches[index].gridDimZ = 1;
        launches[index].blockDimX = 32;
        launches[index].blockDimY = launches[index].blockDimZ = 1;
        launches[index].kernelParams = parameters[index];
    }
    CHECK(!second_goes_on(launches, 0));
    CHECK(!second_goes_on(launches, CUDA_COOPERATIVE_LAUNCH_MULTI_DEVICE_NO_POST_LAUNCH_SYNC));
    CHECK(!second_goes_on(launches, CUDA_COOPERATIVE_LAUNCH_MULTI_DEVICE_NO_PRE_LAUNCH_SYNC));
    CHECK(second_goes_on(launches, CUDA_COOPERATIVE_LAUNCH_MULTI_DEVICE_NO_PRE_LAUNCH_SYNC
                                       | CUDA_COOPERATIVE_LAUNCH_MULTI_DEVICE_NO_POST_LAUNCH_SYNC));
    CHECK(sum(0) == 4 * 64 * 3 && sum(1) == 4 * 64 * 5);

    CUDA_LAUNCH_PARAMS wrong[2] = {launches[0], launches[0]};
    FAILS(CUDA_ERROR_INVALID_VALUE, cuLaunchCooperativeKernelMultiDevice(wrong, 2, 0));
    wrong[1] = launches[1];
    wrong[1].gridDimX = 3;
    FAILS(CUDA_ERROR_INVALID_VALUE, cuLaunchCooperativeKernelMultiDevice(wrong, 2, 0));
    wrong[1] = launches[1];
    wrong[1].hStream = NULL;
    FAILS(CUDA_ERROR_INVALID_VALUE, cuLaunchCooperativeKernelMultiDevice(wrong, 2, 0));
    CHECK(sum(0) == 4 * 64 * 3);
    printf("ok multi_device\n");
    return 0;
}
