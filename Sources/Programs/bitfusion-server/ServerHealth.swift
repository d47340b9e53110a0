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
        let patience = HealthRunner.allMilliseconds + ServerHealth.readingsMilliseconds
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
        HealthReport(
            hostname: hostname(), role: .server, version: ProductVersion.number,
            checks: runner.run(HealthChecks.all, on: sources()))
    }

    private func sources() -> HealthSources {
        let prefix = InstalledFiles.prefix
        var sources = HealthSources(
            role: .server, now: wallClockMilliseconds(), files: SystemFiles(), fileSystems: SystemFileSystems(),
            networks: Networks.list(), history: history,
            folders: [("the data folder", node.dataFolder), ("temporary files", "/tmp")],
            installation: Installation(
                prefix: prefix, manifest: prefix + "/share/bitfusion/manifest",
                configurationProblem: SettingsFile(path: node.dataFolder + "/settings.json").problem),
            libraries: .failure(SourceFailure("the driver's libraries are opened by a process of their own")))
        sources.daemon = node.daemon
        sources.inventory = node.inventory
        sources.isSoftware = node.choice.softGPU != nil
        do throws(SourceFailure) {
            sources.management = .success(try node.choice.readings(milliseconds: ServerHealth.readingsMilliseconds))
        } catch {
            sources.management = .failure(error)
        }
        return sources
    }
}
