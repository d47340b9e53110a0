// SPDX-License-Identifier: Apache-2.0

let powerFunctions: [ManagementFunction] = [
    ManagementFunction("nvmlDeviceGetAdaptiveClockInfoStatus", .asked, [.device, .result("status")]),
    ManagementFunction("nvmlDeviceGetAdaptiveTgpModeInfo_v1", .absent(.later)),
    ManagementFunction("nvmlDeviceGetApplicationsClock", .asked, [.device, .value("clock"), .result("megahertz")]),
    ManagementFunction(
        "nvmlDeviceGetAutoBoostedClocksEnabled", .asked, [.device, .result("isEnabled"), .result("isDefault")]),
    ManagementFunction("nvmlDeviceGetClkMonStatus", .asked, [.device, .structure("status", 264)]),
    ManagementFunction("nvmlDeviceGetClock", .asked, [.device, .value("clock"), .value("which"), .result("megahertz")]),
    ManagementFunction("nvmlDeviceGetClockInfo", .asked, [.device, .value("clock"), .result("megahertz")]),
    ManagementFunction("nvmlDeviceGetClockOffsets", .asked, [.device, .versioned("offsets")]),
    ManagementFunction("nvmlDeviceGetCurrentClockFreqs", .asked, [.device, .versioned("frequencies")]),
    ManagementFunction("nvmlDeviceGetCurrentClocksEventReasons", .asked, [.device, .result64("reasons")]),
    ManagementFunction("nvmlDeviceGetCurrentClocksThrottleReasons", .asked, [.device, .result64("reasons")]),
    ManagementFunction(
        "nvmlDeviceGetDefaultApplicationsClock", .known, [.device, .value("clock"), .result("megahertz")]),
    ManagementFunction("nvmlDeviceGetEnforcedPowerLimit", .asked, [.device, .result("milliwatts")]),
    ManagementFunction("nvmlDeviceGetGpcClkMinMaxVfOffset", .asked, [.device, .result("least"), .result("greatest")]),
    ManagementFunction("nvmlDeviceGetGpcClkVfOffset", .asked, [.device, .result("offset")]),
    ManagementFunction("nvmlDeviceGetMaxClockInfo", .known, [.device, .value("clock"), .result("megahertz")]),
    ManagementFunction("nvmlDeviceGetMaxCustomerBoostClock", .known, [.device, .value("clock"), .result("megahertz")]),
    ManagementFunction("nvmlDeviceGetMemClkMinMaxVfOffset", .asked, [.device, .result("least"), .result("greatest")]),
    ManagementFunction("nvmlDeviceGetMemClkVfOffset", .asked, [.device, .result("offset")]),
    ManagementFunction(
        "nvmlDeviceGetMinMaxClockOfPState", .known,
        [.device, .value("clock"), .value("state"), .result("least"), .result("greatest")]),
    ManagementFunction("nvmlDeviceGetPowerManagementDefaultLimit", .known, [.device, .result("milliwatts")]),
    ManagementFunction("nvmlDeviceGetPowerManagementLimit", .asked, [.device, .result("milliwatts")]),
    ManagementFunction(
        "nvmlDeviceGetPowerManagementLimitConstraints", .known, [.device, .result("least"), .result("greatest")]),
    ManagementFunction("nvmlDeviceGetPowerManagementMode", .asked, [.device, .result("mode")]),
    ManagementFunction("nvmlDeviceGetPowerMizerMode_v1", .asked, [.device, .exchanged("mode", 12)]),
    ManagementFunction("nvmlDeviceGetPowerSource", .asked, [.device, .result("source")]),
    ManagementFunction("nvmlDeviceGetPowerState", .asked, [.device, .result("state")]),
    ManagementFunction("nvmlDeviceGetPowerUsage", .asked, [.device, .result("milliwatts")]),
    ManagementFunction("nvmlDeviceGetSupportedClocksEventReasons", .known, [.device, .result64("reasons")]),
    ManagementFunction("nvmlDeviceGetSupportedClocksThrottleReasons", .known, [.device, .result64("reasons")]),
    ManagementFunction(
        "nvmlDeviceGetSupportedGraphicsClocks", .asked, [.device, .value("memoryMegahertz"), .list("megahertz", 4)]),
    ManagementFunction("nvmlDeviceGetSupportedMemoryClocks", .asked, [.device, .list("megahertz", 4)]),
    ManagementFunction("nvmlDeviceGetTotalEnergyConsumption", .asked, [.device, .result64("millijoules")]),
    ManagementFunction("nvmlDeviceGetViolationStatus", .asked, [.device, .value("policy"), .structure("time", 16)]),
    ManagementFunction("nvmlDeviceWorkloadPowerProfileGetCurrentProfiles", .asked, [.device, .versioned("profiles")]),
    ManagementFunction("nvmlDeviceWorkloadPowerProfileGetProfilesInfo", .asked, [.device, .versioned("profiles")]),
]
