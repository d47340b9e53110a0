// SPDX-License-Identifier: Apache-2.0
// Values in memory that streams write and wait for, by the driver API; attributes of streams.
#include <unistd.h>

#include "driver.h"

__global__ void addOne(unsigned *value) { atomicAdd(value, 1); }

static void attribute(CUdevice_attribute name, int expected) {
    int value = -1;
    OK(cuDeviceGetAttribute, &value, name, 0);
    EXPECT(value == expected);
}

int main() {
    CHECK(cudaSetDevice(0));
    CHECK(cudaFree(nullptr));
    attribute(CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS, 1);
    attribute(CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_WAIT_VALUE_NOR, 1);
    DeviceArray<unsigned> words(8);
    CHECK(cudaMemset(words.data, 0, 8 * sizeof(unsigned)));
    CHECK(cudaDeviceSynchronize());
    CUdeviceptr base = (CUdeviceptr)words.data;
    CUstream producer, consumer;
    OK(cuStreamCreate, &producer, CU_STREAM_NON_BLOCKING);
    OK(cuStreamCreate, &consumer, CU_STREAM_NON_BLOCKING);

    // Two streams take turns: a kernel's result lets the other stream go on, which writes back.
    const unsigned rounds = 50;
    for (unsigned round = 1; round <= rounds; round++) {
        OK(cuStreamWaitValue32, consumer, base, round, CU_STREAM_WAIT_VALUE_GEQ);
        OK(cuStreamWriteValue32, consumer, base + 4, round, CU_STREAM_WRITE_VALUE_DEFAULT);
    }
    FAILS(CUDA_ERROR_NOT_READY, cuStreamQuery, consumer);
    for (unsigned round = 1; round <= rounds; round++) {
        addOne<<<1, 1, 0, producer>>>(words.data);
        CHECK(cudaGetLastError());
        OK(cuStreamWaitValue32, producer, base + 4, round, CU_STREAM_WAIT_VALUE_EQ);
    }
    OK(cuStreamSynchronize, producer);
    OK(cuStreamSynchronize, consumer);
    unsigned host[8];
    CHECK(cudaMemcpy(host, words.data, sizeof host, cudaMemcpyDeviceToHost));
    EXPECT(host[0] == rounds && host[1] == rounds);

    // A batch, and a wait that a copy from the host ends.
    CUstreamBatchMemOpParams batch[3] = {};
    batch[0].waitValue = {CU_STREAM_MEM_OP_WAIT_VALUE_64, base + 8, {}, CU_STREAM_WAIT_VALUE_EQ, 0};
    batch[0].waitValue.value64 = 0x100000002;
    batch[1].memoryBarrier.operation = CU_STREAM_MEM_OP_BARRIER;
    batch[2].writeValue = {CU_STREAM_MEM_OP_WRITE_VALUE_64, base + 16, {}, 0, 0};
    batch[2].writeValue.value64 = 0x300000004;
    OK(cuStreamBatchMemOp, consumer, 3, batch, 0);
    unsigned long long value = 0x100000002;
    OK(cuMemcpyHtoDAsync, base + 8, &value, 8, producer);
    OK(cuStreamSynchronize, consumer);
    OK(cuMemcpyDtoH, &value, base + 16, 8);
    EXPECT(value == 0x300000004);

    // Pinned memory: a stream writes it, the host reads it.
    unsigned *pinned;
    CHECK(cudaHostAlloc((void **)&pinned, sizeof(unsigned), cudaHostAllocMapped));
    *pinned = 1;
    CUresult written = DRIVER(cuStreamWriteValue32)(producer, (CUdeviceptr)pinned, 42, 0);
    EXPECT(written == CUDA_SUCCESS || written == CUDA_ERROR_NOT_SUPPORTED);
    OK(cuStreamSynchronize, producer);
    EXPECT(*pinned == (written == CUDA_SUCCESS ? 42 : 1));

    // What is refused, and at once.
    FAILS(CUDA_ERROR_INVALID_VALUE, cuStreamWriteValue32, producer, base + 2, 1, 0);
    FAILS(CUDA_ERROR_INVALID_VALUE, cuStreamWriteValue32, producer, 0, 1, 0);
    FAILS(CUDA_ERROR_INVALID_VALUE, cuStreamWaitValue32, producer, base, 1, 8);
    FAILS(CUDA_ERROR_INVALID_VALUE, cuStreamWaitValue64, producer, base + 8 * sizeof(unsigned), 1, 0);
    FAILS(CUDA_ERROR_NOT_SUPPORTED, cuStreamWaitValue32, producer, base, 1, CU_STREAM_WAIT_VALUE_FLUSH);
    FAILS(CUDA_ERROR_INVALID_VALUE, cuStreamBatchMemOp, producer, 257, batch, 0);
    FAILS(CUDA_ERROR_INVALID_HANDLE, cuStreamBatchMemOp, (CUstream)0x123450, 1, batch, 0);
    FAILS(CUDA_ERROR_NOT_SUPPORTED, cuFlushGPUDirectRDMAWrites, CU_FLUSH_GPU_DIRECT_RDMA_WRITES_TARGET_CURRENT_CTX,
                                      CU_FLUSH_GPU_DIRECT_RDMA_WRITES_TO_OWNER);

    // Attributes of streams are kept, and copied from stream to stream.
    CUstreamAttrValue policy = {}, found = {};
    policy.syncPolicy = CU_SYNC_POLICY_YIELD;
    OK(cuStreamSetAttribute, producer, CU_STREAM_ATTRIBUTE_SYNCHRONIZATION_POLICY, &policy);
    OK(cuStreamGetAttribute, consumer, CU_STREAM_ATTRIBUTE_SYNCHRONIZATION_POLICY, &found);
    EXPECT(found.syncPolicy == CU_SYNC_POLICY_AUTO);
    OK(cuStreamCopyAttributes, consumer, producer);
    OK(cuStreamGetAttribute, consumer, CU_STREAM_ATTRIBUTE_SYNCHRONIZATION_POLICY, &found);
    EXPECT(found.syncPolicy == CU_SYNC_POLICY_YIELD);
    FAILS(CUDA_ERROR_INVALID_VALUE, cuStreamSetAttribute, producer, (CUstreamAttrID)2, &policy);

    // A stream that waits for ever ends with the process, which must not wait for it either.
    OK(cuStreamWaitValue32, consumer, base, 0x7fffffff, CU_STREAM_WAIT_VALUE_EQ);
    printf("ok stream_values\n");
    std::fflush(stdout);
    _exit(0);
}
