// SPDX-License-Identifier: Apache-2.0
// Pools of the host's memory, of its nodes, and of managed memory: host and kernels use what is allocated from them.
#include <unistd.h>

#include "driver.h"

static const int count = 1 << 18;
static const size_t bytes = count * sizeof(unsigned);

__global__ void add(unsigned *values, unsigned amount) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) values[i] += amount;
}

static CUmemPoolProps properties(CUmemAllocationType type, CUmemLocationType location, int id = 0) {
    CUmemPoolProps made = {};
    made.allocType = type;
    made.location.type = location;
    made.location.id = id;
    return made;
}

static unsigned long long attribute(CUmemoryPool pool, CUmemPool_attribute name) {
    unsigned long long value = 0;
    OK(cuMemPoolGetAttribute, pool, name, &value);
    return value;
}

static CUmemAccess_flags access(CUmemoryPool pool, CUmemLocationType type) {
    CUmemLocation location = {};
    location.type = type;
    CUmemAccess_flags flags;
    OK(cuMemPoolGetAccess, &flags, pool, &location);
    return flags;
}

static void CUDA_CB waitForHost(void *flag) {
    while (!*(volatile bool *)flag) usleep(100);
}

/// What holds for every pool: host and kernels by turns, limits, frees in the order of a stream.
static void useAPool(CUmemPoolProps made) {
    CUmemoryPool pool;
    CUstream stream;
    made.maxSize = 4 * bytes;
    OK(cuStreamCreate, &stream, CU_STREAM_NON_BLOCKING);
    OK(cuMemPoolCreate, &pool, &made);
    bool isManaged = made.allocType == CU_MEM_ALLOCATION_TYPE_MANAGED;
    CUmemAccessDesc desc = {};
    desc.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    desc.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    EXPECT(access(pool, CU_MEM_LOCATION_TYPE_HOST) == CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
    EXPECT((access(pool, CU_MEM_LOCATION_TYPE_DEVICE) == CU_MEM_ACCESS_FLAGS_PROT_READWRITE) == isManaged);
    OK(cuMemPoolSetAccess, pool, &desc, 1);
    EXPECT(access(pool, CU_MEM_LOCATION_TYPE_DEVICE) == CU_MEM_ACCESS_FLAGS_PROT_READWRITE);

    CUdeviceptr address, copy;
    OK(cuMemAllocFromPoolAsync, &address, bytes, pool, stream);
    OK(cuStreamSynchronize, stream);
    unsigned *host = (unsigned *)address;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < count; i++) host[i] = i;
        add<<<count / 256, 256, 0, stream>>>(host, 10 + round);
        CHECK(cudaGetLastError());
        OK(cuStreamSynchronize, stream);
        for (int i = 0; i < count; i++) EXPECT(host[i] == i + 10u + round);
    }
    OK(cuMemAlloc, &copy, bytes);
    OK(cuMemcpyAsync, copy, address, bytes, stream);
    OK(cuMemsetD32Async, address, 7, count, stream);
    OK(cuMemcpyDtoDAsync, address + 4, copy + 4, 4, stream);
    OK(cuStreamSynchronize, stream);
    EXPECT(host[0] == 7 && host[1] == 13 && host[2] == 7 && host[count - 1] == 7);

    // What is known of it.
    CUmemoryPool known;
    unsigned type = 0;
    int managed = -1;
    OK(cuPointerGetAttribute, &known, CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE, address);
    OK(cuPointerGetAttribute, &type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, address);
    OK(cuPointerGetAttribute, &managed, CU_POINTER_ATTRIBUTE_IS_MANAGED, address);
    EXPECT(known == pool && managed == isManaged);
    EXPECT(type == (isManaged ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST));
    EXPECT(attribute(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT) == bytes);
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemFreeHost, host);
    CUdeviceptr tooMuch;
    FAILS(CUDA_ERROR_OUT_OF_MEMORY, cuMemAllocFromPoolAsync, &tooMuch, 4 * bytes, pool, stream);
    FAILS(CUDA_ERROR_INVALID_VALUE, cuDeviceSetMemPool, 0, pool);
    int descriptor;
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemPoolExportToShareableHandle, &descriptor, pool,
          CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0);

    // Freed behind a host function that waits for this thread, and used by a kernel in between.
    CUdeviceptr sum;
    OK(cuMemAlloc, &sum, bytes);
    OK(cuMemsetD32, sum, 0, count);
    OK(cuCtxSynchronize);
    bool isOpen = false;
    OK(cuLaunchHostFunc, stream, waitForHost, &isOpen);
    OK(cuMemcpyAsync, sum, address, bytes, stream);
    OK(cuMemFreeAsync, address, stream);
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemFreeAsync, address, stream);
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemFree, address);
    isOpen = true;
    OK(cuStreamSynchronize, stream);
    std::vector<unsigned> found(count);
    OK(cuMemcpyDtoH, found.data(), sum, bytes);
    EXPECT(found[0] == 7 && found[1] == 13 && found[count - 1] == 7);
    EXPECT(attribute(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT) == 0);
    EXPECT(attribute(pool, CU_MEMPOOL_ATTR_USED_MEM_HIGH) == bytes);

    // What is allocated outlives its pool.
    OK(cuMemAllocFromPoolAsync, &address, bytes, pool, stream);
    OK(cuMemPoolDestroy, pool);
    ((unsigned *)address)[5] = 5;
    EXPECT(((unsigned *)address)[5] == 5);
    OK(cuMemFree, address);
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemFree, address);
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemPoolDestroy, pool);
    OK(cuMemFree, sum);
    OK(cuMemFree, copy);
    OK(cuStreamDestroy, stream);
}

