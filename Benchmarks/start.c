// SPDX-License-Identifier: Apache-2.0
// The start of a program whose code is a fat binary: `start`. Prints the milliseconds from the first CUDA call to the end
// of the first kernel, and of these what making the context and loading the code took. The fat binary is linked in as
// nvcc does it (FATBIN names the file), so that its pages are read from the program's file when they are touched.
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cuda.h>

__asm__(".section .nv_fatbin, \"a\"\n.balign 16\n.globl fat_binary\nfat_binary:\n.incbin \"" FATBIN "\"\n.previous\n");
extern const char fat_binary[];

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void check(CUresult result, const char *what) {
    const char *name = "unknown";
    if (result == CUDA_SUCCESS) return;
    cuGetErrorName(result, &name);
    fprintf(stderr, "start: %s: %s\n", what, name);
    exit(1);
}
#define CHECK(call) check((call), #call)

int main(void) {
    double begin = now();
    CUcontext context;
    CUlibrary library;
    CUkernel kernel;
    CUdeviceptr place;
    unsigned value = 0;
    CHECK(cuInit(0));
    CHECK(cuDevicePrimaryCtxRetain(&context, 0));
    CHECK(cuCtxSetCurrent(context));
    double made = now();
    // As the CUDA runtime loads the code of a program.
    CUlibraryOption option = CU_LIBRARY_BINARY_IS_PRESERVED;
    void *yes = (void *)1;
    CHECK(cuLibraryLoadData(&library, fat_binary, NULL, NULL, 0, &option, &yes, 1));
    CHECK(cuLibraryGetKernel(&kernel, library, "answer"));
    double loaded = now();
    CHECK(cuMemAlloc(&place, sizeof value));
    void *parameters[] = {&place};
    CHECK(cuLaunchKernel((CUfunction)kernel, 1, 1, 1, 1, 1, 1, 0, NULL, parameters, NULL));
    CHECK(cuMemcpyDtoH(&value, place, sizeof value));
    double end = now();
    if (value != 42) {
        fprintf(stderr, "start: the kernel answered %u\n", value);
        return 1;
    }
    printf("context %.3f load %.3f total %.3f\n", made - begin, loaded - made, end - begin);
    return 0;
}
