// SPDX-License-Identifier: Apache-2.0
import Health
import Pool

/// What is checked on servers only, and the versions of everything.
extension Case {
    // MARK: HC-05, HC-07, HC-11, HC-19

    static let state: [Case] = [
        Case("compute_mode", .pass, "GPU 0: Default", .server()),
        Case("compute_mode", .marginal, "only one program", .server()) { $0.gpu { $0.computeMode = .value(3) } },
        Case("compute_mode", .fatal, "no program may compute", .server()) { $0.gpu { $0.computeMode = .value(2) } },
        Case("compute_mode", .skipped, "no compute modes", .server()) { $0.gpu { $0.computeMode = .code(3) } },
        Case("compute_mode", .missing, "NVML error 2", .server()) { $0.gpu { $0.computeMode = .code(2) } },
        // One bad GPU of several is what counts, and what is named.
        Case("compute_mode", .fatal, "GPU 0: no program", .server(gpus: 3)) { $0.gpu { $0.computeMode = .value(2) } },

        Case("ecc", .pass, "none uncorrected", .server()),
        Case("ecc", .marginal, "ECC is off", .server()) { $0.gpu { $0.hasECC = .value(false) } },
        Case("ecc", .marginal, "2 rows are remapped", .server()) {
            $0.gpu { $0.remappedRows = .value(.init(corrected: 1, uncorrected: 1, isPending: false, hasFailed: false)) }
        },
        Case("ecc", .marginal, "a row waits", .server()) {
            $0.gpu { $0.remappedRows = .value(.init(corrected: 0, uncorrected: 0, isPending: true, hasFailed: false)) }
        },
        Case("ecc", .marginal, "a page waits", .server()) { $0.gpu { $0.isRetirementPending = .value(true) } },
        Case("ecc", .marginal, "3 more corrected errors", .server()) {
            $0.sources.history = FixtureHistory(["ecc.GPU-0": ["corrected": 4]])
        },
        Case("ecc", .fatal, "1 uncorrected", .server()) { $0.gpu { $0.uncorrectedErrors = .value(1) } },
        Case("ecc", .fatal, "could not be remapped", .server()) {
            $0.gpu { $0.remappedRows = .value(.init(corrected: 0, uncorrected: 0, isPending: false, hasFailed: true)) }
        },
        Case("ecc", .skipped, "does not correct errors", .server()) { $0.gpu { $0.hasECC = .code(3) } },
        Case("ecc", .missing, "uncorrected errors: NVML error 2", .server()) {
            $0.gpu { $0.uncorrectedErrors = .code(2) }
        },
        Case("ecc", .missing, "does not answer", .server()) {
            $0.sources.management = .failure(SourceFailure("the library does not answer"))
        },

        Case("temperature", .pass, "89 C", .server()) { $0.gpu { $0.celsius = .value(89) } },
        Case("temperature", .marginal, "90 C", .server()) { $0.gpu { $0.celsius = .value(90) } },
        Case("temperature", .marginal, "78 C, slows down at 83 C", .server()) {
            $0.gpu {
                $0.celsius = .value(78)
                $0.slowdownCelsius = .value(83)
            }
        },
        Case("temperature", .fatal, "100 C", .server()) {
            $0.gpu {
                $0.celsius = .value(100)
                $0.slowdownCelsius = .code(3)
            }
        },
        Case("temperature", .fatal, "83 C", .server()) {
            $0.gpu {
                $0.celsius = .value(83)
                $0.slowdownCelsius = .value(83)
            }
        },
        Case("temperature", .skipped, "no thermometer", .server()) { $0.gpu { $0.celsius = .code(3) } },
        Case("temperature", .missing, "the GPU is lost", .server()) { $0.gpu { $0.celsius = .code(15) } },

        Case("nvidia_stats", .pass, "3 % busy", .server()),
        Case("nvidia_stats", .pass, "3 % busy", .server()) {
            // A worker, and what it has started.
            $0.gpu { $0.processes = .value([50, 51]) }
            $0.files.texts["/proc/50/stat"] = "50 (a (b) c) S \(Node.daemon) 50 50"
            $0.files.texts["/proc/51/stat"] = "51 (worker) S 50 50 50"
        },
        Case("nvidia_stats", .marginal, "processes of others use it: 60", .server()) {
            $0.gpu { $0.processes = .value([60]) }
            $0.files.texts["/proc/60/stat"] = "60 (python) S 1 60 60"
        },
        Case("nvidia_stats", .marginal, "do not add up", .server()) {
            $0.gpu { $0.memory = .value(.init(total: 40 << 30, reserved: 0, free: 38 << 30, used: 1 << 30)) }
        },
        Case("nvidia_stats", .marginal, "power cap", .server()) { $0.gpu { $0.clockReasons = .value(0x4) } },
        Case("nvidia_stats", .marginal, "persistence", .server()) { $0.gpu { $0.isPersistent = .value(false) } },
        Case("nvidia_stats", .pass, "busy", .server(software: true)) { $0.gpu { $0.isPersistent = .value(false) } },
        Case("nvidia_stats", .fatal, "hardware slows", .server()) { $0.gpu { $0.clockReasons = .value(0x8 | 0x4) } },
        Case("nvidia_stats", .fatal, "lost", .server()) { $0.gpu { $0.memory = .code(15) } },
        Case("nvidia_stats", .missing, "utilisation: NVML error 2", .server()) {
            $0.gpu { $0.utilizationPercent = .code(2) }
        },
    ]

