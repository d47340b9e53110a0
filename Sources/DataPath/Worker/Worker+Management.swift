// SPDX-License-Identifier: Apache-2.0
import AllocationLedger
import Driver
import Glibc
import HostDriver
import HostManagement
import Management
import Transport
import Wire

extension Worker {
    /// Serves a client of the management library, with the devices and the memory of its allocation.
    ///
    /// No context is made for it.
    static func manage(
        _ connection: Connection, _ host: HostDriver, _ hello: Hello, _ configuration: WorkerConfiguration
    ) -> Int32 {
        let source: PartitionedManagement
        do {
            let devices = try host.describe().devices
            let uuids = configuration.devices.compactMap {
                devices.indices.contains($0) ? devices[$0].uuidText : nil
            }
            source = PartitionedManagement(
                try HostManagement(path: HostManagement.path(beside: configuration.driverPath), uuids: uuids),
                ledger: configuration.slot.ledger)
        } catch {
            refuse(connection, "the server cannot manage its GPUs: \(error)")
            return 1
        }
        let reply = HelloReply(status: .accepted, body: HelloReply.managementBody).bytes
        guard reply.withUnsafeBytes({ connection.write($0) }) else { return 1 }
        guard let reason = ManagementSession(connection, source: source).run() else { return 0 }
        writeError("worker \(getpid()) of client process \(hello.processID): \(reason)\n")
        return 1
    }

    private static func writeError(_ text: String) {
        var text = text
        text.withUTF8 { _ = Glibc.write(2, $0.baseAddress, $0.count) }
    }
}
