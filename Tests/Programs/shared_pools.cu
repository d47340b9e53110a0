// SPDX-License-Identifier: Apache-2.0
// A memory pool of another process: the pool by a file descriptor, its allocations by 64 bytes each.
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "driver.h"

static const int count = 1 << 20;
static const size_t bytes = count * sizeof(unsigned);
static bool isPartition = false;

__global__ void add(unsigned *values, unsigned amount) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) values[i] += amount;
}

static void expectAll(CUdeviceptr address, unsigned expected) {
    static unsigned host[count];
    OK(cuMemcpyDtoH, host, address, bytes);
    for (int i = 0; i < count; i++) EXPECT(host[i] == i + expected);
}

static size_t freeBytes() {
    size_t free, total;
    OK(cuMemGetInfo, &free, &total);
    return free;
}

/// What is counted by several processes may be counted by both for a moment.
static bool becomesFree(size_t expected) {
    for (int tries = 0; tries < 1000 && freeBytes() != expected; tries++) usleep(1000);
    return freeBytes() == expected;
}

static unsigned long long attribute(CUmemoryPool pool, CUmemPool_attribute attribute) {
    unsigned long long value = 0;
    OK(cuMemPoolGetAttribute, pool, attribute, &value);
    return value;
}

static void send(int channel, const void *data, size_t size) { EXPECT(write(channel, data, size) == (ssize_t)size); }
static void receive(int channel, void *data, size_t size) {
    EXPECT(recv(channel, data, size, MSG_WAITALL) == (ssize_t)size);
}
static void turn(int channel) { send(channel, "x", 1); }
static void await(int channel) {
    char letter;
    receive(channel, &letter, 1);
}

static void sendDescriptor(int channel, int descriptor) {
    char letter = 'x', room[CMSG_SPACE(sizeof(int))] = {};
    iovec part = {&letter, 1};
    msghdr message = {};
    message.msg_iov = &part, message.msg_iovlen = 1;
    message.msg_control = room, message.msg_controllen = sizeof room;
    cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET, header->cmsg_type = SCM_RIGHTS, header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
    EXPECT(sendmsg(channel, &message, 0) == 1);
}

static int receiveDescriptor(int channel) {
    char letter, room[CMSG_SPACE(sizeof(int))];
    iovec part = {&letter, 1};
    msghdr message = {};
    message.msg_iov = &part, message.msg_iovlen = 1;
    message.msg_control = room, message.msg_controllen = sizeof room;
    EXPECT(recvmsg(channel, &message, 0) == 1);
    int descriptor;
    memcpy(&descriptor, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof descriptor);
    return descriptor;
}

static void importer(int channel) {
    int descriptor = receiveDescriptor(channel);
    CUmemPoolPtrExportData data, other;
    receive(channel, &data, sizeof data);
    receive(channel, &other, sizeof other);
    CUmemoryPool pool;
    CHECK(cudaSetDevice(0));
    CHECK(cudaFree(nullptr));
    const CUmemAllocationHandleType file = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemPoolImportFromShareableHandle, &pool, (void *)(size_t)channel, file, 0);
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemPoolImportFromShareableHandle, &pool, (void *)(size_t)descriptor, file, 1);
    OK(cuMemPoolImportFromShareableHandle, &pool, (void *)(size_t)descriptor, file, 0);
    close(descriptor);
    size_t before = freeBytes();

    // An imported pool only opens what its process has allocated.
    CUdeviceptr address, again;
    CUstream stream;
    OK(cuStreamCreate, &stream, CU_STREAM_NON_BLOCKING);
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemAllocFromPoolAsync, &address, 4096, pool, stream);
    FAILS(CUDA_ERROR_INVALID_VALUE, cuDeviceSetMemPool, 0, pool);
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemPoolExportToShareableHandle, &descriptor, pool, file, 0);
    for (size_t byte = 0; byte < sizeof data; byte++) {
        CUmemPoolPtrExportData forged = data;
        forged.reserved[byte] ^= 1;
        FAILS(CUDA_ERROR_INVALID_VALUE, cuMemPoolImportPointer, &address, pool, &forged);
    }
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemPoolImportPointer, &address, pool, &other);

    // Opened twice, it has one address, and is free when it has been freed twice.
    OK(cuMemPoolImportPointer, &address, pool, &data);
    OK(cuMemPoolImportPointer, &again, pool, &data);
    EXPECT(again == address);
    EXPECT(freeBytes() == before);
    EXPECT(attribute(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT) == bytes);
    CUmemPoolPtrExportData third;
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemPoolExportPointer, &third, address);
    CUdeviceptr base;
    size_t size;
    OK(cuMemGetAddressRange, &base, &size, address + 100);
    EXPECT(base == address && size == bytes);
    CUmemoryPool known;
    OK(cuPointerGetAttribute, &known, CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE, address);
    EXPECT(known == pool);
    expectAll(address, 1);
    add<<<count / 256, 256, 0, stream>>>((unsigned *)address, 10);
    CHECK(cudaGetLastError());
    OK(cuMemFree, address);
    OK(cuStreamSynchronize, stream);
    turn(channel);

    // The exporter has added to it, ends its pool, and is killed: what is open lives on, and counts once.
    await(channel);
    expectAll(address, 111);
    size_t open = freeBytes();
    turn(channel);
    await(channel);
    expectAll(address, 111);
    if (isPartition) EXPECT(becomesFree(open));
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemPoolImportPointer, &again, pool, &other);
    OK(cuMemPoolDestroy, pool);
    add<<<count / 256, 256, 0, stream>>>((unsigned *)address, 1000);
    CHECK(cudaGetLastError());
    OK(cuStreamSynchronize, stream);
    expectAll(address, 1111);
    OK(cuMemFreeAsync, address, stream);
    OK(cuStreamSynchronize, stream);
    if (isPartition) EXPECT(becomesFree(open + bytes));
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemFree, address);
}

