// SPDX-License-Identifier: Apache-2.0
// The driver API without a runtime, as Numba, Triton and others use it: PTX as text, the linker, every way to pass
// arguments, libraries, contexts, address ranges, copies in two and three dimensions, and errors with their words.
#include <cuda.h>
#include <dlfcn.h>

#include "check.h"

// Looks a function up under the name cuda.h maps it to, such as cuMemAlloc_v2.
#define TEXT_OF(name) #name
#define EXPANDED(name) TEXT_OF(name)
#define DRIVER(name) ((decltype(&name))find(EXPANDED(name)))
#define CHECKED(name, ...) expectResult(CUDA_SUCCESS, DRIVER(name)(__VA_ARGS__), #name, __LINE__)
#define FAILING(error, name, ...) expectResult(error, DRIVER(name)(__VA_ARGS__), #name, __LINE__)

static void *find(const char *name) {
    static void *driver = dlopen("libcuda.so.1", RTLD_NOW);
    void *function = driver ? dlsym(driver, name) : nullptr;
    if (!function) {
        std::fprintf(stderr, "libcuda.so.1 has no %s\n", name);
        std::exit(1);
    }
    return function;
}

static void expectResult(CUresult expected, CUresult found, const char *name, int line) {
    if (found == expected) return;
    const char *text = "?";
    DRIVER(cuGetErrorName)(found, &text);
    std::fprintf(stderr, "driver_api.cu:%d: %s: %s (%d), expected %d\n", line, name, text, (int)found, (int)expected);
    std::exit(1);
}

static const char axpy[] = R"(
.version 7.0
.target sm_60
.address_size 64
.global .align 4 .u32 launches = 5;
.visible .entry axpy(.param .u64 x, .param .u64 y, .param .f32 a, .param .u32 count)
{
    .reg .pred %p<2>;
    .reg .f32 %f<5>;
    .reg .b32 %r<8>;
    .reg .b64 %rd<8>;
    ld.param.u64 %rd1, [x];
    ld.param.u64 %rd2, [y];
    ld.param.f32 %f1, [a];
    ld.param.u32 %r1, [count];
    mov.u32 %r2, %ctaid.x;
    mov.u32 %r3, %ntid.x;
    mov.u32 %r4, %tid.x;
    mad.lo.s32 %r5, %r2, %r3, %r4;
    setp.ge.u32 %p1, %r5, %r1;
    @%p1 bra DONE;
    mul.wide.u32 %rd3, %r5, 4;
    add.s64 %rd4, %rd1, %rd3;
    add.s64 %rd5, %rd2, %rd3;
    ld.global.f32 %f2, [%rd4];
    ld.global.f32 %f3, [%rd5];
    fma.rn.f32 %f4, %f1, %f2, %f3;
    st.global.f32 [%rd5], %f4;
DONE:
    ret;
}
)";
static const char caller[] = R"(
.version 7.0
.target sm_60
.address_size 64
.extern .func (.param .b32 result) triple(.param .b32 x);
.visible .entry use(.param .u64 out, .param .u32 x)
{
    .reg .b32 %r<3>;
    .reg .b64 %rd<2>;
    ld.param.u64 %rd1, [out];
    ld.param.u32 %r1, [x];
    {
    .param .b32 argument;
    st.param.b32 [argument], %r1;
    .param .b32 answer;
    call.uni (answer), triple, (argument);
    ld.param.b32 %r2, [answer];
    }
    st.global.u32 [%rd1], %r2;
    ret;
}
)";
static const char callee[] = R"(
.version 7.0
.target sm_60
.address_size 64
.visible .func (.param .b32 result) triple(.param .b32 x)
{
    .reg .b32 %r<3>;
    ld.param.b32 %r1, [x];
    mul.lo.s32 %r2, %r1, 3;
    st.param.b32 [result], %r2;
    ret;
}
)";

