// SPDX-License-Identifier: Apache-2.0
import Pool

/// All checks, in the order in which they are shown: by type, and then by the list of the product's guide.
package enum HealthChecks {
    package static let all: [HealthCheck] = {
        let checks =
            StoreChecks.all + ServerChecks.all + NetworkChecks.all + FrameChecks.all + GPUChecks.all + BusChecks.all
            + BusConfigurationChecks.all
            + KernelLogChecks.all + MachineChecks.all + LimitChecks.all + InstallationChecks.all + SoftwareChecks.all
        return HealthType.allCases.flatMap { type in
            checks.filter { $0.type == type }.sorted { ($0.id ?? "HC-99", $0.name) < ($1.id ?? "HC-99", $1.name) }
        }
    }()

    /// Checks of what a server by itself does not have.
    enum StoreChecks {
        static let all = [
            store("HC-01", "store_buckets"), store("HC-02", "store_node_num"), store("HC-03", "store_status"),
            store("HC-04", "store_replication"),
            HealthCheck(
                "HC-12", "vcenter_check", .stability, on: [.server], source: "the registration with a vCenter Server",
                threshold: "registered", remedy: "register the server"
            ) { _ in .skipped("no vCenter Server is registered") },
        ]

        private static func store(_ id: String, _ name: String) -> HealthCheck {
            HealthCheck(
                id, name, .stability, on: [.server], source: "the store of a cluster", threshold: "a healthy store",
                remedy: "repair the store"
            ) { _ in .skipped("this server stands alone and has no store") }
        }
    }
}
