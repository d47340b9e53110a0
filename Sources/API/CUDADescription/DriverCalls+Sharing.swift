// SPDX-License-Identifier: Apache-2.0

/// Values in memory that streams write and wait for.
let streamMemoryCalls: [DriverCall] = [
    DriverCall(
        "cuStreamBatchMemOp_v2", .posts,
        .byHand(
            declaration:
                "func cuStreamBatchMemOp_v2(_ context: ContextHandle, stream: StreamHandle, "
                + "operations: [StreamMemoryOperation]) throws(CUDAError)"),
        "Enqueues writes of values and waits for them, in this order."),
    DriverCall(
        "cuStreamSetAttribute", .posts, .hostByHand,
        [.used("hStream", .stream), .value("attr", .uint32), .readBlock("value")],
        "Sets an attribute of a stream (a CUstreamAttrID), given as the bytes of its CUstreamAttrValue."),
    DriverCall(
        "cuFlushGPUDirectRDMAWrites", .waits, [.value("target", .uint32), .value("scope", .uint32)],
        "Makes what other devices have written to the context's memory visible."),
]

/// Memory and events that the processes of an allocation share.
let interprocessCalls: [DriverCall] = [
    DriverCall(
        "cuIpcGetMemHandle", .waits, .hostByHand,
        [.result("handle", .shareableHandle), .value("dptr", .devicePointer)],
        "A handle by which another process opens an allocation, which begins at `dptr`."),
    DriverCall(
        "cuIpcOpenMemHandle_v2", .waits, .hostByHand,
        [
            .result("dptr", .devicePointer), .result("bytesize", .size), .value("handle", .shareableHandle),
            .value("flags", .uint32),
        ],
        "Opens another process's memory and tells its size; the same handle again gives the same address."),
    DriverCall(
        "cuIpcCloseMemHandle", .waits, [.value("dptr", .devicePointer)],
        "Closes another process's memory, when it has been closed as often as opened."),
    DriverCall(
        "cuIpcGetEventHandle", .waits, .hostByHand,
        [.result("handle", .shareableHandle), .used("hEvent", .event)],
        "A handle by which another process opens an event, which was made for that."),
    DriverCall(
        "cuIpcOpenEventHandle", .waits, .hostByHand,
        [.made("phEvent", .event), .value("handle", .shareableHandle)], "Opens another process's event."),
]

/// Addresses and the memory behind them, managed apart from each other.
let virtualMemoryCalls: [DriverCall] = [
    DriverCall(
        "cuMemAddressReserve", .waits, inContext: false,
        [
            .result("ptr", .devicePointer), .value("size", .size), .value("alignment", .size),
            .value("addr", .devicePointer), .value("flags", .uint64),
        ],
        "Reserves addresses, at `addr` if they are free there and it is not 0."),
    DriverCall(
        "cuMemAddressFree", .waits, inContext: false, [.value("ptr", .devicePointer), .value("size", .size)],
        "Gives reserved addresses back, in which nothing is mapped."),
    DriverCall(
        "cuMemCreate", .waits, inContext: false, .hostByHand,
        [
            .made("handle", .physicalMemory), .value("size", .size), .value("device", .int32),
            .value("handleTypes", .uint32), .value("allocFlags", .uint64),
        ],
        "Allocates memory of a device without an address; `allocFlags` are the bytes of CUmemAllocationFlags."),
    DriverCall(
        "cuMemRelease", .waits, inContext: false, .hostByHand, [.ended("handle", .physicalMemory)],
        "Gives up memory; it goes when it is mapped nowhere."),
    DriverCall(
        "cuMemMap", .waits, inContext: false,
        [
            .value("ptr", .devicePointer), .value("size", .size), .value("offset", .size),
            .used("handle", .physicalMemory), .value("flags", .uint64),
        ],
        "Puts memory behind reserved addresses, without access."),
    DriverCall(
        "cuMemUnmap", .waits, inContext: false, [.value("ptr", .devicePointer), .value("size", .size)],
        "Takes the memory behind addresses away: whole mappings."),
    DriverCall(
        "cuMemSetAccess", .waits, inContext: false, .hostByHand,
        [
            .value("ptr", .devicePointer), .value("size", .size), .value("device", .int32),
            .value("flags", .uint32),
        ],
        "Says what a device may do (CUmemAccess_flags) with mapped addresses."),
    DriverCall(
        "cuMemGetAllocationGranularity", .waits, inContext: false, .hostByHand,
        [
            .result("granularity", .size), .value("device", .int32), .value("handleTypes", .uint32),
            .value("allocFlags", .uint64), .value("option", .uint32),
        ],
        "The bytes of which sizes and addresses of such memory are multiples."),
    DriverCall(
        "cuMemExportToShareableHandle", .waits, inContext: false, .hostByHand,
        [.result("shareableHandle", .shareableHandle), .used("handle", .physicalMemory)],
        "A handle by which another process imports the memory, which was made for that."),
    DriverCall(
        "cuMemImportFromShareableHandle", .waits, inContext: false, .hostByHand,
        [.made("handle", .physicalMemory), .value("shareableHandle", .shareableHandle)],
        "Imports another process's memory."),
]

