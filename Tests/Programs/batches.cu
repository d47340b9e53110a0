// SPDX-License-Identifier: Apache-2.0
// Copies, prefetches and discards in batches; copies of arrays and values of streams as nodes of graphs.
#include "driver.h"

__global__ void fill(unsigned *values, unsigned count, const unsigned *first) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) values[i] = *first + i;
}

static const size_t count = 1000, bytes = count * sizeof(unsigned);

static std::vector<unsigned> ramp(unsigned first, size_t length = count) {
    std::vector<unsigned> values(length);
    for (size_t i = 0; i < length; i++) values[i] = first + (unsigned)i;
    return values;
}

/// Between host, pinned host and device, each part with its own attributes.
static void ranges(cudaStream_t stream) {
    std::vector<unsigned> first = ramp(1), second = ramp(5000), found(count);
    unsigned *pinned;
    CHECK(cudaMallocHost((void **)&pinned, bytes));
    DeviceArray<unsigned> a(count), b(count), c(second);
    CUdeviceptr targets[] = {(CUdeviceptr)a.data, (CUdeviceptr)b.data, (CUdeviceptr)pinned};
    CUdeviceptr sources[] = {(CUdeviceptr)first.data(), (CUdeviceptr)second.data(), (CUdeviceptr)c.data};
    size_t sizes[] = {bytes, bytes, bytes}, indices[] = {0, 2};
    CUmemcpyAttributes attributes[2] = {};
    attributes[0].srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_DURING_API_CALL;
    attributes[1].srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM;
    attributes[1].flags = CU_MEMCPY_FLAG_PREFER_OVERLAP_WITH_COMPUTE;
    OK(cuMemcpyBatchAsync, targets, sources, sizes, 3, attributes, indices, 2, stream);
    // The sources were to be read during the call.
    std::fill(first.begin(), first.end(), 0);
    std::fill(second.begin(), second.end(), 0);
    CHECK(cudaStreamSynchronize(stream));
    expectEqual(a.download(), ramp(1), "a");
    expectEqual(b.download(), ramp(5000), "b");
    expectEqual(std::vector<unsigned>(pinned, pinned + count), ramp(5000), "pinned");

    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemcpyBatchAsync, targets, sources, sizes, 3, attributes, indices, 2, nullptr);
    indices[1] = 3;
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemcpyBatchAsync, targets, sources, sizes, 3, attributes, indices, 2, stream);
    indices[1] = 2;
    attributes[1].srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_INVALID;
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemcpyBatchAsync, targets, sources, sizes, 3, attributes, indices, 2, stream);
    OK(cuMemcpyWithAttributesAsync, targets[0], sources[2], bytes, attributes, stream);
    expectEqual(a.download(), ramp(5000), "a again");

    // The runtime's own function, captured: the copies become nodes.
    cudaMemcpyAttributes each = {};
    each.srcAccessOrder = cudaMemcpySrcAccessOrderStream;
    void *to[] = {b.data, a.data};
    const void *from[] = {c.data, c.data + 1};
    size_t lengths[] = {bytes, bytes - 4}, index = 0;
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    CHECK(cudaMemcpyBatchAsync(to, from, lengths, 2, &each, &index, 1, stream));
    cudaGraph_t graph;
    cudaGraphExec_t executable;
    CHECK(cudaStreamEndCapture(stream, &graph));
    CHECK(cudaGraphInstantiate(&executable, graph, 0));
    CHECK(cudaGraphLaunch(executable, stream));
    CHECK(cudaStreamSynchronize(stream));
    expectEqual(b.download(), ramp(5000), "b of the graph");
    std::vector<unsigned> shifted = a.download();
    EXPECT(shifted[0] == 5001 && shifted[count - 2] == 5000 + count - 1);
    CHECK(cudaGraphExecDestroy(executable));
    CHECK(cudaGraphDestroy(graph));
    CHECK(cudaFreeHost(pinned));
}

