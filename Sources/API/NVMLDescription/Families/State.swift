// SPDX-License-Identifier: Apache-2.0

let stateFunctions: [ManagementFunction] = [
    ManagementFunction("nvmlDeviceGetAPIRestriction", .asked, [.device, .value("kind"), .result("isRestricted")]),
    ManagementFunction("nvmlDeviceGetBBXTimeData_v1", .asked, [.device, .structure("time", 4)]),
    ManagementFunction("nvmlDeviceGetComputeMode", .asked, [.device, .result("mode")]),
    ManagementFunction(
        "nvmlDeviceGetConfComputeGpuAttestationReport", .asked, [.device, .exchanged("report", 12332)]),
    ManagementFunction("nvmlDeviceGetConfComputeGpuCertificate", .asked, [.device, .structure("certificate", 9224)]),
    ManagementFunction("nvmlDeviceGetConfComputeMemSizeInfo", .absent(.confidential)),
    ManagementFunction("nvmlDeviceGetConfComputeProtectedMemoryUsage", .absent(.confidential)),
    ManagementFunction("nvmlDeviceGetCoolerInfo", .asked, [.device, .versioned("cooler")]),
    ManagementFunction(
        "nvmlDeviceGetDecoderUtilization", .asked, [.device, .result("percent"), .result("microseconds")]),
    ManagementFunction("nvmlDeviceGetDisplayActive", .asked, [.device, .result("isActive")]),
    ManagementFunction("nvmlDeviceGetDisplayMode", .asked, [.device, .result("mode")]),
    ManagementFunction(
        "nvmlDeviceGetDramEncryptionMode", .asked, [.device, .versioned("current"), .versioned("pending")]),
    ManagementFunction("nvmlDeviceGetDriverModel", .asked, [.device, .result("current"), .result("pending")]),
    ManagementFunction("nvmlDeviceGetDriverModel_v2", .asked, [.device, .result("current"), .result("pending")]),
    ManagementFunction("nvmlDeviceGetDynamicPstatesInfo", .asked, [.device, .structure("states", 132)]),
    ManagementFunction("nvmlDeviceGetEncoderCapacity", .asked, [.device, .value("kind"), .result("percent")]),
    ManagementFunction("nvmlDeviceGetEncoderSessions", .absent(.serverProcesses)),
    ManagementFunction(
        "nvmlDeviceGetEncoderStats", .asked,
        [.device, .result("sessions"), .result("framesPerSecond"), .result("latency")]),
    ManagementFunction(
        "nvmlDeviceGetEncoderUtilization", .asked, [.device, .result("percent"), .result("microseconds")]),
    ManagementFunction("nvmlDeviceGetFBCSessions", .absent(.serverProcesses)),
    ManagementFunction("nvmlDeviceGetFBCStats", .asked, [.device, .structure("statistics", 12)]),
    ManagementFunction("nvmlDeviceGetFanControlPolicy_v2", .asked, [.device, .value("fan"), .result("policy")]),
    ManagementFunction("nvmlDeviceGetFanSpeed", .asked, [.device, .result("percent")]),
    ManagementFunction("nvmlDeviceGetFanSpeedRPM", .asked, [.device, .versioned("speed")]),
    ManagementFunction("nvmlDeviceGetFanSpeed_v2", .asked, [.device, .value("fan"), .result("percent")]),
    ManagementFunction("nvmlDeviceGetGpuOperationMode", .asked, [.device, .result("current"), .result("pending")]),
    ManagementFunction("nvmlDeviceGetJpgUtilization", .asked, [.device, .result("percent"), .result("microseconds")]),
    ManagementFunction("nvmlDeviceGetLastBBXFlushTime", .asked, [.device, .result64("time"), .result64("duration")]),
    ManagementFunction("nvmlDeviceGetMarginTemperature", .asked, [.device, .versioned("margin")]),
    ManagementFunction("nvmlDeviceGetMinMaxFanSpeed", .known, [.device, .result("least"), .result("greatest")]),
    ManagementFunction("nvmlDeviceGetNumFans", .known, [.device, .result("count")]),
    ManagementFunction("nvmlDeviceGetOfaUtilization", .asked, [.device, .result("percent"), .result("microseconds")]),
    ManagementFunction("nvmlDeviceGetPerformanceModes", .asked, [.device, .versioned("modes")]),
    ManagementFunction("nvmlDeviceGetPerformanceState", .asked, [.device, .result("state")]),
    ManagementFunction("nvmlDeviceGetPersistenceMode", .asked, [.device, .result("mode")]),
    ManagementFunction("nvmlDeviceGetSupportedPerformanceStates", .known, [.device, .block("states")]),
    ManagementFunction("nvmlDeviceGetTargetFanSpeed", .asked, [.device, .value("fan"), .result("percent")]),
    ManagementFunction("nvmlDeviceGetTemperature", .asked, [.device, .value("sensor"), .result("degrees")]),
    ManagementFunction(
        "nvmlDeviceGetTemperatureThreshold", .asked, [.device, .value("threshold"), .result("degrees")]),
    ManagementFunction("nvmlDeviceGetTemperatureV", .asked, [.device, .versioned("temperature")]),
    ManagementFunction(
        "nvmlDeviceGetThermalSettings", .asked, [.device, .value("sensor"), .structure("settings", 64)]),
    ManagementFunction("nvmlDeviceGetUtilizationRates", .asked, [.device, .structure("rates", 8)]),
    ManagementFunction("nvmlDeviceValidateInforom", .asked, [.device]),
]