/// Pools whose memory other processes use.
let sharedPoolCalls: [DriverCall] = [
    DriverCall(
        "cuMemPoolExportToShareableHandle", .waits, inContext: false, .hostByHand,
        [.result("handle", .shareableHandle), .used("pool", .pool)],
        "A handle by which another process imports a pool, which was made for that."),
    DriverCall(
        "cuMemPoolImportFromShareableHandle", .waits, inContext: false, .hostByHand,
        [.made("pool", .pool), .value("handle", .shareableHandle)],
        "Imports another process's pool: nothing can be allocated from it, and it is not exported again."),
    DriverCall(
        "cuMemPoolExportPointer", .waits, .hostByHand,
        [.result("shareData", .shareableHandle), .value("ptr", .devicePointer)],
        "What another process that has imported the pool needs to open an allocation of it."),
    DriverCall(
        "cuMemPoolImportPointer", .waits, .hostByHand,
        [
            .result("ptr", .devicePointer), .result("bytesize", .size), .used("pool", .pool),
            .value("shareData", .shareableHandle),
        ],
        "Opens an allocation of an imported pool and tells its size; it is freed as memory of this process is."),
]

/// Memory of several devices behind one address, which reads and writes reach at once.
let multicastCalls: [DriverCall] = [
    DriverCall(
        "cuMulticastCreate", .waits, inContext: false, .hostByHand,
        [
            .made("mcHandle", .physicalMemory), .value("numDevices", .uint32), .value("size", .size),
            .value("handleTypes", .uint64), .value("flags", .uint64),
        ],
        "Makes an object for that, which is mapped, exported and released as memory is."),
    DriverCall(
        "cuMulticastAddDevice", .waits, inContext: false, [.used("mcHandle", .physicalMemory), .value("dev", .int32)],
        "Adds a device; memory is bound when all are there."),
    DriverCall(
        "cuMulticastBindMem", .waits, inContext: false,
        [
            .used("mcHandle", .physicalMemory), .value("mcOffset", .size), .used("memHandle", .physicalMemory),
            .value("memOffset", .size), .value("size", .size), .value("flags", .uint64),
        ],
        "Binds memory of a device to its part of the object."),
    DriverCall(
        "cuMulticastBindMem_v2", .waits, inContext: false,
        [
            .used("mcHandle", .physicalMemory), .value("dev", .int32), .value("mcOffset", .size),
            .used("memHandle", .physicalMemory), .value("memOffset", .size), .value("size", .size),
            .value("flags", .uint64),
        ],
        "Binds memory to a device's part of the object."),
    DriverCall(
        "cuMulticastBindAddr", .waits, inContext: false,
        [
            .used("mcHandle", .physicalMemory), .value("mcOffset", .size), .value("memptr", .devicePointer),
            .value("size", .size), .value("flags", .uint64),
        ],
        "Binds the memory behind an address to its device's part of the object."),
    DriverCall(
        "cuMulticastBindAddr_v2", .waits, inContext: false,
        [
            .used("mcHandle", .physicalMemory), .value("dev", .int32), .value("mcOffset", .size),
            .value("memptr", .devicePointer), .value("size", .size), .value("flags", .uint64),
        ],
        "Binds the memory behind an address to a device's part of the object."),
    DriverCall(
        "cuMulticastUnbind", .waits, inContext: false,
        [
            .used("mcHandle", .physicalMemory), .value("dev", .int32), .value("mcOffset", .size),
            .value("size", .size),
        ],
        "Takes the memory of a device out of the object."),
    DriverCall(
        "cuMulticastGetGranularity", .waits, inContext: false, .hostByHand,
        [
            .result("granularity", .size), .value("numDevices", .uint32), .value("size", .size),
            .value("handleTypes", .uint64), .value("flags", .uint64), .value("option", .uint32),
        ],
        "The bytes of which sizes and offsets in such an object are multiples."),
]
