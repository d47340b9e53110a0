// SPDX-License-Identifier: Apache-2.0
import Pool

/// Whether the versions of everything that works together go together.
enum SoftwareChecks {
    static let all = [interfaces, cudaVersion, libraries, driverVersion]

    // MARK: HC-08

    static let interfaces = HealthCheck(
        "HC-08", "gpu_api", .stability,
        source: "server: /sys/module/nvidia/version, NVML's and CUDA's lists of GPUs; client: the servers' protocols",
        threshold: "all agree; fatal when kernel module, NVML or CUDA differ, or a server speaks another protocol",
        remedy: "install the same release of Bitfusion on all machines; start the server again after a driver update",
        judge: judgeInterfaces)

    @Sendable private static func judgeInterfaces(_ sources: HealthSources) throws(SourceFailure) -> Finding {
        switch sources.role {
        case .client: try judgeProtocols(sources)
        case .server: try judgeDriver(sources)
        }
    }

    private static func judgeProtocols(_ sources: HealthSources) throws(SourceFailure) -> Finding {
        let own = SchedulerRequest.version
        guard let ownWire = sources.wireVersion else {
            throw SourceFailure("this client does not know its own protocol")
        }
        let parts = try sources.answers().map { server, answer -> Finding in
            guard answer.protocolVersion == own else {
                return .fatal(
                    "it speaks version \(answer.protocolVersion) of the scheduler's protocol, this client \(own)"
                )
                .about(server)
            }
            guard let wire = answer.wireVersion else {
                return .marginal("it does not tell the protocol of its data connections").about(server)
            }
            let detail = "data connections of version \(wire), here \(ownWire)"
            if wire == ownWire { return .pass("protocol \(own), \(detail)", value: wire).about(server) }
            // Another minor version is spoken down to.
            return
                (wire.prefix { $0 != "." } == ownWire.prefix { $0 != "." }
                ? Finding.marginal(detail, value: wire) : .fatal(detail, value: wire)).about(server)
        }
        guard !parts.isEmpty else { throw SourceFailure("no server has told its protocol") }
        return .of(parts)
    }

    private static func judgeDriver(_ sources: HealthSources) throws(SourceFailure) -> Finding {
        let readings = try sources.management.get()
        if let problem = readings.problem {
            guard problem.code == NVMLResult.versionMismatch else { throw SourceFailure(problem.message) }
            return .fatal("the management library is of another version than the kernel module")
        }
        guard case .success(let inventory) = sources.inventory else {
            return .fatal("the driver does not start, the management library does")
        }
        var parts: [Finding] = []
        if !sources.isSoftware {
            let module = try sources.files.text("/sys/module/nvidia/version")
            let library = try readings.driverVersion.known("the driver's version") ?? ""
            if module != library {
                parts.append(.fatal("the kernel module is \(module), the management library \(library)"))
            }
        }
        let value = "\(inventory.gpus.count) and \(readings.gpus.count)"
        let known = Set(readings.gpus.map { kernelPCIAddress($0.pciBusID) })
        let unknown = inventory.gpus.filter { !known.contains(kernelPCIAddress($0.pciBusID)) }
        if readings.gpus.contains(where: { $0.isDivided == .value(true) }) {
            parts.append(.marginal("GPUs are divided in hardware (MIG), so CUDA counts other ones", value: value))
        } else if inventory.gpus.count != readings.gpus.count || !unknown.isEmpty {
            parts.append(.fatal("CUDA has \(inventory.gpus.count) GPUs, NVML \(readings.gpus.count)", value: value))
        }
        return parts.isEmpty
            ? .pass("CUDA and NVML have the same \(readings.gpus.count) GPUs", value: value) : .of(parts)
    }

    // MARK: HC-27

    /// CUDA 11.8, the oldest runtime that is tested.
    static let cudaMin = 11_080
    /// CUDA 13.5, the newest one.
    static let cudaTested = 13_050

    static let cudaVersion = HealthCheck(
        "HC-27", "cuda_version", .softwareVersion,
        source: "cuDriverGetVersion of the server's driver, or of all servers",
        threshold: "11.8 to 13.5, the same on all servers; fatal below 11.8",
        remedy: "install the same driver on all servers",
        judge: judgeCUDAVersion)

