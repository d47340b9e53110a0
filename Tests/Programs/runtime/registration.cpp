// SPDX-License-Identifier: Apache-2.0
// Registers device code with the CUDA runtime by hand, with the calls nvcc's generated code makes, so that code compiled
// by a current nvcc runs on runtimes back to 11.8. FATBIN names a container made by `nvcc -fatbin`.
#include <cuda_runtime_api.h>

#include <cstdlib>

// What the runtime library exports for generated code (declared in nvcc's crt/host_runtime.h).
extern "C" {
void **__cudaRegisterFatBinary(void *wrapper);
void __cudaRegisterFatBinaryEnd(void **handle);
void __cudaUnregisterFatBinary(void **handle);
void __cudaRegisterFunction(void **handle, const char *hostFunction, char *deviceFunction, const char *deviceName,
                            int threadLimit, uint3 *thread, uint3 *block, dim3 *blockDim, dim3 *gridDim, int *warpSize);
void __cudaRegisterVar(void **handle, char *hostVariable, char *deviceAddress, const char *deviceName, int isExternal,
                       size_t size, int isConstant, int isGlobal);
}

// The addresses of these stand for the kernels and variables; they are never called or read.
extern "C" {
void addScaled(const float *, const float *, float *, int) {}
void incrementWords(int) {}
int deviceWords[4];
float constantScale;
}

asm(".section .rodata\n.balign 8\ncontainer:\n.incbin \"" FATBIN "\"\n.balign 8\n.quad 0\n.text\n");
extern "C" const char container[];

namespace {
struct Wrapper {
    int magic;
    int version;
    const void *container;
    void *unused;
};
Wrapper wrapper = {0x466243b1, 1, container, nullptr};
void **handle;

void unregisterAtExit() { __cudaUnregisterFatBinary(handle); }

template <typename F> void registerFunction(F *function, const char *name) {
    __cudaRegisterFunction(handle, (const char *)function, (char *)name, name, -1, nullptr, nullptr, nullptr, nullptr,
                           nullptr);
}

__attribute__((constructor)) void registerAtStart() {
    handle = __cudaRegisterFatBinary(&wrapper);
    registerFunction(addScaled, "addScaled");
    registerFunction(incrementWords, "incrementWords");
    __cudaRegisterVar(handle, (char *)deviceWords, (char *)"deviceWords", "deviceWords", 0, sizeof deviceWords, 0, 0);
    __cudaRegisterVar(handle, (char *)&constantScale, (char *)"constantScale", "constantScale", 0, sizeof constantScale,
                      1, 0);
    __cudaRegisterFatBinaryEnd(handle);
    std::atexit(unregisterAtExit);
}
}  // namespace
