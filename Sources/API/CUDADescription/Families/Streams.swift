// SPDX-License-Identifier: Apache-2.0

let streamsFunctions: [Function] = [
    Function(
        "cuStreamAddCallback", 5000,
        "CUstream hStream, CUstreamCallback callback, void *userData, unsigned int flags", perThread: .ptsz(7000)),
    Function(
        "cuStreamAttachMemAsync", 6000, "CUstream hStream, CUdeviceptr dptr, size_t length, unsigned int flags",
        perThread: .ptsz(7000)),
    Function(
        "cuStreamBatchMemOp", 8000,
        "CUstream stream, unsigned int count, CUstreamBatchMemOpParams *paramArray, unsigned int flags",
        perThread: .ptsz(8000)),
    Function(
        "cuStreamBatchMemOp_v2", 11070,
        "CUstream stream, unsigned int count, CUstreamBatchMemOpParams *paramArray, unsigned int flags",
        perThread: .ptsz(11070)),
    Function("cuStreamBeginCapture", 10000, "CUstream hStream", perThread: .ptsz(10000)),
    Function("cuStreamBeginCaptureToCig", 13010, absent: .graphics, perThread: .ptsz(13010)),
    Function(
        "cuStreamBeginCaptureToGraph", 12030,
        "CUstream hStream, CUgraph hGraph, const CUgraphNode *dependencies, const CUgraphEdgeData *dependencyData, size_t numDependencies, CUstreamCaptureMode mode",
        perThread: .ptsz(12030)),
    Function("cuStreamBeginCapture_v2", 10010, "CUstream hStream, CUstreamCaptureMode mode", perThread: .ptsz(10010)),
    Function("cuStreamBeginRecaptureToGraph", 13030, absent: .recapture, perThread: .ptsz(13030)),
    Function("cuStreamCopyAttributes", 11000, "CUstream dst, CUstream src", perThread: .ptsz(11000)),
    Function("cuStreamCreate", 2000, "CUstream *phStream, unsigned int Flags"),
    Function("cuStreamCreateWithPriority", 5050, "CUstream *phStream, unsigned int flags, int priority"),
    Function("cuStreamDestroy", 2000, sameAs: "cuStreamDestroy_v2"),
    Function("cuStreamDestroy_v2", 4000, "CUstream hStream"),
    Function("cuStreamEndCapture", 10000, "CUstream hStream, CUgraph *phGraph", perThread: .ptsz(10000)),
    Function("cuStreamEndCaptureToCig", 13010, absent: .graphics, perThread: .ptsz(13010)),
    Function(
        "cuStreamGetAttribute", 11000,
        "CUstream hStream, CUstreamAttrID attr, CUstreamAttrValue *value_out", perThread: .ptsz(11000)),
    Function(
        "cuStreamGetCaptureInfo", 10010,
        "CUstream hStream, CUstreamCaptureStatus *captureStatus_out, cuuint64_t *id_out", perThread: .ptsz(10010)),
    Function(
        "cuStreamGetCaptureInfo_v2", 11030,
        "CUstream hStream, CUstreamCaptureStatus *captureStatus_out, cuuint64_t *id_out, CUgraph *graph_out, const CUgraphNode **dependencies_out, size_t *numDependencies_out",
        perThread: .ptsz(11030)),
    Function(
        "cuStreamGetCaptureInfo_v3", 12030,
        "CUstream hStream, CUstreamCaptureStatus *captureStatus_out, cuuint64_t *id_out, CUgraph *graph_out, const CUgraphNode **dependencies_out, const CUgraphEdgeData **edgeData_out, size_t *numDependencies_out",
        perThread: .ptsz(12030)),
    Function("cuStreamGetCtx", 9020, "CUstream hStream, CUcontext *pctx", perThread: .ptsz(9020)),
    Function(
        "cuStreamGetCtx_v2", 12050,
        "CUstream hStream, CUcontext *pCtx, CUgreenCtx *pGreenCtx", perThread: .ptsz(12050)),
    Function(
        "cuStreamGetDevResource", 13010, "CUstream hStream, CUdevResource *resource, CUdevResourceType type",
        perThread: .ptsz(13010)),
    Function("cuStreamGetDevice", 12080, "CUstream hStream, CUdevice *device", perThread: .ptsz(12080)),
    Function("cuStreamGetFlags", 5050, "CUstream hStream, unsigned int *flags", perThread: .ptsz(7000)),
    Function("cuStreamGetGreenCtx", 12040, "CUstream hStream, CUgreenCtx *phCtx"),
    Function("cuStreamGetId", 12000, "CUstream hStream, unsigned long long *streamId", perThread: .ptsz(12000)),
    Function("cuStreamGetPriority", 5050, "CUstream hStream, int *priority", perThread: .ptsz(7000)),
    Function(
        "cuStreamIsCapturing", 10000,
        "CUstream hStream, CUstreamCaptureStatus *captureStatus", perThread: .ptsz(10000)),
    Function("cuStreamQuery", 2000, "CUstream hStream", perThread: .ptsz(7000)),
    Function(
        "cuStreamSetAttribute", 11000,
        "CUstream hStream, CUstreamAttrID attr, const CUstreamAttrValue *value", perThread: .ptsz(11000)),
    Function("cuStreamSynchronize", 2000, "CUstream hStream", perThread: .ptsz(7000)),
    Function(
        "cuStreamUpdateCaptureDependencies", 11030,
        "CUstream hStream, CUgraphNode *dependencies, size_t numDependencies, unsigned int flags",
        perThread: .ptsz(11030)),
    Function(
        "cuStreamUpdateCaptureDependencies_v2", 12030,
        "CUstream hStream, CUgraphNode *dependencies, const CUgraphEdgeData *dependencyData, size_t numDependencies, unsigned int flags",
        perThread: .ptsz(12030)),
    Function(
        "cuStreamWaitEvent", 3020,
        "CUstream hStream, CUevent hEvent, unsigned int Flags", perThread: .ptsz(7000)),
    Function(
        "cuStreamWaitValue32", 8000,
        "CUstream stream, CUdeviceptr addr, cuuint32_t value, unsigned int flags", perThread: .ptsz(8000)),
    Function(
        "cuStreamWaitValue32_v2", 11070,
        "CUstream stream, CUdeviceptr addr, cuuint32_t value, unsigned int flags", perThread: .ptsz(11070)),
    Function(
        "cuStreamWaitValue64", 9000,
        "CUstream stream, CUdeviceptr addr, cuuint64_t value, unsigned int flags", perThread: .ptsz(9000)),
    Function(
        "cuStreamWaitValue64_v2", 11070,
        "CUstream stream, CUdeviceptr addr, cuuint64_t value, unsigned int flags", perThread: .ptsz(11070)),
    Function(
        "cuStreamWriteValue32", 8000,
        "CUstream stream, CUdeviceptr addr, cuuint32_t value, unsigned int flags", perThread: .ptsz(8000)),
    Function(
        "cuStreamWriteValue32_v2", 11070,
        "CUstream stream, CUdeviceptr addr, cuuint32_t value, unsigned int flags", perThread: .ptsz(11070)),
    Function(
        "cuStreamWriteValue64", 9000,
        "CUstream stream, CUdeviceptr addr, cuuint64_t value, unsigned int flags", perThread: .ptsz(9000)),
    Function(
        "cuStreamWriteValue64_v2", 11070,
        "CUstream stream, CUdeviceptr addr, cuuint64_t value, unsigned int flags", perThread: .ptsz(11070)),
    Function("cuThreadExchangeStreamCaptureMode", 10010, "CUstreamCaptureMode *mode"),
]
