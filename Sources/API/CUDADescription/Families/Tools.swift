// SPDX-License-Identifier: Apache-2.0

let toolsFunctions: [Function] = [
    Function("cuCheckpointOperationComplete", 13040, absent: .checkpoints),
    Function("cuCheckpointProcessCheckpoint", 12080, absent: .checkpoints),
    Function("cuCheckpointProcessGetRestoreThreadId", 12080, absent: .checkpoints),
    Function("cuCheckpointProcessGetState", 12080, absent: .checkpoints),
    Function("cuCheckpointProcessLock", 12080, absent: .checkpoints),
    Function("cuCheckpointProcessRestore", 12080, absent: .checkpoints),
    Function("cuCheckpointProcessUnlock", 12080, absent: .checkpoints),
    Function("cuCoredumpDeregisterCompleteCallback", 13020, "CUcoredumpCallbackHandle callback", needsInit: false),
    Function("cuCoredumpDeregisterStartCallback", 13020, "CUcoredumpCallbackHandle callback", needsInit: false),
    Function("cuCoredumpGetAttribute", 12010, "CUcoredumpSettings attrib, void *value, size_t *size"),
    Function(
        "cuCoredumpGetAttributeGlobal", 12010,
        "CUcoredumpSettings attrib, void *value, size_t *size", needsInit: false),
    Function(
        "cuCoredumpRegisterCompleteCallback", 13020,
        "CUcoredumpStatusCallback callback, void *userData, CUcoredumpCallbackHandle *callbackOut", needsInit: false),
    Function(
        "cuCoredumpRegisterStartCallback", 13020,
        "CUcoredumpStatusCallback callback, void *userData, CUcoredumpCallbackHandle *callbackOut", needsInit: false),
    Function("cuCoredumpSetAttribute", 12010, "CUcoredumpSettings attrib, void *value, size_t *size"),
    Function(
        "cuCoredumpSetAttributeGlobal", 12010,
        "CUcoredumpSettings attrib, void *value, size_t *size", needsInit: false),
    Function("cuLogsCurrent", 12090, "CUlogIterator *iterator_out, unsigned int flags", needsInit: false),
    Function(
        "cuLogsDumpToFile", 12090,
        "CUlogIterator *iterator, const char *pathToFile, unsigned int flags", needsInit: false),
    Function(
        "cuLogsDumpToMemory", 12090,
        "CUlogIterator *iterator, char *buffer, size_t *size, unsigned int flags", needsInit: false),
    Function(
        "cuLogsRegisterCallback", 12090,
        "CUlogsCallback callbackFunc, void *userData, CUlogsCallbackHandle *callback_out", needsInit: false),
    Function("cuLogsUnregisterCallback", 12090, "CUlogsCallbackHandle callback", needsInit: false),
    Function("cuProfilerInitialize", 4000, absent: .profiler),
    Function("cuProfilerStart", 4000, ""),
    Function("cuProfilerStop", 4000, ""),
]
