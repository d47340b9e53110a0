// SPDX-License-Identifier: Apache-2.0
package import Pool

/// What `stats` prints of one server.
package struct ServerReport {
    let address: String
    let status: ServerStatus

    package init(address: String, status: ServerStatus) {
        self.address = address
        self.status = status
    }

    package var text: String {
        let driver = status.driver.map { ", driver \($0)" } ?? ""
        let draining = status.isDraining ? ", draining: it accepts no new requests" : ""
        var lines = ["server \(address): \(status.hostname), version \(status.version)\(driver)\(draining)"]
        lines += TextTable.lines([gpuHeadings] + status.gpus.map(gpuCells), numbers: [0, 2, 3, 4, 5, 6, 7])
        lines += [""]
        if status.tasks.isEmpty {
            lines += ["  no tasks are running"]
        } else {
            lines += TextTable.lines([taskHeadings] + status.tasks.map(taskCells), numbers: [0, 4, 5])
        }
        if !status.networks.isEmpty {
            lines += [""]
            lines += TextTable.lines([networkHeadings] + status.networks.map(networkCells), numbers: [3, 4])
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private let gpuHeadings = ["GPU", "NAME", "UTIL", "USED MiB", "ALLOCATED MiB", "TOTAL MiB", "TEMP", "POWER"]

    private func gpuCells(_ gpu: GPUStatus) -> [String] {
        [
            "\(gpu.index)", gpu.name, gpu.utilizationPercent.map { "\($0)%" } ?? "-",
            gpu.usedMiB.map { "\($0)" } ?? "-",
            "\(gpu.allocatedMiB)", "\(gpu.totalMiB)", gpu.temperatureCelsius.map { "\($0)C" } ?? "-",
            gpu.powerMilliwatts.map { "\(($0 + 500) / 1000)W" } ?? "-",
        ]
    }

    private let taskHeadings = ["TASK", "CLIENT", "FROM", "GPUS", "MiB EACH", "TIME"]

    private func taskCells(_ task: TaskStatus) -> [String] {
        [
            "\(task.allocation)", task.client, task.address, task.gpus.map(String.init).joined(separator: ","),
            task.mebibytes.map { "\($0)" } ?? "all", WaitTime(seconds: task.runningSeconds).description,
        ]
    }

    private let networkHeadings = ["NETWORK", "INTERFACE", "ADDRESS", "RECEIVED", "SENT"]

    private func networkCells(_ network: Network) -> [String] {
        [
            network.name, network.interface, network.address, ServerReport.bytes(network.receivedBytes),
            ServerReport.bytes(network.sentBytes),
        ]
    }

    /// A number of bytes with the largest decimal unit of which there is at least one.
    package static func bytes(_ count: UInt64?) -> String {
        guard let count else { return "-" }
        var tenths = Double(count)
        var units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"][...]
        while tenths >= 1000, units.count > 1 {
            tenths /= 1000
            units = units.dropFirst()
        }
        return units.first == "B" ? "\(count) B" : fixed(tenths, digits: 1) + " " + (units.first ?? "")
    }
}