static void refusals() {
    CUmemoryPool pool;
    const CUmemAllocationType pinned = CU_MEM_ALLOCATION_TYPE_PINNED, managed = CU_MEM_ALLOCATION_TYPE_MANAGED;
    CUmemPoolProps made = properties(pinned, CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT);
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemPoolCreate, &pool, &made);
    made = properties(pinned, CU_MEM_LOCATION_TYPE_HOST_NUMA, 12345);
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemPoolCreate, &pool, &made);
    made = properties(managed, CU_MEM_LOCATION_TYPE_DEVICE, 77);
    FAILS(CUDA_ERROR_INVALID_DEVICE, cuMemPoolCreate, &pool, &made);
    made = properties(pinned, CU_MEM_LOCATION_TYPE_HOST);
    made.handleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemPoolCreate, &pool, &made);
    made = properties(managed, CU_MEM_LOCATION_TYPE_NONE);
    made.handleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
    FAILS(CUDA_ERROR_NOT_SUPPORTED, cuMemPoolCreate, &pool, &made);

    // Memory of the host without an address: devices say that they have none.
    CUmemAllocationProp host = {};
    host.type = pinned;
    host.location.type = CU_MEM_LOCATION_TYPE_HOST;
    CUmemGenericAllocationHandle handle;
    FAILS(CUDA_ERROR_NOT_SUPPORTED, cuMemCreate, &handle, 2 << 20, &host, 0);
    int supported[4] = {-1, -1, -1, -1};
    OK(cuDeviceGetAttribute, &supported[0], CU_DEVICE_ATTRIBUTE_HOST_MEMORY_POOLS_SUPPORTED, 0);
    OK(cuDeviceGetAttribute, &supported[1], CU_DEVICE_ATTRIBUTE_HOST_NUMA_MEMORY_POOLS_SUPPORTED, 0);
    OK(cuDeviceGetAttribute, &supported[2], CU_DEVICE_ATTRIBUTE_HOST_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, 0);
    OK(cuDeviceGetAttribute, &supported[3], CU_DEVICE_ATTRIBUTE_HOST_NUMA_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, 0);
    EXPECT(supported[0] == 1 && supported[1] == 1 && supported[2] == 0 && supported[3] == 0);
}

static void defaultPools() {
    CUmemoryPool first, again, made, current;
    CUmemLocation host = {}, device = {};
    host.type = CU_MEM_LOCATION_TYPE_HOST;
    device.type = CU_MEM_LOCATION_TYPE_DEVICE;
    OK(cuMemGetDefaultMemPool, &first, &host, CU_MEM_ALLOCATION_TYPE_PINNED);
    OK(cuMemGetMemPool, &again, &host, CU_MEM_ALLOCATION_TYPE_PINNED);
    EXPECT(first == again);
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemPoolDestroy, first);
    OK(cuMemGetDefaultMemPool, &again, &device, CU_MEM_ALLOCATION_TYPE_MANAGED);
    EXPECT(first != again);
    CUmemPoolProps wanted = properties(CU_MEM_ALLOCATION_TYPE_PINNED, CU_MEM_LOCATION_TYPE_HOST);
    OK(cuMemPoolCreate, &made, &wanted);
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemSetMemPool, &device, CU_MEM_ALLOCATION_TYPE_PINNED, made);
    OK(cuMemSetMemPool, &host, CU_MEM_ALLOCATION_TYPE_PINNED, made);
    OK(cuMemGetMemPool, &current, &host, CU_MEM_ALLOCATION_TYPE_PINNED);
    EXPECT(current == made);
    OK(cuMemPoolDestroy, made);
    OK(cuMemGetMemPool, &current, &host, CU_MEM_ALLOCATION_TYPE_PINNED);
    EXPECT(current == first);
}

int main() {
    CHECK(cudaSetDevice(0));
    CHECK(cudaFree(nullptr));
    useAPool(properties(CU_MEM_ALLOCATION_TYPE_PINNED, CU_MEM_LOCATION_TYPE_HOST));
    useAPool(properties(CU_MEM_ALLOCATION_TYPE_PINNED, CU_MEM_LOCATION_TYPE_HOST_NUMA));
    useAPool(properties(CU_MEM_ALLOCATION_TYPE_MANAGED, CU_MEM_LOCATION_TYPE_DEVICE));
    useAPool(properties(CU_MEM_ALLOCATION_TYPE_MANAGED, CU_MEM_LOCATION_TYPE_HOST));
    useAPool(properties(CU_MEM_ALLOCATION_TYPE_MANAGED, CU_MEM_LOCATION_TYPE_NONE));
    refusals();
    defaultPools();
    return succeed("host_pools");
}
