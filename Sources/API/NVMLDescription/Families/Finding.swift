// SPDX-License-Identifier: Apache-2.0

let findingFunctions: [ManagementFunction] = [
    ManagementFunction("nvmlDeviceDiscoverGpus", .refused),
    ManagementFunction("nvmlDeviceGetCount", .sameAs("nvmlDeviceGetCount_v2")),
    ManagementFunction("nvmlDeviceGetCount_v2", .known, [.result("count")]),
    ManagementFunction("nvmlDeviceGetHandleByIndex", .sameAs("nvmlDeviceGetHandleByIndex_v2")),
    ManagementFunction("nvmlDeviceGetHandleByIndex_v2", .shim, [.value("index"), .pointer("device")]),
    ManagementFunction("nvmlDeviceGetHandleByPciBusId", .sameAs("nvmlDeviceGetHandleByPciBusId_v2")),
    ManagementFunction("nvmlDeviceGetHandleByPciBusId_v2", .known, [.text("busId"), .madeDevice("device")]),
    ManagementFunction("nvmlDeviceGetHandleBySerial", .known, [.text("serial"), .madeDevice("device")]),
    ManagementFunction("nvmlDeviceGetHandleByUUID", .known, [.text("uuid"), .madeDevice("device")]),
    ManagementFunction("nvmlDeviceGetHandleByUUIDV", .known, [.versioned("uuid"), .madeDevice("device")]),
    ManagementFunction("nvmlDeviceGetIndex", .shim, [.device, .pointer("index")]),
    ManagementFunction("nvmlDeviceModifyDrainState", .refused),
    ManagementFunction("nvmlDeviceQueryDrainState", .refused),
    ManagementFunction("nvmlDeviceRemoveGpu", .refused),
    ManagementFunction("nvmlDeviceRemoveGpu_v2", .refused),
    ManagementFunction("nvmlGetBlacklistDeviceCount", .sameAs("nvmlGetExcludedDeviceCount")),
    ManagementFunction("nvmlGetBlacklistDeviceInfoByIndex", .sameAs("nvmlGetExcludedDeviceInfoByIndex")),
    ManagementFunction("nvmlGetExcludedDeviceCount", .shim, [.pointer("count")]),
    ManagementFunction("nvmlGetExcludedDeviceInfoByIndex", .shim, [.value("index"), .pointer("info")]),
]
