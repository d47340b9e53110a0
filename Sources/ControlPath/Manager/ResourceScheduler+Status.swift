// SPDX-License-Identifier: Apache-2.0
import Pool

/// The answer to `status`.
extension ResourceScheduler {
    func status() -> SchedulerReply {
        let allocated = allocatedMiB()
        let tasks = tasks()
        let sample = sample()
        var reply = SchedulerReply(.status)
        reply.driverVersion = inventory.driverVersion
        reply.runningTasks = tasks.count
        reply.servers = servers
        reply.status = ServerStatus(
            hostname: hostname(), version: ProductVersion.number, driver: sample?.driver, isDraining: isDraining,
            gpus: inventory.gpus.enumerated().map { index, gpu in
                // The management library numbers GPUs in another order; the UUID is the same.
                var status = sample?.gpus.first { $0.uuid == gpu.uuid } ?? GPUStatus(gpu, allocatedMiB: 0)
                status.index = gpu.index
                status.allocatedMiB = allocated[index]
                return status
            }, tasks: tasks,
            networks: Networks.list())
        return reply
    }
}
