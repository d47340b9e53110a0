// SPDX-License-Identifier: Apache-2.0
// Graphs: captured with forks and joins, built of nodes of every kind, changed, copied, nested and launched; and what
// a capture forbids.
#include <atomic>
#include <thread>

#include "check.h"

__global__ void scale(float *values, int count, float factor, float offset) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) values[i] = values[i] * factor + offset;
}
__global__ void add(float *sum, const float *a, const float *b, int count) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) sum[i] = a[i] + b[i];
}

static const int count = 1000, blocks = 8, threads = 128;

static std::vector<float> ramp(float factor, float offset) {
    std::vector<float> values(count);
    for (int i = 0; i < count; i++) values[i] = (float)i * factor + offset;
    return values;
}

static cudaKernelNodeParams kernelNode(void *function, void **arguments) {
    cudaKernelNodeParams node = {};
    node.func = function;
    node.gridDim = dim3(blocks);
    node.blockDim = dim3(threads);
    node.kernelParams = arguments;
    return node;
}

static cudaGraph_t endCapture(cudaStream_t stream) {
    cudaGraph_t graph = nullptr;
    CHECK(cudaStreamEndCapture(stream, &graph));
    EXPECT(graph != nullptr);
    return graph;
}

static size_t nodeCount(cudaGraph_t graph) {
    size_t nodes = 0;
    CHECK(cudaGraphGetNodes(graph, nullptr, &nodes));
    return nodes;
}

/// A stream that splits into two and joins again, with copies from and to the host, launched several times.
static void captureWithFork() {
    cudaStream_t stream, side;
    cudaEvent_t fork, join;
    CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    CHECK(cudaStreamCreate(&side));
    CHECK(cudaEventCreateWithFlags(&fork, cudaEventDisableTiming));
    CHECK(cudaEventCreateWithFlags(&join, cudaEventDisableTiming));
    DeviceArray<float> a(count), b(count), sum(count);
    float *host, *found;
    CHECK(cudaMallocHost((void **)&host, count * sizeof(float)));
    CHECK(cudaMallocHost((void **)&found, count * sizeof(float)));

    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    CHECK(cudaMemcpyAsync(a.data, host, count * sizeof(float), cudaMemcpyHostToDevice, stream));
    CHECK(cudaEventRecord(fork, stream));
    CHECK(cudaStreamWaitEvent(side, fork, 0));
    cudaStreamCaptureStatus status;
    CHECK(cudaStreamIsCapturing(side, &status));
    EXPECT(status == cudaStreamCaptureStatusActive);
    CHECK(cudaMemsetAsync(b.data, 0, count * sizeof(float), side));
    scale<<<blocks, threads, 0, side>>>(b.data, count, 1.0f, 100.0f);
    scale<<<blocks, threads, 0, stream>>>(a.data, count, 2.0f, 1.0f);
    CHECK(cudaEventRecord(join, side));
    CHECK(cudaStreamWaitEvent(stream, join, 0));
    add<<<blocks, threads, 0, stream>>>(sum.data, a.data, b.data, count);
    CHECK(cudaMemcpyAsync(found, sum.data, count * sizeof(float), cudaMemcpyDeviceToHost, stream));
    cudaGraph_t graph = endCapture(stream);
    CHECK(cudaStreamIsCapturing(side, &status));
    EXPECT(status == cudaStreamCaptureStatusNone);
    EXPECT(nodeCount(graph) == 6);
    size_t roots = 0;
    CHECK(cudaGraphGetRootNodes(graph, nullptr, &roots));
    EXPECT(roots == 1);

    cudaGraphExec_t executable;
    CHECK(cudaGraphInstantiate(&executable, graph, 0));
    for (int round = 0; round < 3; round++) {
        // What the host memory holds at the launch counts, not at the capture.
        for (int i = 0; i < count; i++) host[i] = (float)(i + round);
        CHECK(cudaGraphLaunch(executable, stream));
        CHECK(cudaStreamSynchronize(stream));
        for (int i = 0; i < count; i++) EXPECT(found[i] == (float)(i + round) * 2 + 1 + 100);
    }
    // The graph is not needed any more; launches into several streams follow each other.
    CHECK(cudaGraphDestroy(graph));
    CHECK(cudaGraphLaunch(executable, side));
    CHECK(cudaGraphLaunch(executable, stream));
    CHECK(cudaStreamSynchronize(stream));
    CHECK(cudaGraphExecDestroy(executable));
    CHECK(cudaFreeHost(host));
    CHECK(cudaFreeHost(found));
    CHECK(cudaEventDestroy(fork));
    CHECK(cudaEventDestroy(join));
    CHECK(cudaStreamDestroy(stream));
    CHECK(cudaStreamDestroy(side));
}