    // MARK: HC-09, HC-10, HC-20, HC-21, HC-25

    static let bus: [Case] = [
        Case("pci_nvml", .pass, "2 of 2", .server(gpus: 2)),
        Case("pci_nvml", .marginal, "0000:40:00.0 is bound to vfio-pci", .server()) {
            $0.addDevice("0000:40:00.0", driver: "vfio-pci")
        },
        Case("pci_nvml", .fatal, "0000:40:00.0", .server()) { $0.addDevice("0000:40:00.0") },
        Case("pci_nvml", .fatal, "not loaded", .server()) { $0.fails(code: 9, "the driver is not loaded") },
        Case("pci_nvml", .fatal, "a GPU is lost", .server()) { $0.gpu { $0.celsius = .code(15) } },
        // A sound device of a GPU, and a GPU of somebody else.
        Case("pci_nvml", .pass, "1 of 1", .server()) {
            $0.addDevice("0000:40:00.1", driver: "snd_hda_intel")
            $0.files.texts["/sys/bus/pci/devices/0000:40:00.1/class"] = "0x040300\n"
            $0.addDevice("0000:41:00.0", driver: "amdgpu")
            $0.files.texts["/sys/bus/pci/devices/0000:41:00.0/vendor"] = "0x1002\n"
        },
        Case("pci_nvml", .skipped, "not on a bus", .server(software: true)),
        Case("pci_nvml", .missing, "/sys/bus/pci/devices", .server()) {
            $0.files.texts = $0.files.texts.filter { !$0.key.hasPrefix("/sys/bus") }
            $0.files.binaries = [:]
            $0.files.links = [:]
        },

        Case("pci_p2p", .pass, "all 3 pairs", .server(gpus: 3)),
        Case("pci_p2p", .marginal, "GPUs 0 and 1 do not reach", .server(gpus: 2)) {
            $0.readings { $0.pairs[0].read = .value(1) }
        },
        Case("pci_p2p", .fatal, "GPUs 0 and 1 do not reach", .server(gpus: 2)) {
            $0.readings {
                $0.pairs[0].write = .value(4)
                $0.pairs[0].ancestor = .value(10)
            }
        },
        Case("pci_p2p", .marginal, "do not reach", .server(gpus: 2)) {
            $0.readings {
                $0.pairs[0].write = .value(2)
                $0.pairs[0].ancestor = .value(10)
                $0.gpus[0].name = "NVIDIA GeForce RTX 4090"
            }
        },
        Case("pci_p2p", .fatal, "fails to tell", .server(gpus: 2)) { $0.readings { $0.pairs[0].read = .code(999) } },
        Case("pci_p2p", .skipped, "only one GPU", .server()),
        Case("pci_p2p", .skipped, "not on a bus", .server(gpus: 2, software: true)),
        Case("pci_p2p", .missing, "tells nothing of pairs", .server(gpus: 2)) { $0.readings { $0.pairs = [] } },

        Case("nvidia_topo", .pass, "one NUMA node", .server()),
        Case("nvidia_topo", .pass, "on the GPUs' NUMA node", twoNodes(network: 0)),
        Case("nvidia_topo", .marginal, "eth0 is on NUMA node 1, the GPUs on 0", twoNodes(network: 1)),
        Case("nvidia_topo", .marginal, "may not run on the CPUs near GPU 0", .server()) {
            $0.files.texts["/proc/\(Node.daemon)/status"] = "Cpus_allowed_list:\t8-15\n"
        },
        Case("nvidia_topo", .fatal, "has no CPUs", .server()) {
            $0.files.texts["/sys/bus/pci/devices/0000:30:00.0/local_cpulist"] = "\n"
        },
        Case("nvidia_topo", .skipped, "not on a bus", .server(software: true)),
        Case("nvidia_topo", .missing, "local_cpulist", .server()) {
            $0.files.texts["/sys/bus/pci/devices/0000:30:00.0/local_cpulist"] = nil
        },

        Case("pci_width", .pass, "x16 of x16", .server()),
        Case("pci_width", .marginal, "x8 of x16", .server()) { $0.gpu { $0.linkWidth = .value(8) } },
        Case("pci_width", .marginal, "2 packets were sent again", .server()) {
            $0.sources.history = FixtureHistory(["pcie.GPU-0": ["replays": 0]])
        },
        Case("pci_width", .fatal, "x4 of x16", .server()) { $0.gpu { $0.linkWidth = .value(4) } },
        Case("pci_width", .skipped, "no PCIe link", .server()) { $0.gpu { $0.linkWidth = .code(3) } },
        Case("pci_width", .missing, "NVML error 2", .server()) { $0.gpu { $0.linkWidth = .code(2) } },

        Case("pciinfo", .pass, "assigned, enabled, no errors", .server()),
        Case("pciinfo", .marginal, "4 more correctable errors", .server()) {
            $0.sources.history = FixtureHistory(["aer.GPU-0": ["correctable": 1]])
        },
        Case("pciinfo", .marginal, "its window is 0.2 GiB", .server()) {
            $0.files.texts[device + "resource"] = """
                0x00000000a0000000 0x00000000a0ffffff 0x0000000000040200
                0x0000010000000000 0x000001000fffffff 0x000000000014220c
                """
            $0.files.texts[device + "resource1_resize"] = "000000000003ffc0"
        },
        Case("pciinfo", .marginal, "sleeps (D3cold)", .server()) { $0.files.texts[device + "power_state"] = "D3cold" },
        Case("pciinfo", .fatal, "region 1 is not assigned", .server()) {
            $0.files.texts[device + "resource"] = """
                0x00000000a0000000 0x00000000a0ffffff 0x0000000000040200
                0x0000000000000000 0x0000000000000000 0x0000000000000000
                """
        },
        Case("pciinfo", .fatal, "disabled", .server()) { $0.files.texts[device + "enable"] = "0" },
        Case("pciinfo", .fatal, "not a bus master", .server()) { $0.files.binaries[device + "config"]?[4] = 0x03 },
        Case("pciinfo", .fatal, "2 nonfatal errors", .server()) {
            $0.files.texts[device + "aer_dev_nonfatal"] = "TOTAL_ERR_NONFATAL 2\n"
        },
        Case("pciinfo", .skipped, "not on a bus", .server(software: true)),
        Case("pciinfo", .missing, "config", .server()) { $0.files.binaries[device + "config"] = nil },
    ]