    @Sendable private static func judgeCUDAVersion(_ sources: HealthSources) throws(SourceFailure) -> Finding {
        switch sources.role {
        case .server: return judge(cuda: try sources.inventory.get().driverVersion)
        case .client:
            let versions = try sources.answers().compactMap { server, answer in answer.cudaVersion.map { (server, $0) }
            }
            guard let newest = versions.map(\.1).max(), let oldest = versions.map(\.1).min() else {
                throw SourceFailure("no server has told its version of CUDA")
            }
            var parts = [judge(cuda: oldest), judge(cuda: newest)]
            if oldest == newest {
                parts.removeLast()
            } else {
                parts.append(
                    .marginal(
                        "the servers differ: \(listed(versions.map { "\($0.0) has \(cudaText($0.1))" }))",
                        value: "\(cudaText(oldest)) to \(cudaText(newest))"))
            }
            return .of(parts)
        }
    }

    private static func judge(cuda version: Int) -> Finding {
        let text = cudaText(version)
        if version < cudaMin { return .fatal("CUDA \(text) is too old", value: text, remedy: "install a newer driver") }
        if version > cudaTested { return .marginal("CUDA \(text) is newer than what is tested", value: text) }
        return .pass("CUDA \(text)", value: text)
    }

    // MARK: HC-28

    static let libraries = HealthCheck(
        "HC-28", "libdep", .softwareVersion,
        source:
            "dlopen of the driver's libraries (server), of Bitfusion's own (client), "
            + "and of RDMA's where there are ports",
        threshold: "all can be opened and have what is needed; fatal when a required one does not",
        remedy: "install the package that has the library", judge: judgeLibraries)

    @Sendable private static func judgeLibraries(_ sources: HealthSources) throws(SourceFailure) -> Finding {
        let readings =
            switch sources.role {
            case .client: try sources.libraries.get()
            case .server: try sources.management.get().libraries
            }
        guard !readings.isEmpty else { throw SourceFailure("no library was opened") }
        return .of(
            readings.map { library in
                let name = library.name.split(separator: "/").last ?? ""
                guard let problem = library.problem else { return .pass("\(name) is there") }
                let detail = "\(library.name): \(problem)"
                return library.isRequired ? .fatal(detail) : .marginal(detail)
            })
    }

    // MARK: HC-29

    /// The first branch with CUDA 11.8.
    static let driverBranchMin = 520
    /// The newest branch whose libraries were looked at.
    static let driverBranchTested = 580

    static let driverVersion = HealthCheck(
        "HC-29", "driver_version", .softwareVersion, on: [.server],
        source: "nvmlSystemGetDriverVersion, /proc/driver/nvidia/version",
        threshold: "branch 520 to 580; fatal below 520 or when the kernel module is not loaded",
        remedy: "install a driver of a supported branch", judge: judgeDriverVersion)

    @Sendable private static func judgeDriverVersion(_ sources: HealthSources) throws(SourceFailure) -> Finding {
        guard !sources.isSoftware else { return .skipped("software GPUs have no NVIDIA driver") }
        let readings = try sources.management.get()
        if let problem = readings.problem {
            guard problem.code == NVMLResult.driverNotLoaded else { throw SourceFailure(problem.message) }
            return .fatal("the kernel module is not loaded", remedy: "modprobe nvidia; dmesg tells why it fails")
        }
        guard let version = try readings.driverVersion.known("the driver's version"),
            let branch = Int(version.prefix { $0 != "." })
        else { throw SourceFailure("the driver's version is not told") }
        let module = try sources.files.text("/proc/driver/nvidia/version")
        let kind = module.contains("Open Kernel Module") ? "open" : "proprietary"
        let detail = "\(version), with the \(kind) kernel module"
        if branch < driverBranchMin { return .fatal("\(detail), is too old", value: version) }
        if branch > driverBranchTested { return .marginal("\(detail), is newer than what is tested", value: version) }
        return .pass(detail, value: version)
    }
}
