// SPDX-License-Identifier: Apache-2.0
// Several streams with overlapping copies and kernels, ordered by events; timing; host functions; pinned memory.
#include <atomic>

#include "check.h"

__global__ void scaleAndAdd(float *values, int count, float scale, float offset) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) values[i] = values[i] * scale + offset;
}

static std::atomic<int> hostCalls{0};
static void CUDART_CB countCall(void *expected) {
    if (hostCalls.load() == (int)(size_t)expected) hostCalls++;
}

int main() {
    const int streams = 4, chunk = 20000, count = streams * chunk;
    float *host;
    CHECK(cudaHostAlloc((void **)&host, count * sizeof(float), cudaHostAllocDefault));
    for (int i = 0; i < count; i++) host[i] = (float)(i % 1000);
    DeviceArray<float> device(count);

    // Each stream does its own part of the work: up, kernel, down.
    cudaStream_t stream[streams];
    cudaEvent_t begin, end, uploaded[streams];
    CHECK(cudaEventCreate(&begin));
    CHECK(cudaEventCreate(&end));
    CHECK(cudaEventRecord(begin));
    for (int s = 0; s < streams; s++) {
        CHECK(cudaStreamCreateWithFlags(&stream[s], s % 2 ? cudaStreamNonBlocking : cudaStreamDefault));
        CHECK(cudaEventCreateWithFlags(&uploaded[s], cudaEventDisableTiming));
        float *part = host + s * chunk, *devicePart = device.data + s * chunk;
        CHECK(cudaMemcpyAsync(devicePart, part, chunk * sizeof(float), cudaMemcpyHostToDevice, stream[s]));
        CHECK(cudaEventRecord(uploaded[s], stream[s]));
        scaleAndAdd<<<(chunk + 127) / 128, 128, 0, stream[s]>>>(devicePart, chunk, 2.0f, 1.0f);
        CHECK(cudaGetLastError());
        CHECK(cudaMemcpyAsync(part, devicePart, chunk * sizeof(float), cudaMemcpyDeviceToHost, stream[s]));
    }
    for (int s = 0; s < streams; s++) CHECK(cudaStreamSynchronize(stream[s]));
    for (int i = 0; i < count; i++) EXPECT(host[i] == (float)(i % 1000) * 2 + 1);
    for (int s = 0; s < streams; s++) EXPECT_ERROR(cudaSuccess, cudaEventQuery(uploaded[s]));

    // A chain through all the streams: each waits for the one before it by an event.
    const int small = 500;
    CHECK(cudaMemset(device.data, 0, small * sizeof(float)));
    CHECK(cudaDeviceSynchronize());
    float expected = 0;
    for (int round = 0; round < 12; round++) {
        int s = round % streams, before = (round + streams - 1) % streams;
        if (round > 0) CHECK(cudaStreamWaitEvent(stream[s], uploaded[before], 0));
        scaleAndAdd<<<(small + 63) / 64, 64, 0, stream[s]>>>(device.data, small, 2.0f, (float)round);
        CHECK(cudaGetLastError());
        CHECK(cudaEventRecord(uploaded[s], stream[s]));
        CHECK(cudaLaunchHostFunc(stream[s], countCall, (void *)(size_t)round));
        CHECK(cudaStreamSynchronize(stream[s]));
        expected = expected * 2 + (float)round;
    }
    CHECK(cudaEventRecord(end));
    CHECK(cudaEventSynchronize(end));
    EXPECT(hostCalls.load() == 12);
    std::vector<float> found(small);
    CHECK(cudaMemcpy(found.data(), device.data, small * sizeof(float), cudaMemcpyDeviceToHost));
    expectEqual(found, std::vector<float>(small, expected), "chain");

    float milliseconds = -1;
    CHECK(cudaEventElapsedTime(&milliseconds, begin, end));
    EXPECT(milliseconds > 0 && milliseconds < 60000);
    EXPECT_ERROR(cudaErrorInvalidResourceHandle, cudaEventElapsedTime(&milliseconds, begin, uploaded[0]));
    cudaGetLastError();

    // The legacy default stream waits for the blocking streams, and they for it.
    CHECK(cudaMemsetAsync(device.data, 0, small * sizeof(float), stream[0]));
    scaleAndAdd<<<(small + 63) / 64, 64, 0, stream[0]>>>(device.data, small, 1.0f, 5.0f);
    scaleAndAdd<<<(small + 63) / 64, 64>>>(device.data, small, 3.0f, 0.0f);
    scaleAndAdd<<<(small + 63) / 64, 64, 0, stream[2]>>>(device.data, small, 1.0f, 1.0f);
    CHECK(cudaStreamSynchronize(stream[2]));
    CHECK(cudaMemcpy(found.data(), device.data, small * sizeof(float), cudaMemcpyDeviceToHost));
    expectEqual(found, std::vector<float>(small, 16.0f), "default stream");

    for (int s = 0; s < streams; s++) {
        CHECK(cudaStreamQuery(stream[s]));
        CHECK(cudaStreamDestroy(stream[s]));
        CHECK(cudaEventDestroy(uploaded[s]));
    }
    CHECK(cudaEventDestroy(begin));
    CHECK(cudaEventDestroy(end));
    CHECK(cudaFreeHost(host));
    return succeed("streams");
}