/// Boxes of elements: host to array, array to array, array to host; the same as a graph.
static void boxes(cudaStream_t stream) {
    const size_t width = 16, height = 8;
    CUDA_ARRAY3D_DESCRIPTOR description = {};
    description.Width = width;
    description.Height = height;
    description.Format = CU_AD_FORMAT_UNSIGNED_INT32;
    description.NumChannels = 1;
    CUarray one, two;
    OK(cuArray3DCreate, &one, &description);
    OK(cuArray3DCreate, &two, &description);
    std::vector<unsigned> host = ramp(100, width * height), found(width * height);
    auto pointer = [&](void *memory, size_t row) {
        CUmemcpy3DOperand operand = {};
        operand.type = CU_MEMCPY_OPERAND_TYPE_POINTER;
        operand.op.ptr.ptr = (CUdeviceptr)memory;
        operand.op.ptr.rowLength = row;
        return operand;
    };
    auto array = [&](CUarray array, size_t x, size_t y) {
        CUmemcpy3DOperand operand = {};
        operand.type = CU_MEMCPY_OPERAND_TYPE_ARRAY;
        operand.op.array.array = array;
        operand.op.array.offset = {x, y, 0};
        return operand;
    };
    auto copy = [&](CUmemcpy3DOperand target, CUmemcpy3DOperand source, size_t columns, size_t rows) {
        CUDA_MEMCPY3D_BATCH_OP operation = {};
        operation.dst = target;
        operation.src = source;
        operation.extent = {columns, rows, 1};
        operation.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_ANY;
        return operation;
    };
    // The right half of the host's rows becomes the left half of the array, and back.
    auto operation = copy(array(one, 0, 0), pointer(&host[8], width), 8, height);
    OK(cuMemcpy3DBatchAsync, 1, &operation, 0, stream);
    operation = copy(array(two, 8, 1), array(one, 0, 0), 8, height - 1);
    OK(cuMemcpy3DWithAttributesAsync, &operation, 0, stream);
    operation = copy(pointer(found.data(), 0), array(two, 8, 1), 8, height - 1);
    OK(cuMemcpy3DBatchAsync, 1, &operation, 0, stream);
    CHECK(cudaStreamSynchronize(stream));
    for (size_t row = 0; row + 1 < height; row++)
        for (size_t column = 0; column < 8; column++)
            EXPECT(found[row * 8 + column] == host[row * width + 8 + column]);
    operation.extent.width = 9;
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemcpy3DBatchAsync, 1, &operation, 0, stream);
    operation.extent = {8, 1, 1};
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemcpy3DBatchAsync, 1, &operation, 1, stream);

    // As nodes of a graph, which the device performs by itself.
    DeviceArray<unsigned> source(ramp(7, width)), target(width);
    CUgraph graph;
    CUgraphNode in, out;
    CUgraphExec executable;
    CUDA_MEMCPY3D row = {};
    row.srcMemoryType = CU_MEMORYTYPE_DEVICE;
    row.srcDevice = (CUdeviceptr)source.data;
    row.dstMemoryType = CU_MEMORYTYPE_ARRAY;
    row.dstArray = one;
    row.dstY = 3;
    row.WidthInBytes = width * sizeof(unsigned);
    row.Height = row.Depth = 1;
    CUcontext context;
    OK(cuCtxGetCurrent, &context);
    OK(cuGraphCreate, &graph, 0);
    OK(cuGraphAddMemcpyNode, &in, graph, nullptr, 0, &row, context);
    CUDA_MEMCPY3D back = {};
    back.srcMemoryType = CU_MEMORYTYPE_ARRAY;
    back.srcArray = one;
    back.srcY = 3;
    back.dstMemoryType = CU_MEMORYTYPE_DEVICE;
    back.dstDevice = (CUdeviceptr)target.data;
    back.WidthInBytes = width * sizeof(unsigned);
    back.Height = back.Depth = 1;
    OK(cuGraphAddMemcpyNode, &out, graph, &in, 1, &back, context);
    CUDA_MEMCPY3D told = {};
    OK(cuGraphMemcpyNodeGetParams, out, &told);
    EXPECT(told.srcMemoryType == CU_MEMORYTYPE_ARRAY && told.srcArray == one && told.srcY == 3);
    OK(cuGraphInstantiateWithFlags, &executable, graph, 0);
    OK(cuGraphLaunch, executable, stream);
    CHECK(cudaStreamSynchronize(stream));
    expectEqual(target.download(), ramp(7, width), "through an array");
    OK(cuGraphExecDestroy, executable);
    OK(cuGraphDestroy, graph);

    // Captured: bytes in a row, from the host and to it.
    std::vector<unsigned> given = ramp(900, width), taken(width);
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    OK(cuMemcpyHtoAAsync, two, 0, given.data(), width * sizeof(unsigned), stream);
    OK(cuMemcpyAtoHAsync, taken.data(), two, 0, width * sizeof(unsigned), stream);
    OK(cuStreamEndCapture, stream, &graph);
    OK(cuGraphInstantiateWithFlags, &executable, graph, 0);
    OK(cuGraphLaunch, executable, stream);
    CHECK(cudaStreamSynchronize(stream));
    expectEqual(taken, given, "captured copies of an array");
    OK(cuGraphExecDestroy, executable);
    OK(cuGraphDestroy, graph);
    OK(cuArrayDestroy, one);
    OK(cuArrayDestroy, two);
}

