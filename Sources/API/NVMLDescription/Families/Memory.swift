// SPDX-License-Identifier: Apache-2.0

let memoryFunctions: [ManagementFunction] = [
    ManagementFunction("nvmlDeviceClearAccountingPids", .refused),
    ManagementFunction("nvmlDeviceGetAccountingBufferSize", .absent(.serverProcesses)),
    ManagementFunction("nvmlDeviceGetAccountingMode", .absent(.serverProcesses)),
    ManagementFunction("nvmlDeviceGetAccountingPids", .absent(.serverProcesses)),
    ManagementFunction("nvmlDeviceGetAccountingStats", .absent(.serverProcesses)),
    ManagementFunction("nvmlDeviceGetAccountingStats_v2", .absent(.serverProcesses)),
    ManagementFunction("nvmlDeviceGetBAR1MemoryInfo", .asked, [.device, .structure("memory", 24)]),
    ManagementFunction("nvmlDeviceGetComputeRunningProcesses", .shim, [.device, .count("count"), .pointer("infos")]),
    ManagementFunction("nvmlDeviceGetComputeRunningProcesses_v2", .sameAs("nvmlDeviceGetComputeRunningProcesses_v3")),
    ManagementFunction("nvmlDeviceGetComputeRunningProcesses_v3", .asked, [.device, .list("infos", 24)]),
    ManagementFunction("nvmlDeviceGetGraphicsRunningProcesses", .shim, [.device, .count("count"), .pointer("infos")]),
    ManagementFunction("nvmlDeviceGetGraphicsRunningProcesses_v2", .sameAs("nvmlDeviceGetGraphicsRunningProcesses")),
    ManagementFunction("nvmlDeviceGetGraphicsRunningProcesses_v3", .sameAs("nvmlDeviceGetGraphicsRunningProcesses")),
    ManagementFunction("nvmlDeviceGetMPSComputeRunningProcesses", .sameAs("nvmlDeviceGetGraphicsRunningProcesses")),
    ManagementFunction("nvmlDeviceGetMPSComputeRunningProcesses_v2", .sameAs("nvmlDeviceGetGraphicsRunningProcesses")),
    ManagementFunction("nvmlDeviceGetMPSComputeRunningProcesses_v3", .sameAs("nvmlDeviceGetGraphicsRunningProcesses")),
    ManagementFunction("nvmlDeviceGetMemoryInfo", .shim, [.device, .pointer("memory")]),
    ManagementFunction("nvmlDeviceGetMemoryInfo_v2", .asked, [.device, .versioned("memory")]),
    ManagementFunction("nvmlDeviceGetMemoryLimits_v1", .absent(.serverProcesses)),
    ManagementFunction(
        "nvmlDeviceGetProcessUtilization", .asked, [.device, .counted("samples", 32), .value64("since")]),
    ManagementFunction("nvmlDeviceGetProcessesUtilizationInfo", .shim, [.device, .pointer("info")]),
    ManagementFunction("nvmlDeviceGetRunningProcessDetailList", .shim, [.device, .pointer("list")]),
    ManagementFunction("nvmlDeviceSetAccountingMode", .refused),
]
