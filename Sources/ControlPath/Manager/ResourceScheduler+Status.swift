// SPDX-License-Identifier: Apache-2.0
import Glibc
import Pool

/// The answer to `status`.
extension ResourceScheduler {
    func status() -> SchedulerReply {
        let list = list()
        var free: [Int: Int] = [:]
        for entry in list.gpus ?? [] { free[entry.index] = entry.freeMiB }
        var name = [CChar](repeating: 0, count: 256)
        gethostname(&name, name.count - 1)
        var reply = SchedulerReply(.status)
        reply.driverVersion = inventory.driverVersion
        reply.runningTasks = list.runningTasks
        reply.waitingTasks = list.waitingTasks
        reply.status = ServerStatus(
            hostname: String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self),
            version: ProductVersion.number, driver: nil, isDraining: list.isDraining ?? false,
            gpus: inventory.gpus.map { GPUStatus($0, allocatedMiB: $0.totalMiB - (free[$0.index] ?? 0)) }, tasks: [],
            networks: Networks.list())
        return reply
    }
}
