// SPDX-License-Identifier: Apache-2.0

/// What a server measures of itself, in the answer to `status`.
package struct ServerStatus: Sendable, Codable, Equatable {
    package var hostname: String
    /// The product's version.
    package var version: String
    /// The NVIDIA driver's version as its management library says it, such as `535.309.01`; nil without that library.
    package var driver: String?
    /// Whether the server accepts no new requests.
    package var isDraining: Bool
    package var gpus: [GPUStatus]
    package var tasks: [TaskStatus]
    package var networks: [Network]

    package init(
        hostname: String, version: String, driver: String?, isDraining: Bool, gpus: [GPUStatus], tasks: [TaskStatus],
        networks: [Network]
    ) {
        self.hostname = hostname
        self.version = version
        self.driver = driver
        self.isDraining = isDraining
        self.gpus = gpus
        self.tasks = tasks
        self.networks = networks
    }

    enum CodingKeys: String, CodingKey {
        case hostname, version, driver, gpus, tasks, networks
        case isDraining = "is_draining"
    }
}

/// The state of one GPU.
///
/// What its management library does not tell is nil.
package struct GPUStatus: Sendable, Codable, Equatable {
    package var index: Int
    package var name: String
    package var uuid: String
    /// As NVML writes it: `00000000:13:00.0`.
    package var pciBusID: String
    /// Memory of the device, and what is in use on it.
    package var totalMiB: Int
    package var usedMiB: Int?
    /// Memory that the scheduler has given away.
    package var allocatedMiB: Int
    package var isPersistent: Bool?
    package var fanPercent: Int?
    package var temperatureCelsius: Int?
    /// 0 for P0.
    package var performanceState: Int?
    package var powerMilliwatts: Int?
    package var powerLimitMilliwatts: Int?
    package var utilizationPercent: Int?
    /// Volatile uncorrected ECC errors; nil where ECC is off or absent.
    package var uncorrectedErrors: Int?
    /// `Default`, `Exclusive_Process` or `Prohibited`, as nvidia-smi writes it.
    package var computeMode: String?

    package init(_ gpu: GPU, allocatedMiB: Int) {
        index = gpu.index
        name = gpu.name
        uuid = gpu.uuid
        pciBusID = gpu.pciBusID
        totalMiB = gpu.totalMiB
        self.allocatedMiB = allocatedMiB
    }

    enum CodingKeys: String, CodingKey {
        case index, name, uuid
        case pciBusID = "pci_bus_id"
        case totalMiB = "total_mib"
        case usedMiB = "used_mib"
        case allocatedMiB = "allocated_mib"
        case isPersistent = "is_persistent"
        case fanPercent = "fan_percent"
        case temperatureCelsius = "temperature_celsius"
        case performanceState = "performance_state"
        case powerMilliwatts = "power_milliwatts"
        case powerLimitMilliwatts = "power_limit_milliwatts"
        case utilizationPercent = "utilization_percent"
        case uncorrectedErrors = "uncorrected_errors"
        case computeMode = "compute_mode"
    }
}

/// One allocation that is running.
package struct TaskStatus: Sendable, Codable, Equatable {
    package var allocation: Int
    /// As the client describes itself: `user application`.
    package var client: String
    /// The address that it came from.
    package var address: String
    /// The indices of its GPUs.
    package var gpus: [Int]
    /// MiB on each of them; nil for all.
    package var mebibytes: Int?
    package var runningSeconds: Int

    package init(
        allocation: Int, client: String, address: String, gpus: [Int], mebibytes: Int?, runningSeconds: Int
    ) {
        self.allocation = allocation
        self.client = client
        self.address = address
        self.gpus = gpus
        self.mebibytes = mebibytes
        self.runningSeconds = runningSeconds
    }

    enum CodingKeys: String, CodingKey {
        case allocation, client, address, gpus
        case mebibytes = "mib"
        case runningSeconds = "running_seconds"
    }
}

/// One network interface of a server that has an address.
package struct Network: Sendable, Codable, Equatable {
    /// `net1` for the first, in the system's order.
    package var name: String
    /// As the system calls it.
    package var interface: String
    package var address: String
    /// Bits of the address that all hosts of the network share.
    package var prefixLength: Int
    /// Since the interface came up.
    package var receivedBytes: UInt64?
    package var sentBytes: UInt64?

    package init(name: String, interface: String, address: String, prefixLength: Int) {
        self.name = name
        self.interface = interface
        self.address = address
        self.prefixLength = prefixLength
    }

    enum CodingKeys: String, CodingKey {
        case name, interface, address
        case prefixLength = "prefix_length"
        case receivedBytes = "received_bytes"
        case sentBytes = "sent_bytes"
    }
}
