// SPDX-License-Identifier: Apache-2.0
// Memory that is managed apart from its addresses: a segment that grows in place, as PyTorch's expandable segments do,
// and memory that is passed to another process by a file descriptor.
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "driver.h"

__global__ void fill(unsigned *values, size_t count, unsigned offset) {
    for (size_t i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (size_t)gridDim.x * blockDim.x)
        values[i] = (unsigned)i + offset;
}

static CUmemAllocationProp properties(bool isShared) {
    CUmemAllocationProp made = {};
    made.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    made.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    made.requestedHandleTypes = isShared ? CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR : CU_MEM_HANDLE_TYPE_NONE;
    return made;
}

static size_t freeBytes() {
    size_t free, total;
    OK(cuMemGetInfo, &free, &total);
    return free;
}

static size_t granularity() {
    CUmemAllocationProp device = properties(false);
    size_t bytes = 0;
    OK(cuMemGetAllocationGranularity, &bytes, &device, CU_MEM_ALLOC_GRANULARITY_MINIMUM);
    EXPECT(bytes > 0 && (bytes & (bytes - 1)) == 0);
    return bytes;
}

static void allow(CUdeviceptr address, size_t size) {
    CUmemAccessDesc access = {};
    access.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    OK(cuMemSetAccess, address, size, &access, 1);
}

/// An expandable segment: addresses for more than it will ever have, and pieces of memory one behind the other.
static void growASegment() {
    const size_t step = granularity(), steps = 6;
    CUmemAllocationProp device = properties(false);
    CUdeviceptr base;
    size_t before = freeBytes();
    OK(cuMemAddressReserve, &base, 64 * step, 0, 0, 0);
    EXPECT(freeBytes() == before);
    std::vector<CUmemGenericAllocationHandle> pieces;
    for (size_t index = 0; index < steps; index++) {
        CUmemGenericAllocationHandle piece;
        OK(cuMemCreate, &piece, step, &device, 0);
        OK(cuMemMap, base + index * step, step, 0, piece, 0);
        allow(base + index * step, step);
        pieces.push_back(piece);
        // What was there before stays, and one kernel uses all of it.
        size_t count = (index + 1) * step / sizeof(unsigned);
        if (index > 0) {
            unsigned last;
            OK(cuMemcpyDtoH, &last, base + index * step - sizeof last, sizeof last);
            EXPECT(last == (unsigned)(index * step / sizeof(unsigned) - 1 + index - 1));
        }
        fill<<<64, 256>>>((unsigned *)base, count, (unsigned)index);
        CHECK(cudaGetLastError());
    }
    EXPECT(freeBytes() == before - steps * step);
    // Copies do not stop where pieces meet, wherever they come from.
    std::vector<unsigned> host(steps * step / sizeof(unsigned));
    CHECK(cudaMemcpy(host.data(), (void *)base, steps * step, cudaMemcpyDeviceToHost));
    for (size_t i = 0; i < host.size(); i++) EXPECT(host[i] == (unsigned)(i + steps - 1));
    CHECK(cudaMemset((void *)(base + step - 4), 0xff, 8));
    OK(cuMemcpyDtoD, base + 3 * step - 4, base + step - 4, 8);
    CHECK(cudaMemcpy(host.data(), (void *)(base + 3 * step - 8), 16, cudaMemcpyDeviceToHost));
    EXPECT(host[1] == 0xffffffff && host[2] == 0xffffffff && host[0] != 0xffffffff && host[3] != 0xffffffff);

    // What is known of it.
    unsigned long long access;
    CUmemLocation location = device.location;
    OK(cuMemGetAccess, &access, &location, base + step);
    EXPECT(access == CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
    CUmemGenericAllocationHandle again;
    OK(cuMemRetainAllocationHandle, &again, (void *)(base + step));
    EXPECT(again == pieces[1]);
    CUmemAllocationProp known;
    OK(cuMemGetAllocationPropertiesFromHandle, &known, again);
    EXPECT(known.type == device.type && known.location.type == device.location.type && known.location.id == 0);
    OK(cuMemRelease, again);
    cudaPointerAttributes attributes;
    CHECK(cudaPointerGetAttributes(&attributes, (void *)(base + 5)));
    EXPECT(attributes.type == cudaMemoryTypeDevice && attributes.device == 0);

    // Refusals.
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemUnmap, base, step / 2);
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemUnmap, base, 64 * step);
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemAddressFree, base, 64 * step);
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemMap, base, step, 0, pieces[0], 0);
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemFree, base);
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemcpyDtoH, host.data(), base + steps * step - 4, 8);
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemRelease, 0x1234);
    int multicast = -1;
    OK(cuDeviceGetAttribute, &multicast, CU_DEVICE_ATTRIBUTE_MULTICAST_SUPPORTED, 0);
    EXPECT(multicast == 0);
    CUmulticastObjectProp several = {};
    several.numDevices = 2;
    several.size = step;
    size_t bytes;
    FAILS(CUDA_ERROR_NOT_SUPPORTED, cuMulticastCreate, &again, &several);
    FAILS(CUDA_ERROR_NOT_SUPPORTED, cuMulticastGetGranularity, &bytes, &several, CU_MULTICAST_GRANULARITY_MINIMUM);
    FAILS(CUDA_ERROR_NOT_SUPPORTED, cuMulticastAddDevice, pieces[0], 0);
    several.numDevices = 0;
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMulticastCreate, &again, &several);

    // It shrinks from the end, and then goes.
    OK(cuMemUnmap, base + 4 * step, 2 * step);
    for (CUmemGenericAllocationHandle piece : pieces) OK(cuMemRelease, piece);
    EXPECT(freeBytes() == before - 4 * step);
    OK(cuMemUnmap, base, 4 * step);
    EXPECT(freeBytes() == before);
    OK(cuMemAddressFree, base, 64 * step);
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
    CHECK(cudaSetDevice(0));
    CHECK(cudaFree(nullptr));
    size_t before = freeBytes(), step = granularity();
    CUmemGenericAllocationHandle memory;
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemImportFromShareableHandle, &memory, (void *)(size_t)0,
          CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR);
    OK(cuMemImportFromShareableHandle, &memory, (void *)(size_t)descriptor, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR);
    close(descriptor);
    CUdeviceptr base;
    OK(cuMemAddressReserve, &base, step, 0, 0, 0);
    OK(cuMemMap, base, step, 0, memory, 0);
    allow(base, step);
    EXPECT(freeBytes() == before);
    unsigned word;
    OK(cuMemcpyDtoH, &word, base + 400, 4);
    EXPECT(word == 100 + 5);
    fill<<<1, 256>>>((unsigned *)base, step / sizeof(unsigned), 6);
    CHECK(cudaDeviceSynchronize());
    EXPECT(write(channel, "x", 1) == 1);
    OK(cuMemUnmap, base, step);
    OK(cuMemRelease, memory);
    OK(cuMemAddressFree, base, step);
}