/// Device work alone: the whole graph is one launch of the driver's, and its nodes change between launches.
static void explicitNodes() {
    cudaGraph_t graph;
    CHECK(cudaGraphCreate(&graph, 0));
    DeviceArray<float> a(count), b(count), sum(count);
    a.upload(ramp(1, 0));
    float *first = a.data, *second = b.data, *target = sum.data, factor = 2, offset = 5;
    int length = count;
    void *scaling[] = {&second, &length, &factor, &offset};
    void *adding[] = {&target, &first, &second, &length};

    cudaGraphNode_t copy, kernel, last, set;
    CHECK(cudaGraphAddMemcpyNode1D(&copy, graph, nullptr, 0, b.data, a.data, count * sizeof(float),
                                   cudaMemcpyDeviceToDevice));
    cudaKernelNodeParams scalingNode = kernelNode((void *)scale, scaling);
    CHECK(cudaGraphAddKernelNode(&kernel, graph, &copy, 1, &scalingNode));
    cudaKernelNodeParams addingNode = kernelNode((void *)add, adding);
    CHECK(cudaGraphAddKernelNode(&last, graph, &kernel, 1, &addingNode));
    // The values count that the arguments had when the node was made.
    factor = -1;
    cudaGraphExec_t executable;
    CHECK(cudaGraphInstantiate(&executable, graph, 0));
    CHECK(cudaGraphLaunch(executable, 0));
    CHECK(cudaDeviceSynchronize());
    expectEqual(sum.download(), ramp(3, 5), "explicit nodes");

    // Other parameters in the executable graph.
    factor = 10;
    CHECK(cudaGraphExecKernelNodeSetParams(executable, kernel, &scalingNode));
    CHECK(cudaGraphLaunch(executable, 0));
    expectEqual(sum.download(), ramp(11, 5), "changed parameters");
    CHECK(cudaGraphNodeSetEnabled(executable, kernel, 0));
    CHECK(cudaGraphLaunch(executable, 0));
    expectEqual(sum.download(), ramp(2, 0), "a node switched off");
    unsigned enabled = 7;
    CHECK(cudaGraphNodeGetEnabled(executable, kernel, &enabled));
    EXPECT(enabled == 0);
    CHECK(cudaGraphNodeSetEnabled(executable, kernel, 1));
    CHECK(cudaGraphLaunch(executable, 0));
    expectEqual(sum.download(), ramp(11, 5), "a node switched on");

    // Other parameters in the graph, taken over by an update.
    factor = 4;
    CHECK(cudaGraphKernelNodeSetParams(kernel, &scalingNode));
    cudaKernelNodeParams told = {};
    CHECK(cudaGraphKernelNodeGetParams(kernel, &told));
    EXPECT(*(float *)told.kernelParams[2] == 4 && told.gridDim.x == blocks && told.func == (void *)scale);
    cudaGraphExecUpdateResultInfo result;
    CHECK(cudaGraphExecUpdate(executable, graph, &result));
    EXPECT(result.result == cudaGraphExecUpdateSuccess);
    CHECK(cudaGraphLaunch(executable, 0));
    expectEqual(sum.download(), ramp(5, 5), "an update");

    // A graph of another shape is refused.
    cudaMemsetParams setting = {};
    setting.dst = a.data;
    setting.elementSize = 4;
    setting.width = count;
    setting.height = 1;
    CHECK(cudaGraphAddMemsetNode(&set, graph, &last, 1, &setting));
    EXPECT_ERROR(cudaErrorGraphExecUpdateFailure, cudaGraphExecUpdate(executable, graph, &result));
    EXPECT(result.result == cudaGraphExecUpdateErrorTopologyChanged);
    cudaGetLastError();

    // A copy of the graph with nodes of its own.
    cudaGraph_t clone;
    cudaGraphNode_t cloned;
    CHECK(cudaGraphClone(&clone, graph));
    CHECK(cudaGraphNodeFindInClone(&cloned, kernel, clone));
    EXPECT(cloned != kernel);
    factor = 7;
    CHECK(cudaGraphKernelNodeSetParams(cloned, &scalingNode));
    CHECK(cudaGraphKernelNodeGetParams(kernel, &told));
    EXPECT(*(float *)told.kernelParams[2] == 4);
    CHECK(cudaGraphDestroyNode(set));
    EXPECT(nodeCount(graph) == 3 && nodeCount(clone) == 4);

    // A graph as a node of another.
    cudaGraph_t parent;
    cudaGraphNode_t child, before;
    CHECK(cudaGraphCreate(&parent, 0));
    CHECK(cudaGraphAddEmptyNode(&before, parent, nullptr, 0));
    CHECK(cudaGraphAddChildGraphNode(&child, parent, &before, 1, clone));
    cudaGraphExec_t nested;
    CHECK(cudaGraphInstantiate(&nested, parent, 0));
    CHECK(cudaGraphLaunch(nested, 0));
    expectEqual(sum.download(), ramp(8, 5), "a child graph");
    expectEqual(a.download(), std::vector<float>(count, 0), "the child graph's last node");

    // A cycle is found at the latest when the graph is made executable.
    cudaGraphNode_t loop;
    CHECK(cudaGraphAddEmptyNode(&loop, graph, &last, 1));
    cudaError_t closing = cudaGraphAddDependencies(graph, &loop, &copy, nullptr, 1);
    cudaGraphExec_t never;
    if (closing == cudaSuccess) EXPECT_ERROR(cudaErrorInvalidValue, cudaGraphInstantiate(&never, graph, 0));
    cudaGetLastError();

    CHECK(cudaGraphExecDestroy(nested));
    CHECK(cudaGraphExecDestroy(executable));
    CHECK(cudaGraphDestroy(parent));
    CHECK(cudaGraphDestroy(clone));
    CHECK(cudaGraphDestroy(graph));
}

