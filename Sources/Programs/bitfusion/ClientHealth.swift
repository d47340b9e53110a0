// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import Glibc
import Health
import ManagerClient
import Pool
import Threads
import Wire

/// A client's own health checks.
struct ClientHealth {
    /// One server has so long to answer everything; several are asked at once.
    private static let serverMilliseconds: Int64 = 4_000
    /// All servers together have so long.
    private static let serversMilliseconds: Int64 = 7_000

    /// The servers to ask; a failure when none are known.
    let servers: Result<ServerDirectory, Failure>

    func report() -> HealthReport {
        let began = monotonicMilliseconds()
        return HealthReport(
            hostname: hostname(), role: .client, version: ProductVersion.number,
            checks: HealthRunner().run(HealthChecks.all, on: sources(), since: began))
    }

    private func sources() -> HealthSources {
        let prefix = InstalledFiles.prefix
        let readings = readings()
        var sources = HealthSources(
            role: .client, now: wallClockMilliseconds(), files: SystemFiles(), fileSystems: SystemFileSystems(),
            networks: ClientHealth.used(Networks.list(), by: readings), history: CounterFile(folders: cacheFolders),
            folders: folders,
            installation: Installation(
                prefix: prefix, manifests: prefix + "/share/bitfusion/manifest.d",
                configurationProblem: configurationProblem),
            libraries: libraries())
        sources.servers = readings
        sources.wireVersion = "\(Hello.major).\(Hello.minor)"
        return sources
    }

    /// What the servers say; names are looked up by the system, which has no time limit that can be set here.
    private func readings() -> Result<[ServerReading], SourceFailure> {
        switch servers {
        case .failure(let failure): return .failure(SourceFailure(failure.message))
        case .success(let directory):
            do throws(SourceFailure) {
                return .success(
                    try bounded(milliseconds: ClientHealth.serversMilliseconds) {
                        mapConcurrently(directory.servers, ClientHealth.reading)
                    })
            } catch {
                return .failure(SourceFailure("the servers were asked, and \(error.reason)"))
            }
        }
    }

    /// What one server says; one that hangs takes nothing from the others.
    @Sendable private static func reading(of server: ServerAddress) -> ServerReading {
        do throws(SourceFailure) {
            return try bounded(milliseconds: serverMilliseconds) { ServerProbe.reading(of: server) }
        } catch {
            return ServerReading(
                address: server.description, answer: .failure(SourceFailure("server \(server): \(error.reason)")))
        }
    }

    /// The interfaces that lead to servers; all of them when none does.
    private static func used(
        _ networks: [Network], by readings: Result<[ServerReading], SourceFailure>
    ) -> [Network] {
        let own = ((try? readings.get()) ?? []).compactMap { (try? $0.answer.get())?.path?.ownAddress }
        let used = networks.filter { own.contains($0.address) }
        return used.isEmpty ? networks : used
    }

    private var configurationProblem: String? {
        guard case .failure(let failure) = servers, failure.status == .configuration else { return nil }
        return failure.message
    }

    // MARK: Folders

    /// Where counters are kept: the first that can be written.
    private var cacheFolders: [String] {
        let environment = ProcessInfo.processInfo.environment
        let cache =
            environment["XDG_CACHE_HOME"].flatMap { $0.hasPrefix("/") ? $0 : nil } ?? User.home.map { "\($0)/.cache" }
        return [cache, environment["XDG_RUNTIME_DIR"]].compactMap { $0.map { "\($0)/bitfusion" } }
            + ["/tmp/bitfusion-\(getuid())"]
    }

    private var folders: [(purpose: String, path: String)] {
        var cache = cacheFolders[0]
        // The folder is made when something is kept; its file system is that of the one above.
        while access(cache, F_OK) != 0, let slash = cache.lastIndex(of: "/"), slash != cache.startIndex {
            cache = String(cache[..<slash])
        }
        return [("the cache", cache), ("temporary files", "/tmp")]
    }

    // MARK: Libraries

    private func libraries() -> Result<[LibraryReading], SourceFailure> {
        let folder: String
        do { folder = try InstalledFiles.clientLibraryFolder() } catch {
            return .success([
                LibraryReading(
                    name: "libcuda.so.1", isRequired: true, problem: (error as? Failure)?.message ?? "\(error)")
            ])
        }
        do throws(SourceFailure) {
            return .success(
                try bounded(milliseconds: HealthRunner.checkMilliseconds) {
                    [
                        LibraryReading(opening: folder + "/libcuda.so.1", symbols: ["cuInit", "cuGetProcAddress_v2"]),
                        LibraryReading(opening: folder + "/libnvidia-ml.so.1", symbols: ["nvmlInit_v2"]),
                    ] + LibraryReading.ofRDMA(SystemFiles())
                })
        } catch {
            return .failure(SourceFailure("the libraries were opened, and \(error.reason)"))
        }
    }
}