/// A kernel reads what a node before it has written; another value from launch to launch.
static void values(cudaStream_t stream) {
    DeviceArray<unsigned> array(count), first(1);
    CUcontext context;
    OK(cuCtxGetCurrent, &context);
    CUgraph graph;
    CUgraphNode node;
    CUgraphExec executable;
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    OK(cuStreamWriteValue32, stream, (CUdeviceptr)first.data, 11, 0);
    fill<<<8, 128, 0, stream>>>(array.data, count, first.data);
    CHECK(cudaGetLastError());
    OK(cuStreamEndCapture, stream, &graph);
    size_t roots = 1;
    OK(cuGraphGetRootNodes, graph, &node, &roots);
    CUgraphNodeType type;
    OK(cuGraphNodeGetType, node, &type);
    EXPECT(type == CU_GRAPH_NODE_TYPE_BATCH_MEM_OP);
    OK(cuGraphInstantiateWithFlags, &executable, graph, 0);
    OK(cuGraphLaunch, executable, stream);
    CHECK(cudaStreamSynchronize(stream));
    expectEqual(array.download(), ramp(11), "with the captured value");
    CUstreamBatchMemOpParams write = {};
    write.writeValue.operation = CU_STREAM_MEM_OP_WRITE_VALUE_32;
    write.writeValue.address = (CUdeviceptr)first.data;
    write.writeValue.value = 77;
    CUDA_BATCH_MEM_OP_NODE_PARAMS parameters = {context, 1, &write, 0};
    OK(cuGraphExecBatchMemOpNodeSetParams, executable, node, &parameters);
    OK(cuGraphLaunch, executable, stream);
    CHECK(cudaStreamSynchronize(stream));
    expectEqual(array.download(), ramp(77), "with another value");
    OK(cuGraphBatchMemOpNodeGetParams, node, &parameters);
    EXPECT(parameters.count == 1 && parameters.paramArray[0].writeValue.value == 11);
    OK(cuGraphExecDestroy, executable);
    OK(cuGraphDestroy, graph);
}

