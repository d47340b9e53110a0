// SPDX-License-Identifier: Apache-2.0
// Graphs with conditional nodes: choices, loops and selections, nested, captured into their bodies, updated and launched
// again, with the conditions that kernels set.
#include "check.h"

/// Adds 1 and goes on until the limit is reached.
__global__ void countUp(cudaGraphConditionalHandle handle, int *value, int limit) {
    cudaGraphSetConditional(handle, ++*value < limit);
}
__global__ void choose(cudaGraphConditionalHandle handle, const int *value) {
    cudaGraphSetConditional(handle, (unsigned)*value);
}
__global__ void add(int *value, int summand) { *value += summand; }

/// Newton's step for the square roots of all numbers; thread 0 of the last block says whether another one is needed.
__global__ void step(float *roots, const float *numbers, int count, unsigned *worst) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    float next = 0.5f * (roots[i] + numbers[i] / roots[i]);
    atomicMax(worst, __float_as_uint(fabsf(next - roots[i]) / next));
    roots[i] = next;
}
__global__ void judge(cudaGraphConditionalHandle handle, unsigned *worst, int *rounds) {
    cudaGraphSetConditional(handle, __uint_as_float(*worst) > 1e-6f);
    *worst = 0;
    ++*rounds;
}

static cudaGraphNode_t addKernel(cudaGraph_t graph, std::vector<cudaGraphNode_t> after, void *function,
                                 std::vector<void *> arguments) {
    cudaKernelNodeParams parameters = {};
    parameters.func = function;
    parameters.gridDim = parameters.blockDim = dim3(1);
    parameters.kernelParams = arguments.data();
    cudaGraphNode_t node;
    CHECK(cudaGraphAddKernelNode(&node, graph, after.data(), after.size(), &parameters));
    return node;
}

static cudaError_t tryConditional(cudaGraphNode_t *node, cudaGraph_t graph, std::vector<cudaGraphNode_t> after,
                                  cudaGraphConditionalHandle handle, cudaGraphConditionalNodeType type, unsigned size,
                                  std::vector<cudaGraph_t> *bodies) {
    cudaGraphNodeParams parameters = {};
    parameters.type = cudaGraphNodeTypeConditional;
    parameters.conditional.handle = handle;
    parameters.conditional.type = type;
    parameters.conditional.size = size;
    cudaError_t status = cudaGraphAddNode(node, graph, after.data(), nullptr, after.size(), &parameters);
    if (status == cudaSuccess)
        bodies->assign(parameters.conditional.phGraph_out, parameters.conditional.phGraph_out + size);
    return status;
}

static std::vector<cudaGraph_t> addConditional(cudaGraph_t graph, std::vector<cudaGraphNode_t> after,
                                               cudaGraphConditionalHandle handle, cudaGraphConditionalNodeType type,
                                               unsigned size = 1) {
    cudaGraphNode_t node;
    std::vector<cudaGraph_t> bodies;
    CHECK(tryConditional(&node, graph, after, handle, type, size, &bodies));
    EXPECT(bodies.size() == size);
    cudaGraphNodeType found;
    CHECK(cudaGraphNodeGetType(node, &found));
    EXPECT(found == cudaGraphNodeTypeConditional);
    return bodies;
}

static void run(cudaGraphExec_t executable, cudaStream_t stream, int times = 1) {
    for (int i = 0; i < times; i++) CHECK(cudaGraphLaunch(executable, stream));
    CHECK(cudaStreamSynchronize(stream));
}

static int read(const int *value) {
    int found;
    CHECK(cudaMemcpy(&found, value, sizeof found, cudaMemcpyDeviceToHost));
    return found;
}