static void exporter(int channel) {
    size_t step = granularity();
    CUmemAllocationProp shared = properties(true), plain = properties(false);
    CUmemGenericAllocationHandle memory, unshared;
    OK(cuMemCreate, &memory, step, &shared, 0);
    OK(cuMemCreate, &unshared, step, &plain, 0);
    CUdeviceptr base;
    OK(cuMemAddressReserve, &base, step, 0, 0, 0);
    OK(cuMemMap, base, step, 0, memory, 0);
    allow(base, step);
    fill<<<1, 256>>>((unsigned *)base, step / sizeof(unsigned), 5);
    CHECK(cudaDeviceSynchronize());
    int descriptor = -1;
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemExportToShareableHandle, &descriptor, unshared,
          CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0);
    OK(cuMemExportToShareableHandle, &descriptor, memory, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0);
    sendDescriptor(channel, descriptor);
    close(descriptor);
    char letter;
    EXPECT(read(channel, &letter, 1) == 1);
    unsigned word;
    OK(cuMemcpyDtoH, &word, base + 400, 4);
    EXPECT(word == 100 + 6);
    OK(cuMemUnmap, base, step);
    OK(cuMemRelease, memory);
    OK(cuMemRelease, unshared);
    OK(cuMemAddressFree, base, step);
}

int main() {
    int channel[2];
    EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, channel) == 0);
    pid_t process = fork();
    EXPECT(process >= 0);
    if (process == 0) {
        importer(channel[1]);
        return 0;
    }
    close(channel[1]);
    CHECK(cudaSetDevice(0));
    CHECK(cudaFree(nullptr));
    exporter(channel[0]);
    int status;
    EXPECT(waitpid(process, &status, 0) == process);
    EXPECT(status == 0);
    growASegment();
    printf("ok virtual_memory\n");
    return 0;
}
