// SPDX-License-Identifier: Apache-2.0

let errorFunctions: [ManagementFunction] = [
    ManagementFunction("nvmlDeviceGetBankRemapperStatus_v1", .asked, [.device, .structure("status", 20)]),
    ManagementFunction("nvmlDeviceGetDefaultEccMode", .known, [.device, .result("mode")]),
    ManagementFunction(
        "nvmlDeviceGetDetailedEccErrors", .asked,
        [.device, .value("kind"), .value("counter"), .structure("counts", 32)]),
    ManagementFunction("nvmlDeviceGetEccMode", .asked, [.device, .result("current"), .result("pending")]),
    ManagementFunction(
        "nvmlDeviceGetMemoryErrorCounter", .asked,
        [.device, .value("kind"), .value("counter"), .value("location"), .result64("count")]),
    ManagementFunction(
        "nvmlDeviceGetRemappedRows", .asked,
        [.device, .result("corrected"), .result("uncorrected"), .result("isPending"), .result("hasFailed")]),
    ManagementFunction("nvmlDeviceGetRemappedRows_v2", .absent(.later)),
    ManagementFunction("nvmlDeviceGetRepairStatus", .asked, [.device, .versioned("status")]),
    ManagementFunction("nvmlDeviceGetRetiredPages", .asked, [.device, .value("cause"), .list("addresses", 8)]),
    ManagementFunction("nvmlDeviceGetRetiredPagesPendingStatus", .asked, [.device, .result("isPending")]),
    ManagementFunction("nvmlDeviceGetRetiredPages_v2", .asked, [.device, .value("cause"), .list("pages", 8, 8)]),
    ManagementFunction("nvmlDeviceGetRowRemapperHistogram", .asked, [.device, .structure("values", 20)]),
    ManagementFunction("nvmlDeviceGetSramEccErrorStatus", .asked, [.device, .versioned("status")]),
    ManagementFunction("nvmlDeviceGetSramUniqueUncorrectedEccErrorCounts", .absent(.later)),
    ManagementFunction(
        "nvmlDeviceGetTotalEccErrors", .asked, [.device, .value("kind"), .value("counter"), .result64("count")]),
    ManagementFunction("nvmlDeviceGetUnrepairableMemoryFlag_v1", .asked, [.device, .versioned("flag")]),
]
