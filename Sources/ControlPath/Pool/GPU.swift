// SPDX-License-Identifier: Apache-2.0

/// One GPU of a server, as its driver describes it.
package struct GPU: Sendable, Equatable, Codable {
    /// The driver's number of it.
    package var index: Int
    package var name: String
    /// `GPU-` and the UUID in its usual form.
    package var uuid: String
    package var totalMiB: Int
    package var pciBusID: String

    package init(index: Int, name: String, uuid: String, totalMiB: Int, pciBusID: String) {
        self.index = index
        self.name = name
        self.uuid = uuid
        self.totalMiB = totalMiB
        self.pciBusID = pciBusID
    }

    enum CodingKeys: String, CodingKey {
        case index, name, uuid
        case totalMiB = "total_mib"
        case pciBusID = "pci_bus_id"
    }
}

/// What a server has: its driver and its GPUs.
package struct Inventory: Sendable, Equatable, Codable {
    /// As `cuDriverGetVersion`: 1000 x major + 10 x minor.
    package var driverVersion: Int
    package var gpus: [GPU]

    package init(driverVersion: Int, gpus: [GPU]) {
        self.driverVersion = driverVersion
        self.gpus = gpus
    }

    enum CodingKeys: String, CodingKey {
        case driverVersion = "driver_version"
        case gpus
    }
}