static CUmemoryPool makePool(CUmemAllocationHandleType handleTypes) {
    CUmemPoolProps properties = {};
    properties.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
    properties.handleTypes = handleTypes;
    properties.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    CUmemoryPool pool;
    OK(cuMemPoolCreate, &pool, &properties);
    return pool;
}

static void exporter(int channel) {
    CHECK(cudaSetDevice(0));
    CHECK(cudaFree(nullptr));
    int types = 0;
    OK(cuDeviceGetAttribute, &types, CU_DEVICE_ATTRIBUTE_MEMPOOL_SUPPORTED_HANDLE_TYPES, 0);
    EXPECT(types == CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR);
    const CUmemAllocationHandleType file = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
    CUmemoryPool pool = makePool(file), second = makePool(file), plain = makePool(CU_MEM_HANDLE_TYPE_NONE);
    CUstream stream;
    OK(cuStreamCreate, &stream, CU_STREAM_NON_BLOCKING);
    CUdeviceptr address, elsewhere, unshared;
    OK(cuMemAllocFromPoolAsync, &address, bytes, pool, stream);
    OK(cuMemAllocFromPoolAsync, &elsewhere, bytes, second, stream);
    OK(cuMemAllocFromPoolAsync, &unshared, bytes, plain, stream);
    OK(cuStreamSynchronize, stream);
    std::vector<unsigned> host(count);
    for (int i = 0; i < count; i++) host[i] = i + 1;
    OK(cuMemcpyHtoD, address, host.data(), bytes);

    int descriptor = -1;
    CUmemPoolPtrExportData data, other;
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemPoolExportToShareableHandle, &descriptor, plain, file, 0);
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemPoolExportToShareableHandle, &descriptor, pool, file, 1);
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemPoolExportToShareableHandle, &descriptor, pool, CU_MEM_HANDLE_TYPE_NONE, 0);
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemPoolExportPointer, &data, unshared);
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemPoolExportPointer, &data, 0x1234);
    OK(cuMemPoolExportToShareableHandle, &descriptor, pool, file, 0);
    OK(cuMemPoolExportPointer, &data, address);
    OK(cuMemPoolExportPointer, &other, elsewhere);
    unsigned long long allowed = 0;
    OK(cuPointerGetAttribute, &allowed, CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES, address);
    EXPECT(allowed == CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR);
    sendDescriptor(channel, descriptor);
    close(descriptor);
    send(channel, &data, sizeof data);
    send(channel, &other, sizeof other);
    await(channel);
    expectAll(address, 11);
    add<<<count / 256, 256, 0, stream>>>((unsigned *)address, 100);
    CHECK(cudaGetLastError());
    OK(cuStreamSynchronize, stream);
    OK(cuMemFree, elsewhere);
    OK(cuMemFree, unshared);
    for (CUmemoryPool ended : {second, plain}) OK(cuMemPoolDestroy, ended);
    turn(channel);
    await(channel);
    OK(cuMemPoolDestroy, pool);
    kill(getpid(), SIGKILL);
}

int main(int argc, char **argv) {
    isPartition = argc > 1 && strcmp(argv[1], "partition") == 0;
    int channel[2];
    EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, channel) == 0);
    pid_t second = fork();
    if (second == 0) {
        close(channel[0]);
        importer(channel[1]);
        return 0;
    }
    pid_t first = fork();
    if (first == 0) {
        exporter(channel[0]);
        return 0;
    }
    // Only the exporter's death, and not a closed socket, tells the importer that it goes on.
    int status;
    close(channel[1]);
    EXPECT(waitpid(first, &status, 0) == first);
    EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    turn(channel[0]);
    EXPECT(waitpid(second, &status, 0) == second);
    EXPECT(status == 0);
    return succeed("shared_pools");
}
