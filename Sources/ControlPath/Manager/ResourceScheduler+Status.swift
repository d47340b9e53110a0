// SPDX-License-Identifier: Apache-2.0
import Glibc
import Pool

/// The answer to `status`.
extension ResourceScheduler {
    func status() -> SchedulerReply {
        let allocated = allocatedMiB()
        var name = [CChar](repeating: 0, count: 256)
        gethostname(&name, name.count - 1)
        let tasks = tasks()
        var reply = SchedulerReply(.status)
        reply.driverVersion = inventory.driverVersion
        reply.runningTasks = tasks.count
        reply.status = ServerStatus(
            hostname: String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self),
            version: ProductVersion.number, driver: nil, isDraining: isDraining,
            gpus: inventory.gpus.enumerated().map { GPUStatus($1, allocatedMiB: allocated[$0]) }, tasks: tasks,
            networks: Networks.list())
        return reply
    }
}