static std::atomic<int> hostCalls{0};
struct HostTask {
    const float *source;
    float *target;
};
static void CUDART_CB doubleOnHost(void *argument) {
    HostTask *task = (HostTask *)argument;
    for (int i = 0; i < count; i++) task->target[i] = task->source[i] * 2;
    hostCalls++;
}

/// A host function between two copies: it reads what came from the device, and what it writes goes back.
static void hostNodes() {
    DeviceArray<float> a(count), b(count);
    std::vector<float> down(count), up(count);
    HostTask task = {down.data(), up.data()};
    cudaGraph_t graph;
    cudaGraphNode_t kernel, copyDown, host, copyUp;
    CHECK(cudaGraphCreate(&graph, 0));
    float *data = a.data, factor = 1, offset = 1;
    int length = count;
    void *arguments[] = {&data, &length, &factor, &offset};
    cudaKernelNodeParams scaling = kernelNode((void *)scale, arguments);
    CHECK(cudaGraphAddKernelNode(&kernel, graph, nullptr, 0, &scaling));
    CHECK(cudaGraphAddMemcpyNode1D(&copyDown, graph, &kernel, 1, down.data(), a.data, count * sizeof(float),
                                   cudaMemcpyDeviceToHost));
    cudaHostNodeParams calling = {doubleOnHost, &task};
    CHECK(cudaGraphAddHostNode(&host, graph, &copyDown, 1, &calling));
    CHECK(cudaGraphAddMemcpyNode1D(&copyUp, graph, &host, 1, b.data, up.data(), count * sizeof(float),
                                   cudaMemcpyHostToDevice));
    cudaGraphExec_t executable;
    CHECK(cudaGraphInstantiate(&executable, graph, 0));
    a.upload(ramp(1, 0));
    cudaStream_t stream;
    CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    for (int round = 1; round <= 3; round++) {
        CHECK(cudaGraphLaunch(executable, stream));
        CHECK(cudaStreamSynchronize(stream));
        EXPECT(hostCalls.load() == round);
        expectEqual(b.download(), ramp(2, 2 * (float)round), "host node");
    }
    // Rows with gaps, both ways.
    std::vector<float> spread(2 * count, -1);
    cudaMemcpy3DParms rows = {};
    rows.srcPtr = make_cudaPitchedPtr(a.data, 10 * sizeof(float), 10, count / 10);
    rows.dstPtr = make_cudaPitchedPtr(spread.data(), 20 * sizeof(float), 10, count / 10);
    rows.extent = make_cudaExtent(10 * sizeof(float), count / 10, 1);
    rows.kind = cudaMemcpyDeviceToHost;
    CHECK(cudaGraphExecMemcpyNodeSetParams(executable, copyDown, &rows));
    CHECK(cudaGraphLaunch(executable, stream));
    CHECK(cudaStreamSynchronize(stream));
    for (int i = 0; i < count; i++) EXPECT(spread[i / 10 * 20 + i % 10] == (float)(i + 4));
    EXPECT(spread[10] == -1);
    CHECK(cudaGraphExecDestroy(executable));
    CHECK(cudaGraphDestroy(graph));
    CHECK(cudaStreamDestroy(stream));
}

