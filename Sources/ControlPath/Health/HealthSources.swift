// SPDX-License-Identifier: Apache-2.0
package import Pool

/// Everything that checks read, of one node at one moment.
///
/// What takes time has been gathered before, and is a result here; files are read when a check asks for them.
package struct HealthSources: Sendable {
    package var role: HealthReport.Role
    /// Milliseconds since 1970.
    package var now: Int64
    package var files: any FileTree
    package var fileSystems: any FileSystems
    /// The interfaces that the product uses here.
    package var networks: [Network]
    /// What counters were when they were last read.
    package var history: any CounterHistory
    /// Folders whose free space matters: what is kept there, and the path.
    package var folders: [(purpose: String, path: String)]
    package var installation: Installation
    package var libraries: Result<[LibraryReading], SourceFailure>

    /// What a client's servers have answered.
    package var servers: Result<[ServerReading], SourceFailure> = .failure(SourceFailure("no server was asked"))
    /// What this node speaks on data connections, `major.minor`.
    package var wireVersion: String?

    /// The daemon of a server; nil when none runs.
    package var daemon: Int?
    /// What the server's driver has.
    package var inventory: Result<Inventory, SourceFailure> = .failure(SourceFailure("no driver was asked"))
    /// What the server's management library says.
    package var management: Result<GPUReadings, SourceFailure> = .failure(
        SourceFailure("no management library was asked"))
    /// Whether the server's GPUs are software.
    package var isSoftware = false

    package init(
        role: HealthReport.Role, now: Int64, files: any FileTree, fileSystems: any FileSystems, networks: [Network],
        history: any CounterHistory, folders: [(purpose: String, path: String)], installation: Installation,
        libraries: Result<[LibraryReading], SourceFailure>
    ) {
        self.role = role
        self.now = now
        self.files = files
        self.fileSystems = fileSystems
        self.networks = networks
        self.history = history
        self.folders = folders
        self.installation = installation
        self.libraries = libraries
    }
}

/// What belongs to the installed product on this node.
package struct Installation: Sendable {
    /// The folder that has `bin`, `lib` and `share`.
    package var prefix: String
    /// The folder of the lists of installed files.
    ///
    /// Each line has a mode in octal digits, a size in bytes, and a path below `prefix`.
    package var manifests: String
    /// What is wrong with the configuration that this node reads; nil when it is read.
    package var configurationProblem: String?

    package init(prefix: String, manifests: String, configurationProblem: String?) {
        self.prefix = prefix
        self.manifests = manifests
        self.configurationProblem = configurationProblem
    }
}

/// What one server of a client's list has said.
package struct ServerReading: Sendable {
    package struct Answer: Sendable, Equatable {
        /// Of the scheduler's protocol.
        package var protocolVersion: Int
        /// Of data connections, `major.minor`.
        package var wireVersion: String?
        /// The product's version.
        package var release: String?
        /// 1000 x major + 10 x minor; nil from a server of another protocol, as the rest.
        package var cudaVersion: Int?
        package var gpuMiB: [Int]
        /// How much its clock is ahead of ours.
        package var clockAheadMilliseconds: Int64?
        package var path: Path?

        package init(
            protocolVersion: Int, wireVersion: String? = nil, release: String? = nil, cudaVersion: Int? = nil,
            gpuMiB: [Int] = [], clockAheadMilliseconds: Int64? = nil, path: Path? = nil
        ) {
            self.protocolVersion = protocolVersion
            self.wireVersion = wireVersion
            self.release = release
            self.cudaVersion = cudaVersion
            self.gpuMiB = gpuMiB
            self.clockAheadMilliseconds = clockAheadMilliseconds
            self.path = path
        }
    }

    /// The way to a server.
    package struct Path: Sendable, Equatable {
        /// Our own end, whose interface carries it.
        package var ownAddress: String
        /// The largest segment that both ends have agreed on, which follows from the smaller MTU.
        package var segmentBytes: Int
        /// Why blocks of full segments did not come back; nil when they did.
        package var problem: Problem?

        package enum Problem: Sendable, Equatable {
            /// Small messages pass, full segments do not.
            case fullSegmentsAreLost
            /// It could not be tried.
            case notTried(String)
        }

        package init(ownAddress: String, segmentBytes: Int, problem: Problem?) {
            self.ownAddress = ownAddress
            self.segmentBytes = segmentBytes
            self.problem = problem
        }
    }

    package var address: String
    package var answer: Result<Answer, SourceFailure>

    package init(address: String, answer: Result<Answer, SourceFailure>) {
        self.address = address
        self.answer = answer
    }
}
