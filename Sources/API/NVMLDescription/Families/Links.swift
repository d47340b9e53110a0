// SPDX-License-Identifier: Apache-2.0

let linkFunctions: [ManagementFunction] = [
    ManagementFunction("nvmlDeviceGetC2cModeInfoV", .known, [.device, .structure("mode", 4)]),
    ManagementFunction("nvmlDeviceGetCurrPcieLinkGeneration", .asked, [.device, .result("generation")]),
    ManagementFunction("nvmlDeviceGetCurrPcieLinkWidth", .asked, [.device, .result("lanes")]),
    ManagementFunction("nvmlDeviceGetGpuFabricInfo", .asked, [.device, .structure("fabric", 28)]),
    ManagementFunction("nvmlDeviceGetGpuFabricInfoV", .asked, [.device, .versioned("fabric")]),
    ManagementFunction("nvmlDeviceGetGpuFabricInfo_v4", .asked, [.device, .versioned("fabric")]),
    ManagementFunction("nvmlDeviceGetGpuMaxPcieLinkGeneration", .known, [.device, .result("generation")]),
    ManagementFunction("nvmlDeviceGetMaxPcieLinkGeneration", .known, [.device, .result("generation")]),
    ManagementFunction("nvmlDeviceGetMaxPcieLinkWidth", .known, [.device, .result("lanes")]),
    ManagementFunction(
        "nvmlDeviceGetNvLinkCapability", .known, [.device, .value("link"), .value("capability"), .result("value")]),
    ManagementFunction(
        "nvmlDeviceGetNvLinkErrorCounter", .asked, [.device, .value("link"), .value("counter"), .result64("count")]),
    ManagementFunction("nvmlDeviceGetNvLinkInfo", .asked, [.device, .versioned("info")]),
    ManagementFunction("nvmlDeviceGetNvLinkRemoteDeviceType", .known, [.device, .value("link"), .result("type")]),
    ManagementFunction("nvmlDeviceGetNvLinkRemotePciInfo", .absent(.olderForm)),
    ManagementFunction("nvmlDeviceGetNvLinkRemotePciInfo_v2", .asked, [.device, .value("link"), .structure("pci", 68)]),
    ManagementFunction("nvmlDeviceGetNvLinkState", .asked, [.device, .value("link"), .result("isActive")]),
    ManagementFunction("nvmlDeviceGetNvLinkTelemetrySamples_v1", .absent(.later)),
    ManagementFunction(
        "nvmlDeviceGetNvLinkUtilizationControl", .asked,
        [.device, .value("link"), .value("counter"), .structure("control", 8)]),
    ManagementFunction(
        "nvmlDeviceGetNvLinkUtilizationCounter", .asked,
        [.device, .value("link"), .value("counter"), .result64("received"), .result64("sent")]),
    ManagementFunction("nvmlDeviceGetNvLinkVersion", .known, [.device, .value("link"), .result("version")]),
    ManagementFunction("nvmlDeviceGetNvlinkBwMode", .asked, [.device, .versioned("mode")]),
    ManagementFunction("nvmlDeviceGetNvlinkSupportedBwModes", .asked, [.device, .versioned("modes")]),
    ManagementFunction(
        "nvmlDeviceGetP2PStatus", .known,
        [.device("device1"), .device("device2"), .value("capability"), .result("status")]),
    ManagementFunction("nvmlDeviceGetPcieLinkMaxSpeed", .known, [.device, .result("speed")]),
    ManagementFunction("nvmlDeviceGetPcieReplayCounter", .asked, [.device, .result("count")]),
    ManagementFunction("nvmlDeviceGetPcieSpeed", .asked, [.device, .result("speed")]),
    ManagementFunction("nvmlDeviceGetPcieThroughput", .asked, [.device, .value("counter"), .result("kibibytes")]),
    ManagementFunction(
        "nvmlDeviceGetTopologyCommonAncestor", .known, [.device("device1"), .device("device2"), .result("level")]),
    ManagementFunction("nvmlDeviceGetTopologyNearestGpus", .known, [.device, .value("level"), .devices("nearest")]),
]