/// Memory that a graph allocates: one address for all launches, freed by the graph or by the application.
static void memoryNodes() {
    cudaStream_t stream;
    CHECK(cudaStreamCreate(&stream));
    DeviceArray<float> result(count);
    float *temporary = nullptr, *kept = nullptr;
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    CHECK(cudaMallocAsync((void **)&temporary, count * sizeof(float), stream));
    CHECK(cudaMallocAsync((void **)&kept, count * sizeof(float), stream));
    CHECK(cudaMemsetAsync(temporary, 0, count * sizeof(float), stream));
    scale<<<blocks, threads, 0, stream>>>(temporary, count, 1.0f, 3.0f);
    CHECK(cudaMemcpyAsync(kept, temporary, count * sizeof(float), cudaMemcpyDeviceToDevice, stream));
    CHECK(cudaFreeAsync(temporary, stream));
    cudaGraph_t graph = endCapture(stream), clone;
    cudaGraphExec_t executable, second;
    EXPECT_ERROR(cudaErrorNotSupported, cudaGraphClone(&clone, graph));
    CHECK(cudaGraphInstantiate(&executable, graph, 0));
    EXPECT_ERROR(cudaErrorNotSupported, cudaGraphInstantiate(&second, graph, 0));
    cudaGetLastError();
    CHECK(cudaGraphLaunch(executable, stream));
    // What the last launch allocated has not been freed.
    EXPECT_ERROR(cudaErrorInvalidValue, cudaGraphLaunch(executable, stream));
    cudaGetLastError();
    CHECK(cudaMemcpyAsync(result.data, kept, count * sizeof(float), cudaMemcpyDeviceToDevice, stream));
    CHECK(cudaFreeAsync(kept, stream));
    CHECK(cudaStreamSynchronize(stream));
    expectEqual(result.download(), std::vector<float>(count, 3), "memory node");
    unsigned long long used = 1, high = 0;
    CHECK(cudaDeviceGetGraphMemAttribute(0, cudaGraphMemAttrUsedMemCurrent, &used));
    CHECK(cudaDeviceGetGraphMemAttribute(0, cudaGraphMemAttrUsedMemHigh, &high));
    EXPECT(used == 0 && high >= 2 * count * sizeof(float));
    CHECK(cudaGraphLaunch(executable, stream));
    CHECK(cudaFree(kept));
    CHECK(cudaGraphExecDestroy(executable));
    CHECK(cudaGraphInstantiate(&executable, graph, cudaGraphInstantiateFlagAutoFreeOnLaunch));
    for (int round = 0; round < 3; round++) CHECK(cudaGraphLaunch(executable, stream));
    CHECK(cudaStreamSynchronize(stream));
    CHECK(cudaFree(kept));
    CHECK(cudaGraphExecDestroy(executable));
    CHECK(cudaGraphDestroy(graph));
    CHECK(cudaStreamDestroy(stream));
}

