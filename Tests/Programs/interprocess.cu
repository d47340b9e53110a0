// SPDX-License-Identifier: Apache-2.0
// Memory and events of another process: a parent and a child, each with a driver of its own, over pipes.
#include <sys/wait.h>
#include <unistd.h>

#include "driver.h"

static int toChild[2], toParent[2];
static bool isPartition = false;

static void send(int pipe, const void *bytes, size_t count) { EXPECT(write(pipe, bytes, count) == (ssize_t)count); }
static void receive(int pipe, void *bytes, size_t count) { EXPECT(read(pipe, bytes, count) == (ssize_t)count); }

static void turn(int pipe) { send(pipe, "x", 1); }
static void await(int pipe) {
    char letter;
    receive(pipe, &letter, 1);
}

__global__ void add(unsigned *values, int count, unsigned amount) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) values[i] += amount;
}

static const int count = 1 << 20;
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

static void expectAll(CUdeviceptr address, unsigned expected) {
    static unsigned host[count];
    OK(cuMemcpyDtoH, host, address, sizeof host);
    for (int i = 0; i < count; i++) EXPECT(host[i] == i + expected);
}

static void child() {
    CUipcMemHandle handle;
    CUipcEventHandle eventHandle;
    receive(toChild[0], &handle, sizeof handle);
    receive(toChild[0], &eventHandle, sizeof eventHandle);
    CHECK(cudaSetDevice(0));
    CHECK(cudaFree(nullptr));
    CUdeviceptr address, again;
    size_t before = freeBytes();

    // Forged in every place, none opens anything.
    for (size_t byte = 0; byte < sizeof handle; byte++) {
        CUipcMemHandle forged = handle;
        forged.reserved[byte] ^= 1;
        FAILS(CUDA_ERROR_INVALID_HANDLE, cuIpcOpenMemHandle, &address, forged, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS);
    }
    CUipcMemHandle wrongKind;
    memcpy(&wrongKind, &eventHandle, sizeof wrongKind);
    FAILS(CUDA_ERROR_INVALID_HANDLE, cuIpcOpenMemHandle, &address, wrongKind, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS);

    OK(cuIpcOpenMemHandle, &address, handle, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS);
    OK(cuIpcOpenMemHandle, &again, handle, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS);
    EXPECT(again == address);
    EXPECT(freeBytes() == before);
    CUdeviceptr base;
    size_t size;
    OK(cuMemGetAddressRange, &base, &size, address + 100);
    EXPECT(base == address && size >= count * sizeof(unsigned));
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemFree, address);
    expectAll(address, 1);

    // The event that the parent has recorded; its stream waits behind it for the child's.
    CUevent event;
    OK(cuIpcOpenEventHandle, &event, eventHandle);
    CUstream stream;
    OK(cuStreamCreate, &stream, CU_STREAM_NON_BLOCKING);
    turn(toParent[1]);
    await(toChild[0]);
    FAILS(CUDA_ERROR_NOT_READY, cuEventQuery, event);
    OK(cuStreamWaitEvent, stream, event, 0);
    add<<<count / 256, 256, 0, stream>>>((unsigned *)address, count, 10);
    CHECK(cudaGetLastError());
    FAILS(CUDA_ERROR_NOT_READY, cuStreamQuery, stream);
    turn(toParent[1]);
    OK(cuStreamSynchronize, stream);
    OK(cuEventSynchronize, event);
    expectAll(address, 111);
    before = freeBytes();
    turn(toParent[1]);

    // Memory that its process has freed lives on where it is open; its handle is stale. In a partition, which counts
    // all processes, it counts until then, and once.
    await(toChild[0]);
    expectAll(address, 111);
    EXPECT(becomesFree(before));
    OK(cuIpcCloseMemHandle, address);
    expectAll(address, 111);
    OK(cuIpcCloseMemHandle, address);
    if (isPartition) EXPECT(becomesFree(before + count * sizeof(unsigned)));
    FAILS(CUDA_ERROR_INVALID_VALUE, cuIpcCloseMemHandle, address);
    FAILS(CUDA_ERROR_INVALID_HANDLE, cuIpcOpenMemHandle, &address, handle, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS);
    OK(cuEventDestroy, event);
    turn(toParent[1]);
}

