// SPDX-License-Identifier: Apache-2.0
// Grids whose blocks wait for each other: grid.sync, its two halves, groups inside of blocks, and launches that are too
// large for all blocks to be on the device at once.
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>

#include "check.h"

namespace groups = cooperative_groups;

/// Jacobi iterations in one launch: every block reads what its neighbours wrote in the step before.
__global__ void relax(float *a, float *b, int count, int steps) {
    groups::grid_group grid = groups::this_grid();
    for (int step = 0; step < steps; step++) {
        for (int i = grid.thread_rank(); i < count; i += grid.size()) {
            float left = i > 0 ? a[i - 1] : 0.0f, right = i + 1 < count ? a[i + 1] : 1.0f;
            b[i] = 0.5f * (left + right);
        }
        grid.sync();
        float *swap = a;
        a = b;
        b = swap;
    }
}

/// A sum over the grid: lanes, warps, then blocks, of which the first adds up after a barrier.
__global__ void sum(const int *values, int count, int *partial, int *result) {
    __shared__ int warps[32];
    groups::grid_group grid = groups::this_grid();
    groups::thread_block block = groups::this_thread_block();
    auto warp = groups::tiled_partition<32>(block);
    int own = 0;
    for (int i = grid.thread_rank(); i < count; i += grid.size()) own += values[i];
    own = groups::reduce(warp, own, groups::plus<int>());
    if (warp.thread_rank() == 0) warps[warp.meta_group_rank()] = own;
    block.sync();
    if (block.thread_rank() == 0) {
        int total = 0;
        for (int i = 0; i < (int)warp.meta_group_size(); i++) total += warps[i];
        partial[grid.block_rank()] = total;
    }
    auto token = grid.barrier_arrive();
    grid.barrier_wait(std::move(token));
    if (grid.thread_rank() == 0) {
        int total = 0;
        for (unsigned i = 0; i < grid.num_blocks(); i++) total += partial[i];
        *result = total;
    }
}

__global__ void isValid(int *valid) { *valid = groups::this_grid().is_valid(); }

static int residentBlocks(const void *kernel, int threads) {
    int perProcessor = 0, processors = 0;
    CHECK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&perProcessor, kernel, threads, 0));
    CHECK(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, 0));
    EXPECT(perProcessor > 0 && processors > 0);
    return perProcessor * processors;
}

static void relaxes() {
    int count = 5000, steps = 41;
    std::vector<float> expected(count, 0.25f), other(count);
    DeviceArray<float> a(expected), b(count);
    for (int step = 0; step < steps; step++) {
        for (int i = 0; i < count; i++) {
            float left = i > 0 ? expected[i - 1] : 0.0f, right = i + 1 < count ? expected[i + 1] : 1.0f;
            other[i] = 0.5f * (left + right);
        }
        expected.swap(other);
    }
    void *arguments[] = {&a.data, &b.data, &count, &steps};
    int blocks = residentBlocks((const void *)relax, 128);
    CHECK(cudaLaunchCooperativeKernel((const void *)relax, blocks, 128, arguments, 0, nullptr));
    CHECK(cudaDeviceSynchronize());
    expectEqual(steps % 2 ? b.download() : a.download(), expected, "relax");
}

static void sums() {
    int count = 100000, expected = 0;
    std::vector<int> values(count);
    Random random;
    for (int &value : values) expected += value = (int)(random.next() & 1023);
    int blocks = residentBlocks((const void *)sum, 96);
    DeviceArray<int> input(values), partial(blocks), result(1);
    // As an attribute of an ordinary launch, in a stream of its own, twice.
    cudaStream_t stream;
    CHECK(cudaStreamCreate(&stream));
    cudaLaunchAttribute attribute = {};
    attribute.id = cudaLaunchAttributeCooperative;
    attribute.val.cooperative = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = blocks;
    config.blockDim = 96;
    config.stream = stream;
    config.attrs = &attribute;
    config.numAttrs = 1;
    for (int round = 0; round < 2; round++) {
        CHECK(cudaLaunchKernelEx(&config, sum, (const int *)input.data, count, partial.data, result.data));
        CHECK(cudaStreamSynchronize(stream));
        EXPECT(result.download()[0] == expected);
        CHECK(cudaMemset(result.data, 0, sizeof(int)));
    }
    // And as a node of a graph.
    cudaGraph_t graph;
    cudaGraphExec_t executable;
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    CHECK(cudaLaunchKernelEx(&config, sum, (const int *)input.data, count, partial.data, result.data));
    CHECK(cudaStreamEndCapture(stream, &graph));
    CHECK(cudaGraphInstantiate(&executable, graph, 0));
    CHECK(cudaGraphLaunch(executable, stream));
    CHECK(cudaStreamSynchronize(stream));
    EXPECT(result.download()[0] == expected);
    CHECK(cudaGraphExecDestroy(executable));
    CHECK(cudaGraphDestroy(graph));
    CHECK(cudaStreamDestroy(stream));
}

/// CUDA says at once that a grid cannot be on the device as a whole; an ordinary launch of it is fine.
static void refusesWhatIsTooLarge() {
    int count = 10, steps = 0;
    DeviceArray<float> a(count), b(count);
    void *arguments[] = {&a.data, &b.data, &count, &steps};
    int blocks = residentBlocks((const void *)relax, 256);
    EXPECT_ERROR(
        cudaErrorCooperativeLaunchTooLarge,
        cudaLaunchCooperativeKernel((const void *)relax, blocks + 1, 256, arguments, 0, nullptr));
    EXPECT_ERROR(cudaErrorCooperativeLaunchTooLarge, cudaGetLastError());
    EXPECT_ERROR(
        cudaErrorCooperativeLaunchTooLarge,
        cudaLaunchCooperativeKernel((const void *)relax, dim3(1, blocks, 2), 256, arguments, 0, nullptr));
    cudaGetLastError();
    relax<<<blocks + 1, 256>>>(a.data, b.data, count, steps);
    CHECK(cudaDeviceSynchronize());
}

static void knowsWhetherTheGridIsOne() {
    DeviceArray<int> valid(1);
    void *arguments[] = {&valid.data};
    CHECK(cudaLaunchCooperativeKernel((const void *)isValid, 1, 1, arguments, 0, nullptr));
    EXPECT(valid.download()[0] == 1);
    isValid<<<1, 1>>>(valid.data);
    EXPECT(valid.download()[0] == 0);
}

int main() {
    int supported = 0;
    CHECK(cudaDeviceGetAttribute(&supported, cudaDevAttrCooperativeLaunch, 0));
    EXPECT(supported == 1);
    relaxes();
    sums();
    refusesWhatIsTooLarge();
    knowsWhetherTheGridIsOne();
    return succeed("cooperative");
}