/// Events that nodes record and wait for, from outside the graph too.
static void eventNodes() {
    DeviceArray<float> a(count);
    a.upload(ramp(1, 0));
    cudaEvent_t recorded, measured;
    cudaStream_t stream, other;
    CHECK(cudaEventCreate(&recorded));
    CHECK(cudaEventCreate(&measured));
    CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    CHECK(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking));
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
    CHECK(cudaEventRecordWithFlags(recorded, stream, cudaEventRecordExternal));
    scale<<<blocks, threads, 0, stream>>>(a.data, count, 3.0f, 0.0f);
    CHECK(cudaEventRecordWithFlags(measured, stream, cudaEventRecordExternal));
    cudaGraph_t graph = endCapture(stream);
    EXPECT(nodeCount(graph) == 3);
    cudaGraphExec_t executable;
    CHECK(cudaGraphInstantiate(&executable, graph, 0));
    CHECK(cudaGraphLaunch(executable, stream));
    CHECK(cudaStreamWaitEvent(other, measured, 0));
    scale<<<blocks, threads, 0, other>>>(a.data, count, 1.0f, 1.0f);
    CHECK(cudaStreamSynchronize(other));
    expectEqual(a.download(), ramp(3, 1), "event nodes");
    CHECK(cudaEventSynchronize(measured));
    float milliseconds = -1;
    CHECK(cudaEventElapsedTime(&milliseconds, recorded, measured));
    EXPECT(milliseconds >= 0);
    CHECK(cudaGraphExecDestroy(executable));
    CHECK(cudaGraphDestroy(graph));
    CHECK(cudaEventDestroy(recorded));
    CHECK(cudaEventDestroy(measured));
    CHECK(cudaStreamDestroy(stream));
    CHECK(cudaStreamDestroy(other));
}

/// Ends a capture that something has spoilt.
static void endSpoilt(cudaStream_t stream, cudaError_t error) {
    cudaGraph_t graph = (cudaGraph_t)1;
    EXPECT_ERROR(error, cudaStreamEndCapture(stream, &graph));
    EXPECT(graph == nullptr);
    cudaGetLastError();
}