static void checkVersionsAndErrors() {
    int version = 0;
    const char *text = nullptr;
    CHECKED(cuDriverGetVersion, &version);
    EXPECT(version >= 11080);
    CHECKED(cuGetErrorName, CUDA_ERROR_OUT_OF_MEMORY, &text);
    EXPECT(std::strcmp(text, "CUDA_ERROR_OUT_OF_MEMORY") == 0);
    CHECKED(cuGetErrorString, CUDA_ERROR_OUT_OF_MEMORY, &text);
    EXPECT(std::strcmp(text, "out of memory") == 0);
    FAILING(CUDA_ERROR_INVALID_VALUE, cuGetErrorName, (CUresult)123456, &text);
    FAILING(CUDA_ERROR_INVALID_VALUE, cuInit, 1);
    void *function = nullptr;
    CUdriverProcAddressQueryResult status;
    CHECKED(cuGetProcAddress, "cuMemAlloc", &function, 3020, 0, &status);
    EXPECT(function == find("cuMemAlloc_v2") && status == CU_GET_PROC_ADDRESS_SUCCESS);
    EXPECT(DRIVER(cuGetProcAddress)("cuNoSuchFunction", &function, 12000, 0, &status) != CUDA_SUCCESS);
    EXPECT(status == CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
}

static void checkContexts(CUdevice device) {
    CUcontext first = nullptr, second = nullptr, current = nullptr, popped = nullptr;
    CUdeviceptr memory = 0;
    FAILING(CUDA_ERROR_INVALID_CONTEXT, cuMemAlloc, &memory, 16);
    auto create = (CUresult(*)(CUcontext *, unsigned, CUdevice))find("cuCtxCreate_v2");
    expectResult(CUDA_SUCCESS, create(&first, 0, device), "cuCtxCreate_v2", __LINE__);
    expectResult(CUDA_SUCCESS, create(&second, CU_CTX_SCHED_BLOCKING_SYNC, device), "cuCtxCreate_v2", __LINE__);
    CHECKED(cuCtxGetCurrent, &current);
    EXPECT(current == second);
    CHECKED(cuCtxPopCurrent, &popped);
    EXPECT(popped == second);
    CHECKED(cuCtxGetCurrent, &current);
    EXPECT(current == first);
    CHECKED(cuMemAlloc, &memory, 1000);
    CHECKED(cuCtxPushCurrent, second);
    CHECKED(cuCtxDestroy, second);
    CHECKED(cuCtxGetCurrent, &current);
    EXPECT(current == first);
    EXPECT(DRIVER(cuCtxPushCurrent)(second) != CUDA_SUCCESS);
    CHECKED(cuMemFree, memory);
    CHECKED(cuCtxDestroy, first);
    CHECKED(cuCtxGetCurrent, &current);
    EXPECT(current == nullptr);
}

static void checkMemory() {
    CUdeviceptr memory = 0, base = 0;
    size_t size = 0, pitch = 0;
    CHECKED(cuMemAlloc, &memory, 100000);
    CHECKED(cuMemGetAddressRange, &base, &size, memory + 777);
    EXPECT(base == memory && size == 100000);
    FAILING(CUDA_ERROR_INVALID_VALUE, cuMemAlloc, &memory, 0);
    std::vector<unsigned> words(100), found(100);
    CHECKED(cuMemsetD32, memory, 0x01020304, 100);
    CHECKED(cuMemsetD16, memory + 8, 0xabcd, 2);
    CHECKED(cuMemsetD8, memory + 16, 0x77, 3);
    CHECKED(cuMemcpyDtoH, found.data(), memory, 400);
    EXPECT(found[0] == 0x01020304 && found[2] == 0xabcdabcd && found[4] == 0x01777777 && found[99] == 0x01020304);
    EXPECT(DRIVER(cuMemcpyDtoH)(found.data(), memory + 99900, 400) != CUDA_SUCCESS);

    CUmemorytype type;
    unsigned ordinal = 99;
    CHECKED(cuPointerGetAttribute, &type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, memory + 5);
    EXPECT(type == CU_MEMORYTYPE_DEVICE);
    CHECKED(cuPointerGetAttribute, &ordinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, memory + 5);
    EXPECT(ordinal == 0);
    EXPECT(DRIVER(cuPointerGetAttribute)(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, (CUdeviceptr)found.data()) ==
           CUDA_ERROR_INVALID_VALUE);

    // A box of 5 x 4 x 3 bytes out of the middle of host memory, into the middle of device memory, and back.
    unsigned char source[10 * 8 * 6], target[sizeof source] = {};
    for (size_t i = 0; i < sizeof source; i++) source[i] = (unsigned char)(i * 7);
    CUdeviceptr pitched = 0;
    CHECKED(cuMemAllocPitch, &pitched, &pitch, 40, 64, 4);
    EXPECT(pitch >= 40);
    CUDA_MEMCPY3D up = {}, down = {};
    up.srcMemoryType = CU_MEMORYTYPE_HOST;
    up.srcHost = source;
    up.srcPitch = 10;
    up.srcHeight = 8;
    up.srcXInBytes = 2;
    up.srcY = 3;
    up.srcZ = 1;
    up.dstMemoryType = CU_MEMORYTYPE_DEVICE;
    up.dstDevice = pitched;
    up.dstPitch = pitch;
    up.dstHeight = 16;
    up.dstXInBytes = 11;
    up.dstY = 5;
    up.dstZ = 1;
    up.WidthInBytes = 5;
    up.Height = 4;
    up.Depth = 3;
    CHECKED(cuMemcpy3D, &up);
    down = up;
    down.srcMemoryType = CU_MEMORYTYPE_DEVICE;
    down.srcDevice = pitched;
    down.srcPitch = pitch;
    down.srcHeight = 16;
    down.srcXInBytes = 11;
    down.srcY = 5;
    down.srcZ = 1;
    down.dstMemoryType = CU_MEMORYTYPE_HOST;
    down.dstHost = target;
    down.dstPitch = 10;
    down.dstHeight = 8;
    down.dstXInBytes = 2;
    down.dstY = 3;
    down.dstZ = 1;
    CHECKED(cuMemcpy3D, &down);
    for (int z = 0; z < 6; z++)
        for (int y = 0; y < 8; y++)
            for (int x = 0; x < 10; x++) {
                bool inside = x >= 2 && x < 7 && y >= 3 && y < 7 && z >= 1 && z < 4;
                int at = (z * 8 + y) * 10 + x;
                EXPECT(target[at] == (inside ? source[at] : 0));
            }
    CHECKED(cuMemFree, pitched);
    CHECKED(cuMemFree, memory);
    EXPECT(DRIVER(cuMemFree)(memory) == CUDA_ERROR_INVALID_VALUE);

    // Memory of the program's own, pinned and released.
    std::vector<char> host(20000);
    CHECKED(cuMemHostRegister, host.data(), host.size(), 0);
    EXPECT(DRIVER(cuMemHostRegister)(host.data(), host.size(), 0) == CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
    CHECKED(cuMemHostUnregister, host.data());
}

static void checkModules(CUdevice device) {
    CUmodule module;
    CUfunction function;
    CHECKED(cuModuleLoadData, &module, axpy);
    CHECKED(cuModuleGetFunction, &function, module, "axpy");
    EXPECT(DRIVER(cuModuleGetFunction)(&function, module, "absent") == CUDA_ERROR_NOT_FOUND);
    CUdeviceptr global = 0;
    size_t size = 0;
    int launches = 0;
    CHECKED(cuModuleGetGlobal, &global, &size, module, "launches");
    EXPECT(size == 4);
    CHECKED(cuMemcpyDtoH, &launches, global, 4);
    EXPECT(launches == 5);
    CHECKED(cuModuleGetFunction, &function, module, "axpy");
    int threadsMax = 0;
    CHECKED(cuFuncGetAttribute, &threadsMax, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, function);
    EXPECT(threadsMax >= 128);

    const unsigned count = 300;
    std::vector<float> x(count), y(count), found(count);
    for (unsigned i = 0; i < count; i++) {
        x[i] = (float)i;
        y[i] = 1000.0f - (float)i;
    }
    CUdeviceptr deviceX, deviceY;
    CHECKED(cuMemAlloc, &deviceX, count * 4);
    CHECKED(cuMemAlloc, &deviceY, count * 4);
    CHECKED(cuMemcpyHtoD, deviceX, x.data(), count * 4);
    CHECKED(cuMemcpyHtoD, deviceY, y.data(), count * 4);
    float a = 2.0f;
    unsigned n = count;

    // Once by pointers to the arguments, once by one buffer, once by the extended launch.
    void *pointers[] = {&deviceX, &deviceY, &a, &n};
    CHECKED(cuLaunchKernel, function, 3, 1, 1, 128, 1, 1, 0, nullptr, pointers, nullptr);
    struct {
        CUdeviceptr x, y;
        float a;
        unsigned count;
    } packed = {deviceX, deviceY, 3.0f, count};
    size_t packedSize = sizeof packed;
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &packed, CU_LAUNCH_PARAM_BUFFER_SIZE, &packedSize,
                     CU_LAUNCH_PARAM_END};
    CHECKED(cuLaunchKernel, function, 3, 1, 1, 128, 1, 1, 0, nullptr, nullptr, extra);
    CUlaunchConfig configuration = {};
    configuration.gridDimX = 3;
    configuration.gridDimY = configuration.gridDimZ = 1;
    configuration.blockDimX = 128;
    configuration.blockDimY = configuration.blockDimZ = 1;
    CHECKED(cuLaunchKernelEx, &configuration, function, pointers, nullptr);
    CHECKED(cuCtxSynchronize);
    CHECKED(cuMemcpyDtoH, found.data(), deviceY, count * 4);
    for (unsigned i = 0; i < count; i++) EXPECT(found[i] == y[i] + 7 * x[i]);
    EXPECT(DRIVER(cuLaunchKernel)(function, 0, 1, 1, 128, 1, 1, 0, nullptr, pointers, nullptr) ==
           CUDA_ERROR_INVALID_VALUE);
    EXPECT(DRIVER(cuLaunchKernel)(function, 1, 1, 1, 2048, 1, 1, 0, nullptr, pointers, nullptr) ==
           CUDA_ERROR_INVALID_VALUE);
    CHECKED(cuMemFree, deviceX);
    CHECKED(cuMemFree, deviceY);
    CHECKED(cuModuleUnload, module);

    // Nonsense is refused, with words in the log.
    char log[1024] = {};
    CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    void *values[] = {log, (void *)(size_t)sizeof log};
    FAILING(CUDA_ERROR_INVALID_PTX, cuModuleLoadDataEx, &module,
            ".version 7.0\n.target sm_60\n.address_size 64\n.visible .entry k() { no.such.thing; }\n", 2, options, values);
    EXPECT(std::strlen(log) > 0);
    EXPECT(DRIVER(cuModuleLoadData)(&module, "not a module") != CUDA_SUCCESS);
    (void)device;
}

static void checkLinkerAndLibraries() {
    CUlinkState linker;
    void *image = nullptr;
    size_t size = 0;
    CHECKED(cuLinkCreate, 0, nullptr, nullptr, &linker);
    CHECKED(cuLinkAddData, linker, CU_JIT_INPUT_PTX, (void *)caller, sizeof caller, "caller", 0, nullptr, nullptr);
    CHECKED(cuLinkAddData, linker, CU_JIT_INPUT_PTX, (void *)callee, sizeof callee, "callee", 0, nullptr, nullptr);
    CHECKED(cuLinkComplete, linker, &image, &size);
    EXPECT(image != nullptr && size > 0);
    CUlibrary library;
    CUkernel kernel;
    CHECKED(cuLibraryLoadData, &library, image, nullptr, nullptr, 0, nullptr, nullptr, 0);
    CHECKED(cuLinkDestroy, linker);
    CHECKED(cuLibraryGetKernel, &kernel, library, "use");
    CUdeviceptr out;
    unsigned x = 14, found = 0;
    CHECKED(cuMemAlloc, &out, 4);
    void *arguments[] = {&out, &x};
    CHECKED(cuLaunchKernel, (CUfunction)kernel, 1, 1, 1, 1, 1, 1, 0, nullptr, arguments, nullptr);
    CHECKED(cuMemcpyDtoH, &found, out, 4);
    EXPECT(found == 42);
    CUfunction function;
    CHECKED(cuKernelGetFunction, &function, kernel);
    x = 5;
    CHECKED(cuLaunchKernel, function, 1, 1, 1, 1, 1, 1, 0, nullptr, arguments, nullptr);
    CHECKED(cuMemcpyDtoH, &found, out, 4);
    EXPECT(found == 15);
    CHECKED(cuMemFree, out);
    CHECKED(cuLibraryUnload, library);
}

int main() {
    CUdevice device;
    CUcontext context;
    int count = 0;
    FAILING(CUDA_ERROR_NOT_INITIALIZED, cuDeviceGetCount, &count);
    checkVersionsAndErrors();
    CHECKED(cuInit, 0);
    CHECKED(cuDeviceGet, &device, 0);
    FAILING(CUDA_ERROR_INVALID_DEVICE, cuDeviceGet, &device, 99);
    CHECKED(cuDeviceGet, &device, 0);
    checkContexts(device);
    CHECKED(cuDevicePrimaryCtxRetain, &context, device);
    CHECKED(cuCtxSetCurrent, context);
    checkMemory();
    checkModules(device);
    checkLinkerAndLibraries();
    CHECKED(cuDevicePrimaryCtxRelease, device);
    return succeed("driver_api");
}