/// A loop whose body is captured; the number of rounds is found by the kernels.
static void convergingLoop(cudaStream_t stream) {
    const int count = 1000;
    std::vector<float> numbers(count), ones(count, 1.0f), expected(count);
    for (int i = 0; i < count; i++) {
        numbers[i] = (float)(i + 1) * 7;
        expected[i] = std::sqrt(numbers[i]);
    }
    DeviceArray<float> input(count), roots(count), start(count);
    DeviceArray<unsigned> worst(1);
    DeviceArray<int> rounds(1);
    input.upload(numbers);
    start.upload(ones);
    worst.upload({0});

    cudaGraph_t graph, same;
    cudaGraphConditionalHandle handle;
    CHECK(cudaGraphCreate(&graph, 0));
    CHECK(cudaGraphConditionalHandleCreate(&handle, graph, 1, cudaGraphCondAssignDefault));
    cudaGraphNode_t copy, set;
    CHECK(cudaGraphAddMemcpyNode1D(&copy, graph, nullptr, 0, roots.data, start.data, count * sizeof(float),
                                   cudaMemcpyDeviceToDevice));
    cudaMemsetParams zero = {};
    zero.dst = rounds.data;
    zero.elementSize = 4;
    zero.width = zero.height = 1;
    CHECK(cudaGraphAddMemsetNode(&set, graph, nullptr, 0, &zero));
    cudaGraph_t body = addConditional(graph, {copy, set}, handle, cudaGraphCondTypeWhile)[0];
    CHECK(cudaStreamBeginCaptureToGraph(stream, body, nullptr, nullptr, 0, cudaStreamCaptureModeThreadLocal));
    step<<<(count + 127) / 128, 128, 0, stream>>>(roots.data, input.data, count, worst.data);
    judge<<<1, 1, 0, stream>>>(handle, worst.data, rounds.data);
    CHECK(cudaStreamEndCapture(stream, &same));
    EXPECT(same == body);

    cudaGraphExec_t executable;
    CHECK(cudaGraphInstantiate(&executable, graph, 0));
    run(executable, stream, 3);
    expectClose(roots.download(), expected, 1e-5, "roots");
    int found = read(rounds.data);
    EXPECT(found > 5 && found < 40);
    CHECK(cudaGraphDestroy(graph));
    run(executable, stream);
    EXPECT(read(rounds.data) == found);
    CHECK(cudaGraphExecDestroy(executable));
}

/// Every value of an input takes another way through a selection in a choice in a loop.
static void nestedBodies(cudaStream_t stream) {
    DeviceArray<int> input(1), total(1), otherwise(1), turns(1);
    total.upload({0});
    otherwise.upload({0});
    int *in = input.data, *sum = total.data, *other = otherwise.data, *count = turns.data, limit = 3;
    cudaGraph_t graph;
    CHECK(cudaGraphCreate(&graph, 0));
    cudaGraphConditionalHandle loop, choice, selection;
    CHECK(cudaGraphConditionalHandleCreate(&loop, graph, 1, cudaGraphCondAssignDefault));
    CHECK(cudaGraphConditionalHandleCreate(&choice, graph, 0, 0));
    CHECK(cudaGraphConditionalHandleCreate(&selection, graph, 0, 0));
    cudaGraph_t round = addConditional(graph, {}, loop, cudaGraphCondTypeWhile)[0];
    cudaGraphNode_t counted = addKernel(round, {}, (void *)countUp, {&loop, &count, &limit});
    cudaGraphNode_t chosen = addKernel(round, {counted}, (void *)choose, {&choice, &in});
    auto either = addConditional(round, {chosen}, choice, cudaGraphCondTypeIf, 2);
    cudaGraphNode_t selected = addKernel(either[0], {}, (void *)choose, {&selection, &in});
    auto cases = addConditional(either[0], {selected}, selection, cudaGraphCondTypeSwitch, 4);
    int summands[] = {1, 10, 100, 1000};
    for (int i = 0; i < 4; i++) addKernel(cases[i], {}, (void *)add, {&sum, &summands[i]});
    addKernel(either[1], {}, (void *)add, {&other, &summands[0]});
    cudaGraphExec_t executable;
    CHECK(cudaGraphInstantiate(&executable, graph, 0));
    // 0 does the other body, 4 and 5 none of the selection's.
    for (int value = 0; value < 6; value++) {
        input.upload({value});
        turns.upload({0});
        run(executable, stream);
        EXPECT(read(count) == 3);
    }
    EXPECT(read(sum) == 3 * 1110 && read(other) == 3);

    // A node in a body changes, between two launches and for one executable graph.
    cudaGraphNode_t node;
    size_t nodes = 1;
    CHECK(cudaGraphGetNodes(cases[2], &node, &nodes));
    cudaKernelNodeParams parameters;
    CHECK(cudaGraphKernelNodeGetParams(node, &parameters));
    int summand = 5;
    void *arguments[] = {&sum, &summand};
    parameters.kernelParams = arguments;
    CHECK(cudaGraphExecKernelNodeSetParams(executable, node, &parameters));
    input.upload({2});
    turns.upload({0});
    run(executable, stream);
    EXPECT(read(sum) == 3 * 1110 + 15);
    CHECK(cudaGraphExecDestroy(executable));
    CHECK(cudaGraphDestroy(graph));
}