/// Managed memory whose contents move, and are given up, in batches.
static void managed(cudaStream_t stream) {
    unsigned *memory[2], *first;
    for (unsigned *&part : memory) CHECK(cudaMallocManaged((void **)&part, 1 << 20));
    CHECK(cudaMallocManaged((void **)&first, sizeof(unsigned)));
    *first = 40;
    for (size_t i = 0; i < count; i++) memory[0][i] = memory[1][i] = 1;
    CUdeviceptr ranges[] = {(CUdeviceptr)memory[0], (CUdeviceptr)memory[1]};
    size_t sizes[] = {1 << 20, 1 << 20}, indices[] = {0, 1};
    CUmemLocation places[] = {{CU_MEM_LOCATION_TYPE_DEVICE, {0}}, {CU_MEM_LOCATION_TYPE_HOST, {0}}};
    OK(cuMemPrefetchBatchAsync, ranges, sizes, 2, places, indices, 2, 0, stream);
    fill<<<8, 128, 0, stream>>>(memory[0], count, first);
    OK(cuMemDiscardBatchAsync, ranges + 1, sizes, 1, 0, stream);
    fill<<<8, 128, 0, stream>>>(memory[1], count, first);
    CHECK(cudaStreamSynchronize(stream));
    CUmemLocation found = {};
    OK(cuMemGetLocationInfo, ranges[0], 4096, 4096, 0, &found);
    EXPECT(found.type == CU_MEM_LOCATION_TYPE_DEVICE && found.id == 0);
    expectEqual(std::vector<unsigned>(memory[0], memory[0] + count), ramp(40), "prefetched");
    expectEqual(std::vector<unsigned>(memory[1], memory[1] + count), ramp(40), "discarded and written");
    // What the host writes after a discard is what the device sees.
    OK(cuMemDiscardAndPrefetchBatchAsync, ranges, sizes, 2, places, indices, 1, 0, stream);
    CHECK(cudaStreamSynchronize(stream));
    for (size_t i = 0; i < count; i++) memory[0][i] = 3;
    DeviceArray<unsigned> copy(count);
    CHECK(cudaMemcpyAsync(copy.data, memory[0], bytes, cudaMemcpyDefault, stream));
    CHECK(cudaStreamSynchronize(stream));
    expectEqual(copy.download(), std::vector<unsigned>(count, 3), "written after a discard");
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemDiscardBatchAsync, ranges, sizes, 2, 1, stream);
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemDiscardBatchAsync, ranges, sizes, 2, 0, nullptr);
    FAILS(CUDA_ERROR_INVALID_VALUE, cuMemGetLocationInfo, (CUdeviceptr)copy.data, bytes, bytes, 0, &found);
    for (unsigned *part : memory) CHECK(cudaFree(part));
    CHECK(cudaFree(first));
}

/// What is refused, and what the device says of it.
static void refusals(cudaStream_t stream) {
    const CUdevice_attribute absent[] = {
        CU_DEVICE_ATTRIBUTE_MEM_DECOMPRESS_ALGORITHM_MASK, CU_DEVICE_ATTRIBUTE_SPARSE_CUDA_ARRAY_SUPPORTED,
        CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_FABRIC_SUPPORTED, CU_DEVICE_ATTRIBUTE_DMA_BUF_SUPPORTED,
    };
    for (CUdevice_attribute name : absent) {
        int value = -1;
        OK(cuDeviceGetAttribute, &value, name, 0);
        EXPECT(value == 0);
    }
    size_t failed = 0;
    CUmemDecompressParams decompression = {};
    FAILS(CUDA_ERROR_NOT_SUPPORTED, cuMemBatchDecompressAsync, &decompression, 1, 0, &failed, stream);
    CUarrayMapInfo mapping = {};
    FAILS(CUDA_ERROR_NOT_SUPPORTED, cuMemMapArrayAsync, &mapping, 1, stream);
    CUmemLocation device = {CU_MEM_LOCATION_TYPE_DEVICE, {0}};
    CUmemoryPool pool, known;
    OK(cuMemGetDefaultMemPool, &pool, &device, CU_MEM_ALLOCATION_TYPE_PINNED);
    OK(cuMemGetMemPool, &known, &device, CU_MEM_ALLOCATION_TYPE_PINNED);
    EXPECT(pool == known);
    OK(cuMemSetMemPool, &device, CU_MEM_ALLOCATION_TYPE_PINNED, pool);
}

int main() {
    CHECK(cudaSetDevice(0));
    cudaStream_t stream;
    CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    ranges(stream);
    boxes(stream);
    values(stream);
    managed(stream);
    refusals(stream);
    CHECK(cudaStreamDestroy(stream));
    return succeed("batches");
}
