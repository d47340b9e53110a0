// SPDX-License-Identifier: Apache-2.0
package import Pool

/// The box of one server, 90 columns wide, as nvidia-smi draws them.
package struct SMIBox {
    let address: String
    /// nil for a server that did not answer.
    let status: ServerStatus?

    package init(address: String, status: ServerStatus?) {
        self.address = address
        self.status = status
    }

    private static let widths = [36, 23, 21]
    private static let inner = 86

    package var text: String {
        let edge = "+" + String(repeating: "-", count: SMIBox.inner + 2) + "+\n"
        let version = status?.driver.map { "Driver Version: \($0)" } ?? ""
        let title = edge + "| " + TextTable.ends(address, version, SMIBox.inner) + " |\n"
        guard let status, !status.gpus.isEmpty else { return title + edge }
        return title + SMIBox.rule("-", "+")
            + SMIBox.row(["GPU  Name              Persistence-M", "Virt Mem    Alloc / All", "BusId  Vol Uncorr ECC"])
            + SMIBox.row(["Fan  Temp  Perf        Pwr:Usage/Cap", "Phy Mem     Used  / All", "GPU-Util   Compute M."])
            + SMIBox.rule("=", "|")
            + status.gpus.map { SMIBox.row(identity($0)) + SMIBox.row(state($0)) + SMIBox.rule("-", "+") }.joined()
    }

    private static func rule(_ line: String, _ end: String) -> String {
        end + widths.map { String(repeating: line, count: $0 + 2) }.joined(separator: "+") + end + "\n"
    }

    private static func row(_ cells: [String]) -> String { "| " + cells.joined(separator: " | ") + " |\n" }

    private func identity(_ gpu: GPUStatus) -> [String] {
        let persistence = gpu.isPersistent.map { $0 ? "Enabled" : "Disabled" } ?? "N/A"
        return [
            TextTable.left("\(gpu.index)", 5) + TextTable.left(gpu.name, 22) + " " + TextTable.right(persistence, 8),
            memory(gpu.allocatedMiB, of: gpu),
            TextTable.left(gpu.pciBusID, 16) + TextTable.right(gpu.uncorrectedErrors.map { "\($0)" } ?? "N/A", 5),
        ]
    }

    private func state(_ gpu: GPUStatus) -> [String] {
        let usage = gpu.powerMilliwatts.map { "\(($0 + 500) / 1000)W" } ?? "N/A"
        let limit = gpu.powerLimitMilliwatts.map { "\(($0 + 500) / 1000)W" } ?? "N/A"
        return [
            TextTable.left(gpu.fanPercent.map { "\($0) %" } ?? "N/A", 5)
                + TextTable.right(gpu.temperatureCelsius.map { "\($0)C" } ?? "N/A", 4) + "  "
                + TextTable.left(gpu.performanceState.map { "P\($0)" } ?? "N/A", 3)
                + TextTable.right(usage + " / " + TextTable.right(limit, 4), 22),
            memory(gpu.usedMiB, of: gpu),
            TextTable.right(gpu.utilizationPercent.map { "\($0)%" } ?? "N/A", 4)
                + TextTable.right(gpu.computeMode ?? "N/A", 17),
        ]
    }

    private func memory(_ part: Int?, of gpu: GPUStatus) -> String {
        TextTable.left(part.map { "\($0)" } ?? "N/A", 8) + "MB / " + TextTable.left("\(gpu.totalMiB)", 8) + "MB"
    }
}
