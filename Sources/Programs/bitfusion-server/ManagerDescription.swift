// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import Health

/// What a running daemon says of itself in its data folder.
struct ManagerDescription: Codable {
    var pid: Int
    var schedulerPort: Int
    var dispatcherPort: Int
    /// The libcuda.so.1 that it drives, and its software GPUs.
    var driver: String
    var softGPU: String?

    static func path(in dataFolder: String) -> String { dataFolder + "/manager.json" }

    enum CodingKeys: String, CodingKey {
        case pid, driver
        case schedulerPort = "srs_port"
        case dispatcherPort = "dispatcher_port"
        case softGPU = "soft_gpu"
    }

    /// A line of JSON.
    var text: String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Numbers and texts can always be encoded.
        return ((try? encoder.encode(self)).map { String(decoding: $0, as: UTF8.self) } ?? "{}") + "\n"
    }

    /// Reads that of a data folder.
    init(in dataFolder: String) throws {
        let path = ManagerDescription.path(in: dataFolder)
        self = try JSONDecoder().decode(ManagerDescription.self, from: Data(try SystemFiles().bytes(path)))
    }

    init(pid: Int, schedulerPort: Int, dispatcherPort: Int, driver: String, softGPU: String?) {
        self.pid = pid
        self.schedulerPort = schedulerPort
        self.dispatcherPort = dispatcherPort
        self.driver = driver
        self.softGPU = softGPU
    }
}