/// What cannot be captured is an error at once, and the capture ends with one.
static void violations() {
    cudaStream_t blocking, stream, side;
    cudaEvent_t event, outside;
    DeviceArray<float> a(count);
    std::vector<float> host(count);
    cudaGraph_t graph;
    CHECK(cudaStreamCreate(&blocking));
    CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    CHECK(cudaStreamCreateWithFlags(&side, cudaStreamNonBlocking));
    CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    CHECK(cudaEventCreateWithFlags(&outside, cudaEventDisableTiming));

    EXPECT_ERROR(cudaErrorStreamCaptureUnsupported, cudaStreamBeginCapture(0, cudaStreamCaptureModeGlobal));
    EXPECT_ERROR(cudaErrorIllegalState, cudaStreamEndCapture(stream, &graph));
    cudaGetLastError();

    // Waiting for a captured stream, or for its device.
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
    EXPECT_ERROR(cudaErrorIllegalState, cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    EXPECT_ERROR(cudaErrorStreamCaptureUnsupported, cudaStreamSynchronize(stream));
    EXPECT_ERROR(cudaErrorStreamCaptureInvalidated, cudaMemsetAsync(a.data, 0, 4, stream));
    cudaStreamCaptureStatus status;
    CHECK(cudaStreamIsCapturing(stream, &status));
    EXPECT(status == cudaStreamCaptureStatusInvalidated);
    endSpoilt(stream, cudaErrorStreamCaptureInvalidated);
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
    EXPECT_ERROR(cudaErrorStreamCaptureUnsupported, cudaDeviceSynchronize());
    endSpoilt(stream, cudaErrorStreamCaptureInvalidated);

    // The legacy stream, while a stream that waits for it is captured.
    CHECK(cudaStreamBeginCapture(blocking, cudaStreamCaptureModeRelaxed));
    EXPECT_ERROR(cudaErrorStreamCaptureImplicit,
                 cudaMemcpy(a.data, host.data(), count * sizeof(float), cudaMemcpyHostToDevice));
    endSpoilt(blocking, cudaErrorStreamCaptureInvalidated);
    // Streams that do not wait for it leave it free.
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
    CHECK(cudaMemcpy(a.data, host.data(), count * sizeof(float), cudaMemcpyHostToDevice));

    // Events: of work outside, of another capture, and asked for.
    CHECK(cudaEventRecord(outside, side));
    EXPECT_ERROR(cudaErrorStreamCaptureIsolation, cudaStreamWaitEvent(stream, outside, 0));
    endSpoilt(stream, cudaErrorStreamCaptureInvalidated);
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
    CHECK(cudaStreamBeginCapture(side, cudaStreamCaptureModeRelaxed));
    CHECK(cudaEventRecord(event, side));
    EXPECT_ERROR(cudaErrorStreamCaptureMerge, cudaStreamWaitEvent(stream, event, 0));
    endSpoilt(side, cudaErrorStreamCaptureInvalidated);
    endSpoilt(stream, cudaErrorStreamCaptureInvalidated);
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
    CHECK(cudaEventRecord(event, stream));
    EXPECT_ERROR(cudaErrorCapturedEvent, cudaEventQuery(event));
    endSpoilt(stream, cudaErrorStreamCaptureInvalidated);

    // A fork that does not come back, and an end in the wrong place.
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
    CHECK(cudaMemsetAsync(a.data, 0, 4, stream));
    CHECK(cudaEventRecord(event, stream));
    CHECK(cudaStreamWaitEvent(side, event, 0));
    CHECK(cudaMemsetAsync(a.data, 0, 4, side));
    endSpoilt(stream, cudaErrorStreamCaptureUnjoined);
    CHECK(cudaStreamIsCapturing(side, &status));
    EXPECT(status == cudaStreamCaptureStatusNone);
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
    CHECK(cudaEventRecord(event, stream));
    CHECK(cudaStreamWaitEvent(side, event, 0));
    endSpoilt(side, cudaErrorStreamCaptureUnmatched);
    endSpoilt(stream, cudaErrorStreamCaptureInvalidated);

    // Calls that may wait for every stream, by the capture's mode and the thread's.
    void *memory;
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    EXPECT_ERROR(cudaErrorStreamCaptureUnsupported, cudaMalloc(&memory, 4));
    endSpoilt(stream, cudaErrorStreamCaptureInvalidated);
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
    CHECK(cudaThreadExchangeStreamCaptureMode(&mode));
    CHECK(cudaMalloc(&memory, 4));
    CHECK(cudaFree(memory));
    CHECK(cudaThreadExchangeStreamCaptureMode(&mode));
    std::thread([&] {
        cudaGraph_t none;
        EXPECT_ERROR(cudaErrorStreamCaptureWrongThread, cudaStreamEndCapture(stream, &none));
    }).join();
    CHECK(cudaGraphDestroy(endCapture(stream)));
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    std::thread([&] {
        CHECK(cudaMalloc(&memory, 4));
        CHECK(cudaFree(memory));
    }).join();
    CHECK(cudaGraphDestroy(endCapture(stream)));
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    std::thread([&] { EXPECT_ERROR(cudaErrorStreamCaptureUnsupported, cudaMalloc(&memory, 4)); }).join();
    endSpoilt(stream, cudaErrorStreamCaptureInvalidated);

    // All of it has left the streams as they were.
    CHECK(cudaMemsetAsync(a.data, 0, count * sizeof(float), stream));
    CHECK(cudaStreamSynchronize(stream));
    CHECK(cudaDeviceSynchronize());
    CHECK(cudaStreamDestroy(blocking));
    CHECK(cudaStreamDestroy(stream));
    CHECK(cudaStreamDestroy(side));
    CHECK(cudaEventDestroy(event));
    CHECK(cudaEventDestroy(outside));
}

static std::atomic<int> destroyed{0};
static void CUDART_CB countDestroyed(void *) { destroyed++; }

/// Things of the application's that live as long as graphs need them.
static void userObjects() {
    cudaUserObject_t object;
    cudaGraph_t graph;
    cudaGraphExec_t executable;
    cudaGraphNode_t node;
    CHECK(cudaUserObjectCreate(&object, nullptr, countDestroyed, 1, cudaUserObjectNoDestructorSync));
    CHECK(cudaGraphCreate(&graph, 0));
    CHECK(cudaGraphRetainUserObject(graph, object, 1, cudaGraphUserObjectMove));
    CHECK(cudaGraphAddEmptyNode(&node, graph, nullptr, 0));
    CHECK(cudaGraphInstantiate(&executable, graph, 0));
    CHECK(cudaGraphDestroy(graph));
    EXPECT(destroyed == 0);
    CHECK(cudaGraphLaunch(executable, 0));
    CHECK(cudaGraphExecDestroy(executable));
    for (int patience = 0; patience < 5000 && destroyed == 0; patience++)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT(destroyed == 1);
}

int main() {
    captureWithFork();
    explicitNodes();
    hostNodes();
    memoryNodes();
    eventNodes();
    violations();
    userObjects();
    return succeed("graphs");
}