static void parent() {
    CHECK(cudaSetDevice(0));
    DeviceArray<unsigned> values(count);
    std::vector<unsigned> host(count);
    for (int i = 0; i < count; i++) host[i] = i + 1;
    CHECK(cudaMemcpy(values.data, host.data(), count * sizeof(unsigned), cudaMemcpyHostToDevice));
    DeviceArray<unsigned> flag(1);
    CHECK(cudaMemset(flag.data, 0, sizeof(unsigned)));
    CHECK(cudaDeviceSynchronize());
    CUipcMemHandle handle, again;
    OK(cuIpcGetMemHandle, &handle, (CUdeviceptr)values.data);
    OK(cuIpcGetMemHandle, &again, (CUdeviceptr)values.data);
    EXPECT(memcmp(&handle, &again, sizeof handle) == 0);
    FAILS(CUDA_ERROR_INVALID_VALUE, cuIpcGetMemHandle, &again, 0x1234);
    CUdeviceptr opened;
    FAILS(CUDA_ERROR_INVALID_CONTEXT, cuIpcOpenMemHandle, &opened, handle, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS);
    FAILS(CUDA_ERROR_INVALID_VALUE, cuIpcOpenMemHandle, &opened, handle, 0);

    CUevent event, plain;
    FAILS(CUDA_ERROR_INVALID_VALUE, cuEventCreate, &event, CU_EVENT_INTERPROCESS);
    OK(cuEventCreate, &event, CU_EVENT_INTERPROCESS | CU_EVENT_DISABLE_TIMING);
    OK(cuEventCreate, &plain, CU_EVENT_DISABLE_TIMING);
    CUipcEventHandle eventHandle;
    FAILS(CUDA_ERROR_INVALID_VALUE, cuIpcGetEventHandle, &eventHandle, plain);
    OK(cuIpcGetEventHandle, &eventHandle, event);
    send(toChild[1], &handle, sizeof handle);
    send(toChild[1], &eventHandle, sizeof eventHandle);

    // The event is recorded behind a wait that ends when the child has seen that it is not reached.
    CUstream stream;
    OK(cuStreamCreate, &stream, CU_STREAM_NON_BLOCKING);
    await(toParent[0]);
    OK(cuStreamWaitValue32, stream, (CUdeviceptr)flag.data, 1, CU_STREAM_WAIT_VALUE_EQ);
    add<<<count / 256, 256, 0, stream>>>(values.data, count, 100);
    CHECK(cudaGetLastError());
    OK(cuEventRecord, event, stream);
    FAILS(CUDA_ERROR_NOT_READY, cuEventQuery, event);
    turn(toChild[1]);
    await(toParent[0]);
    CHECK(cudaMemset(flag.data, 1, 1));
    await(toParent[0]);
    expectAll((CUdeviceptr)values.data, 111);
    CHECK(cudaFree(values.data));
    values.data = nullptr;
    turn(toChild[1]);
    // Until then the child watches what is used.
    await(toParent[0]);
    OK(cuEventDestroy, event);
}

int main(int argc, char **argv) {
    isPartition = argc > 1 && strcmp(argv[1], "partition") == 0;
    EXPECT(pipe(toChild) == 0 && pipe(toParent) == 0);
    pid_t process = fork();
    EXPECT(process >= 0);
    if (process == 0) {
        child();
        return 0;
    }
    parent();
    int status;
    EXPECT(waitpid(process, &status, 0) == process);
    EXPECT(status == 0);
    printf("ok interprocess\n");
    return 0;
}
