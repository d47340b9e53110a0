// SPDX-License-Identifier: Apache-2.0
import Glibc
import Health
import Pool
import Threads

/// What a server's checks look at.
struct ServerNode {
    let choice: DriverChoice
    let inventory: Result<Inventory, SourceFailure>
    let dataFolder: String
    /// The daemon's process; nil when none runs.
    let daemon: Int?
}

/// Runs a server's health checks, and keeps what they found for a few seconds: however many clients ask, they are run
/// once.
final class ServerHealth: Sendable {
    private enum Turn {
        case kept(HealthReport)
        /// The caller runs the checks.
        case mine
    }

    private struct State {
        var kept: (report: HealthReport, at: Int64)?
        var isRunning = false
    }

    private static let keptMilliseconds: Int64 = 5_000
    /// How long the libraries of the driver may take.
    private static let readingsMilliseconds: Int64 = 2_000

    /// A process that is killed is gone after so long, unless the kernel holds it.
    private static let endMilliseconds: Int64 = 500

    private let node: ServerNode
    private let history: CounterFile
    private let runner = HealthRunner()
    private let state = Watched(State())

    init(_ node: ServerNode) {
        self.node = node
        history = CounterFile(folders: [node.dataFolder])
    }

    /// What the checks find now, or found a moment ago; nil when a run of them does not end.
    func report() -> HealthReport? {
        // A run takes a little longer than its checks may, as the last one is waited for.
        let patience = HealthRunner.allMilliseconds + HealthRunner.checkMilliseconds
        let turn = state.wait(milliseconds: patience) { state -> Turn? in
            if let kept = state.kept, monotonicMilliseconds() - kept.at < ServerHealth.keptMilliseconds {
                return .kept(kept.report)
            }
            guard !state.isRunning else { return nil }
            state.isRunning = true
            return .mine
        }
        switch turn {
        case nil: return nil
        case .kept(let report): return report
        case .mine:
            let report = run()
            state.withLock { state in
                state.kept = (report, monotonicMilliseconds())
                state.isRunning = false
            }
            return report
        }
    }

    private func run() -> HealthReport {
        let began = monotonicMilliseconds()
        return HealthReport(
            hostname: hostname(), role: .server, version: ProductVersion.number,
            checks: runner.run(HealthChecks.all, on: sources(), since: began))
    }

    private func sources() -> HealthSources {
        let prefix = InstalledFiles.prefix
        var sources = HealthSources(
            role: .server, now: wallClockMilliseconds(), files: SystemFiles(), fileSystems: SystemFileSystems(),
            networks: Networks.list(), history: history,
            folders: [("the data folder", node.dataFolder), ("temporary files", "/tmp")],
            installation: Installation(
                prefix: prefix, manifests: prefix + "/share/bitfusion/manifest.d",
                configurationProblem: SettingsFile(path: node.dataFolder + "/settings.json").problem),
            libraries: .failure(SourceFailure("the driver's libraries are opened by a process of their own")))
        sources.daemon = node.daemon
        sources.inventory = node.inventory
        sources.isSoftware = node.choice.softGPU != nil
        sources.management = readings()
        return sources
    }

    /// What the libraries of the driver say; a process that hangs in the kernel is not waited for.
    private func readings() -> Result<GPUReadings, SourceFailure> {
        let limit = ServerHealth.readingsMilliseconds
        do throws(SourceFailure) {
            return try bounded(milliseconds: limit + ServerHealth.endMilliseconds) {
                [choice = node.choice] () -> Result<GPUReadings, SourceFailure> in
                do throws(SourceFailure) { return .success(try choice.readings(milliseconds: limit)) } catch {
                    return .failure(error)
                }
            }
        } catch {
            return .failure(error)
        }
    }
}