/// A whole capture with a conditional node in its midst, and an update by another such graph.
static void capturedAndUpdated(cudaStream_t stream) {
    DeviceArray<int> value(1);
    value.upload({0});
    cudaStream_t side;
    CHECK(cudaStreamCreate(&side));
    auto capture = [&](int limit, int last) {
        CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
        add<<<1, 1, 0, stream>>>(value.data, 0);
        cudaStreamCaptureStatus status;
        cudaGraph_t graph, body;
        const cudaGraphNode_t *before;
        size_t count;
        CHECK(cudaStreamGetCaptureInfo(stream, &status, nullptr, &graph, &before, nullptr, &count));
        cudaGraphConditionalHandle handle;
        CHECK(cudaGraphConditionalHandleCreate(&handle, graph, 1, cudaGraphCondAssignDefault));
        cudaGraphNode_t node;
        std::vector<cudaGraph_t> bodies;
        CHECK(tryConditional(&node, graph, {before, before + count}, handle, cudaGraphCondTypeWhile, 1, &bodies));
        CHECK(cudaStreamBeginCaptureToGraph(side, bodies[0], nullptr, nullptr, 0, cudaStreamCaptureModeThreadLocal));
        countUp<<<1, 1, 0, side>>>(handle, value.data, limit);
        CHECK(cudaStreamEndCapture(side, &body));
        CHECK(cudaStreamUpdateCaptureDependencies(stream, &node, nullptr, 1, cudaStreamSetCaptureDependencies));
        add<<<1, 1, 0, stream>>>(value.data, last);
        CHECK(cudaStreamEndCapture(stream, &graph));
        return graph;
    };
    cudaGraph_t first = capture(10, 5), second = capture(100, 7);
    cudaGraphExec_t executable;
    CHECK(cudaGraphInstantiate(&executable, first, 0));
    run(executable, stream);
    EXPECT(read(value.data) == 15);
    cudaGraphExecUpdateResultInfo info;
    CHECK(cudaGraphExecUpdate(executable, second, &info));
    EXPECT(info.result == cudaGraphExecUpdateSuccess);
    run(executable, stream);
    EXPECT(read(value.data) == 107);
    CHECK(cudaGraphExecDestroy(executable));
    CHECK(cudaGraphDestroy(first));
    CHECK(cudaGraphDestroy(second));
    CHECK(cudaStreamDestroy(side));
}

static void refusals() {
    cudaGraph_t graph, other, made;
    CHECK(cudaGraphCreate(&graph, 0));
    CHECK(cudaGraphCreate(&other, 0));
    cudaGraphConditionalHandle handle;
    CHECK(cudaGraphConditionalHandleCreate(&handle, graph, 0, 0));
    cudaGraphNode_t node;
    std::vector<cudaGraph_t> bodies;
    EXPECT_ERROR(cudaErrorInvalidValue, tryConditional(&node, other, {}, handle, cudaGraphCondTypeIf, 1, &bodies));
    EXPECT_ERROR(cudaErrorInvalidValue, tryConditional(&node, graph, {}, handle, cudaGraphCondTypeWhile, 2, &bodies));
    cudaGraphExec_t executable, again;
    EXPECT_ERROR(cudaErrorInvalidValue, cudaGraphInstantiate(&executable, graph, 0));
    bodies = addConditional(graph, {}, handle, cudaGraphCondTypeIf);
    EXPECT_ERROR(cudaErrorInvalidValue, tryConditional(&node, graph, {}, handle, cudaGraphCondTypeIf, 1, &bodies));
    EXPECT_ERROR(cudaErrorNotSupported, cudaGraphClone(&made, graph));
    EXPECT_ERROR(cudaErrorNotSupported, cudaGraphAddChildGraphNode(&node, other, nullptr, 0, graph));
    cudaHostNodeParams host = {[](void *) {}, nullptr};
    CHECK(cudaGraphAddHostNode(&node, bodies[0], nullptr, 0, &host));
    EXPECT_ERROR(cudaErrorInvalidValue, cudaGraphInstantiate(&executable, graph, 0));
    CHECK(cudaGraphDestroyNode(node));
    CHECK(cudaGraphInstantiate(&executable, graph, 0));
    EXPECT_ERROR(cudaErrorNotSupported, cudaGraphInstantiate(&again, graph, 0));
    CHECK(cudaGraphExecDestroy(executable));
    CHECK(cudaGraphDestroy(graph));
    CHECK(cudaGraphDestroy(other));
    CHECK(cudaPeekAtLastError() == cudaErrorNotSupported ? cudaSuccess : cudaErrorUnknown);
}

int main() {
    cudaStream_t stream;
    CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    convergingLoop(stream);
    nestedBodies(stream);
    capturedAndUpdated(stream);
    refusals();
    CHECK(cudaStreamDestroy(stream));
    return succeed("conditions");
}