    private static let device = "/sys/bus/pci/devices/0000:30:00.0/"

    private static func twoNodes(network: Int) -> Node {
        var node = Node.server()
        node.files.texts["/sys/devices/system/node/node1/cpulist"] = "8-15"
        node.files.texts["/sys/class/net/eth0/device/numa_node"] = "\(network)"
        return node
    }

    // MARK: HC-08, HC-24, HC-27, HC-28, HC-29

    static let software: [Case] = [
        Case("gpu_api", .pass, "the same 2 GPUs", .server(gpus: 2)),
        Case("gpu_api", .marginal, "MIG", .server()) { $0.gpu { $0.isDivided = .value(true) } },
        Case("gpu_api", .fatal, "kernel module is 535.1", .server()) {
            $0.files.texts["/sys/module/nvidia/version"] = "535.1"
        },
        Case("gpu_api", .pass, "the same", .server(software: true)) {
            $0.files.texts["/sys/module/nvidia/version"] = nil
        },
        Case("gpu_api", .fatal, "another version than the kernel module", .server()) { $0.fails(code: 18) },
        Case("gpu_api", .fatal, "CUDA has 2 GPUs, NVML 1", .server(gpus: 2)) { $0.readings { $0.gpus.removeLast() } },
        Case("gpu_api", .fatal, "CUDA has 1 GPUs, NVML 1", .server()) { $0.gpu { $0.pciBusID = "00000000:99:00.0" } },
        Case("gpu_api", .fatal, "driver does not start", .server()) {
            $0.sources.inventory = .failure(SourceFailure("it hangs"))
        },
        Case("gpu_api", .missing, "cannot be opened", .server()) { $0.fails(code: nil, "cannot be opened") },
        Case("gpu_api", .pass, "data connections of version 1.0", .client(.answering())),
        Case("gpu_api", .marginal, "version 1.7, here 1.0", .client(.answering { $0.wireVersion = "1.7" })),
        Case("gpu_api", .marginal, "does not tell the protocol", .client(.answering { $0.wireVersion = nil })),
        Case("gpu_api", .fatal, "version 2.0, here 1.0", .client(.answering { $0.wireVersion = "2.0" })),
        Case("gpu_api", .fatal, "it speaks version 9", .client(.answering { $0.protocolVersion = 9 })),
        Case("gpu_api", .missing, "no server has told", .client(.silent())),

        Case("install", .pass, "2 files are as installed", .server()),
        Case("install", .pass, "2 files are as installed", .client(.answering())),
        Case("install", .marginal, "not as installed: bin/bitfusion", .client()) {
            $0.files.texts["/opt/bin/bitfusion"]? += "x"
        },
        Case("install", .marginal, "not as installed: bin/bitfusion", .client()) {
            $0.files.modes["/opt/bin/bitfusion"] = 0o777
        },
        Case("install", .marginal, "the group bitfusion does not exist", .client()) {
            $0.files.texts["/etc/group"] = "root:x:0:\n"
        },
        Case("install", .marginal, "has version 9.9.9", .client(.answering { $0.release = "9.9.9" })),
        Case("install", .fatal, "missing: share/a file", .client()) { $0.files.texts["/opt/share/a file"] = nil },
        Case("install", .fatal, "the daemon does not run", .server()) { $0.sources.daemon = nil },
        Case("install", .fatal, "line 3", .client()) {
            $0.sources.installation.configurationProblem = "servers.conf line 3"
        },
        Case("install", .missing, "/opt/share/bitfusion/manifest.d", .client()) {
            $0.files.texts["/opt/share/bitfusion/manifest.d/client"] = nil
        },

        Case("cuda_version", .pass, "CUDA 12.4", .server()),
        Case("cuda_version", .pass, "CUDA 11.8", cuda(11_080)),
        Case("cuda_version", .pass, "CUDA 13.5", cuda(13_050)),
        Case("cuda_version", .marginal, "newer", cuda(13_060)),
        Case("cuda_version", .fatal, "too old", cuda(11_070)),
        Case("cuda_version", .missing, "no driver was asked", .server()) {
            $0.sources.inventory = .failure(SourceFailure("no driver was asked"))
        },
        Case("cuda_version", .pass, "CUDA 12.4", .client(.answering(), .answering("b"))),
        Case(
            "cuda_version", .marginal, "the servers differ",
            .client(.answering(), .answering("b") { $0.cudaVersion = 12_080 })),
        Case("cuda_version", .fatal, "too old", .client(.answering(), .answering("b") { $0.cudaVersion = 11_020 })),
        Case("cuda_version", .missing, "no server has told", .client(.silent())),

        Case("libdep", .pass, "libcuda.so.1 is there", .client()),
        Case("libdep", .pass, "libcuda.so.1 is there", .server()),
        Case("libdep", .marginal, "libibverbs.so.1: gone", libraries(optional: "gone")),
        Case("libdep", .fatal, "libcuda.so.1: gone", libraries(required: "gone")),
        Case("libdep", .missing, "the libraries hang", .client()) {
            $0.sources.libraries = .failure(SourceFailure("the libraries hang"))
        },

        Case("driver_version", .pass, "550.54.14, with the open", .server()),
        Case("driver_version", .pass, "520.61.05", driver("520.61.05")),
        Case("driver_version", .marginal, "newer than what is tested", driver("581.01")),
        Case("driver_version", .fatal, "too old", driver("515.105.01")),
        Case("driver_version", .fatal, "is not loaded", .server()) { $0.fails(code: 9) },
        Case("driver_version", .skipped, "no NVIDIA driver", .server(software: true)),
        Case("driver_version", .missing, "/proc/driver/nvidia/version", .server()) {
            $0.files.texts["/proc/driver/nvidia/version"] = nil
        },
    ]

    private static func cuda(_ version: Int) -> Node {
        var node = Node.server()
        node.sources.inventory = .success(Inventory(driverVersion: version, gpus: []))
        return node
    }

    private static func driver(_ version: String) -> Node {
        var node = Node.server()
        node.readings { $0.driverVersion = .value(version) }
        return node
    }

    private static func libraries(required: String? = nil, optional: String? = nil) -> Node {
        var node = Node.client()
        node.sources.libraries = .success([
            LibraryReading(name: "libcuda.so.1", isRequired: true, problem: required),
            LibraryReading(name: "libibverbs.so.1", isRequired: false, problem: optional),
        ])
        return node
    }
}
