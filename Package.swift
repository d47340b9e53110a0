// swift-tools-version:6.3
import PackageDescription

/// `scripts/fuzz` builds everything so that a fuzzer sees which way an input takes.
let isFuzzing = Context.environment["BITFUSION_FUZZ"] != nil

/// `scripts/gpu-check` packs the contracts of the drivers, for the driver of another machine.
let isForHost = Context.environment["BITFUSION_HOST_CONTRACT"] != nil

/// Every Swift target is compiled the same way: Swift 6, no warnings, imports that say what they expose.
let common: [SwiftSetting] =
    [
        .swiftLanguageMode(.v6),
        .treatAllWarnings(as: .error),
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("MemberImportVisibility"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableExperimentalFeature("Lifetimes"),
    ] + (isFuzzing ? [.unsafeFlags(["-sanitize=fuzzer"])] : [])

/// Modules that never touch raw memory say `unsafe` wherever they would; the modules whose purpose is raw memory
/// (exports, sockets, the host driver, device memory) are compiled without that check.
let strict: [SwiftSetting] = common + [.strictMemorySafety()]

/// Of the client's package what waits for people or the network: what it takes on the disk counts for more.
///
/// The shim's calls cost the same either way (docs/measurements.md).
let small: [SwiftSetting] = [.unsafeFlags(["-Osize"], .when(configuration: .release))]
let smallModules: Set = [
    "CallTrace", "Content", "Driver", "Health", "Management", "ManagementShim", "ManagerClient", "Pool", "ProgramImage",
    "RemoteManagement", "Shim", "Threads", "TraceAnalysis", "TraceFormat",
]

enum Memory { case safe, raw }

func module(_ name: String, in folder: String, _ memory: Memory, uses dependencies: [Target.Dependency] = []) -> Target
{
    .target(
        name: name, dependencies: dependencies, path: "Sources/\(folder)/\(name)",
        swiftSettings: (memory == .safe ? strict : common) + (smallModules.contains(name) ? small : []))
}

func tests(_ name: String, uses dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: dependencies, path: "Tests/\(name)", swiftSettings: common)
}

/// A C library with its own name and only its API's symbols, needing no Swift library at run time.
func interposer(_ name: String, soname: String, exports: String, uses dependencies: [Target.Dependency]) -> Target {
    .target(
        name: name, dependencies: dependencies, path: "Sources/Programs/\(name)",
        exclude: exports.hasPrefix("Sources/Programs/\(name)/") ? ["exports.map"] : [], swiftSettings: common,
        linkerSettings: [
            .unsafeFlags([
                "-static-stdlib", "-Xlinker", "-soname=\(soname)", "-Xlinker", "--version-script=\(exports)",
                // Nothing in these libraries compares the addresses of functions, which Swift's objects do not say.
                "-Xlinker", "--gc-sections", "-Xlinker", "--icf=all", "-Xlinker", "-z", "-Xlinker", "nodelete",
            ])
        ])
}

/// A program that offers no symbols to libraries, so that what it does not use of its own is left out, and what is equal
/// is there once.
let smallProgram: [LinkerSetting] = [
    .unsafeFlags(["-Xlinker", "--exclude-libs=ALL", "-Xlinker", "--gc-sections", "-Xlinker", "--icf=all"])
]

let package = Package(
    name: "bitfusion",
    products: [
        .library(name: "cuda-remote", type: .dynamic, targets: ["RemoteCUDA"]),
        .library(name: "cuda-soft", type: .dynamic, targets: ["SoftCUDA"]),
        .library(name: "nvml-remote", type: .dynamic, targets: ["RemoteNVML"]),
        .library(name: "nvml-soft", type: .dynamic, targets: ["SoftNVML"]),
        .executable(name: "bitfusion", targets: ["bitfusion"]),
        .executable(name: "bitfusion-server", targets: ["bitfusion-server"]),
        .executable(name: "generate", targets: ["generate"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2")
    ],
    targets: [
        // API: the one description of CUDA and that of NVML, and what is derived from them.
        .target(name: "CCUDA", path: "Sources/API/CCUDA"),
        .target(name: "CNVML", path: "Sources/API/CNVML"),
        module("CUDADescription", in: "API", .safe),
        module("NVMLDescription", in: "API", .safe),
        .executableTarget(
            name: "generate", dependencies: ["CUDADescription", "NVMLDescription"], path: "Sources/API/generate",
            swiftSettings: strict),

        // Data path: application -> Shim -> RemoteDriver -> Wire -> Transport -> Session -> HostDriver.
        .target(name: "CSystem", path: "Sources/System/CSystem"),
        .target(name: "CCallTrace", path: "Sources/Trace/CCallTrace"),
        module("TraceFormat", in: "Trace", .safe),
        module("CallTrace", in: "Trace", .raw, uses: ["CCallTrace", "TraceFormat"]),
        module("TraceAnalysis", in: "Trace", .safe, uses: ["TraceFormat"]),
        module("Driver", in: "DataPath", .raw, uses: ["CCUDA"]),
        module("Content", in: "DataPath", .raw),
        module("ModuleCache", in: "DataPath", .raw, uses: ["Content"]),
        module("ProgramImage", in: "DataPath", .raw, uses: ["CCUDA", "Driver"]),
        module("Wire", in: "DataPath", .raw, uses: ["Driver"]),
        module("Transport", in: "DataPath", .raw, uses: ["CSystem", "Wire"]),
        module(
            "RemoteDriver", in: "DataPath", .raw,
            uses: ["CCUDA", "CCallTrace", "CSystem", "Content", "Driver", "ProgramImage", "Wire", "Transport"]),
        module("AllocationLedger", in: "DataPath", .raw, uses: ["CSystem"]),
        module(
            "Session", in: "DataPath", .raw,
            uses: ["AllocationLedger", "CCUDA", "CSystem", "Content", "Driver", "ModuleCache", "Wire", "Transport"]),
        module("HostDriver", in: "DataPath", .raw, uses: ["CCUDA", "CSystem", "Driver"]),
        module("PartitionedDriver", in: "DataPath", .raw, uses: ["AllocationLedger", "CCUDA", "Driver"]),
        module(
            "Shim", in: "DataPath", .raw,
            uses: ["CCUDA", "CCallTrace", "CSystem", "CallTrace", "Driver", "ProgramImage"]),
        module(
            "Worker", in: "DataPath", .raw,
            uses: [
                "AllocationLedger", "CSystem", "Content", "Driver", "HostDriver", "HostManagement", "Management",
                "ModuleCache", "PartitionedDriver", "Session", "Transport", "Wire",
            ]),

        // The same path for the management library.
        module("Management", in: "DataPath", .raw, uses: ["CNVML", "Wire"]),
        module(
            "ManagementShim", in: "DataPath", .raw, uses: ["CCallTrace", "CNVML", "CallTrace", "Management", "Wire"]),
        module("RemoteManagement", in: "DataPath", .raw, uses: ["CCallTrace", "Management", "Transport", "Wire"]),
        module(
            "HostManagement", in: "DataPath", .raw,
            uses: ["AllocationLedger", "CNVML", "Management", "Transport", "Wire"]),

        // The software GPU. Only it links LLVM.
        .systemLibrary(name: "CLLVM", path: "Sources/SoftGPU/CLLVM", providers: [.apt(["llvm-19-dev"])]),
        .systemLibrary(
            name: "CCompression", path: "Sources/SoftGPU/CCompression",
            providers: [.apt(["libzstd-dev", "liblz4-dev"])]),
        .target(name: "CSoftGPU", path: "Sources/SoftGPU/CSoftGPU"),
        module("PTX", in: "SoftGPU", .safe),
        module("UsageBoard", in: "SoftGPU", .raw, uses: ["CSystem"]),
        .target(
            name: "KernelCompiler", dependencies: ["PTX", "CLLVM", "CSoftGPU"], path: "Sources/SoftGPU/KernelCompiler",
            swiftSettings: common + [.unsafeFlags(["-Xcc", "-I/usr/lib/llvm-19/include"])],
            linkerSettings: [.unsafeFlags(["-L/usr/lib/llvm-19/lib"])]),
        .target(
            name: "SoftGPU",
            dependencies: [
                "PTX", "KernelCompiler", "CSoftGPU", "CCompression", "CCUDA", "CSystem", "Driver", "UsageBoard",
            ],
            path: "Sources/SoftGPU/SoftGPU",
            swiftSettings: common + [.unsafeFlags(["-Xcc", "-I/usr/lib/llvm-19/include"])]),

        // Control path.
        module("Threads", in: "System", .raw),
        module("Pool", in: "ControlPath", .safe, uses: ["Threads"]),
        module("Scheduling", in: "ControlPath", .safe, uses: ["Pool"]),
        module("Health", in: "ControlPath", .raw, uses: ["Pool", "Threads"]),
        module("Manager", in: "ControlPath", .raw, uses: ["CSystem", "Pool", "Scheduling", "Threads"]),
        .systemLibrary(name: "CYAML", path: "Sources/System/CYAML", providers: [.apt(["libyaml-dev"])]),
        module("ManagerClient", in: "ControlPath", .raw, uses: ["CSystem", "CYAML", "Health", "Pool", "Threads"]),

        // Programs.
        interposer(
            "RemoteCUDA", soname: "libcuda.so.1", exports: "Sources/Programs/RemoteCUDA/exports.map",
            uses: ["Shim", "RemoteDriver", "Transport", "Driver", "CCUDA"]),
        interposer(
            "SoftCUDA", soname: "libcuda.so.1", exports: "Sources/Programs/RemoteCUDA/exports.map",
            uses: ["Shim", "SoftGPU", "Driver", "CCUDA", "UsageBoard"]),
        interposer(
            "RemoteNVML", soname: "libnvidia-ml.so.1", exports: "Sources/Programs/RemoteNVML/exports.map",
            uses: ["CNVML", "CSystem", "Management", "ManagementShim", "RemoteManagement"]),
        interposer(
            "SoftNVML", soname: "libnvidia-ml.so.1", exports: "Sources/Programs/RemoteNVML/exports.map",
            uses: ["CNVML", "Management", "ManagementShim", "UsageBoard", "Wire"]),
        .executableTarget(
            name: "bitfusion",
            dependencies: [
                "CSystem", "Health", "ManagerClient", "Pool", "Threads", "TraceAnalysis", "Wire",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Sources/Programs/bitfusion", swiftSettings: common + small, linkerSettings: smallProgram),
        .executableTarget(
            name: "bitfusion-server",
            dependencies: [
                "AllocationLedger", "CCUDA", "CNVML", "CSystem", "Driver", "Health", "HostDriver", "HostManagement",
                "Management", "Manager", "Pool", "Scheduling", "Threads", "UsageBoard", "Wire", "Worker",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Sources/Programs/bitfusion-server", swiftSettings: common, linkerSettings: smallProgram),

        tests("WireTests", uses: ["Driver", "Wire"]),
        tests("TraceTests", uses: ["CCallTrace", "CallTrace", "TraceAnalysis", "TraceFormat"]),
        tests("ShimTests", uses: ["Shim", "Driver", "CCUDA"]),
        tests("TidyTests", uses: ["CUDADescription", "NVMLDescription"]),
        .target(
            name: "PoolSimulation", dependencies: ["ManagerClient", "Pool", "Scheduling"], path: "Tests/PoolSimulation",
            swiftSettings: strict),
        tests("SchedulingTests", uses: ["Pool", "PoolSimulation", "Scheduling"]),
        .executableTarget(
            name: "pool-benchmark",
            dependencies: ["Manager", "ManagerClient", "Pool", "PoolSimulation", "Scheduling", "Threads"],
            path: "Benchmarks/pool", swiftSettings: common),
        tests("HealthTests", uses: ["Health", "Pool", "Threads"]),
        tests("PTXTests", uses: ["CSoftGPU", "PTX", "KernelCompiler"]),
        tests("ControlPathTests", uses: ["Health", "Manager", "ManagerClient", "Pool", "Scheduling", "Threads"]),
        tests(
            "DataPathTests",
            uses: [
                "AllocationLedger", "CCUDA", "CNVML", "CSystem", "Content", "Driver", "HostDriver", "HostManagement",
                "Management", "ModuleCache", "PartitionedDriver", "PoolSimulation", "ProgramImage", "RemoteDriver",
                "Session", "SoftGPU", "Transport", "UsageBoard", "Wire",
            ]),
    ]
)

if isForHost {
    // The contracts alone, with another driver as their subject: a link leads to those of DataPathTests.
    package.targets.removeAll { $0.name == "DataPathTests" }
    package.products.append(.executable(name: "driver-contract", targets: ["driver-contract"]))
    package.targets.append(
        .executableTarget(
            name: "driver-contract",
            dependencies: [
                "AllocationLedger", "CCUDA", "CSystem", "Driver", "HostDriver", "RemoteDriver", "Transport", "Wire",
            ],
            path: "Tests/HostContract", swiftSettings: common))
}

if isFuzzing {
    package.products.append(.executable(name: "fuzz", targets: ["Fuzz"]))
    package.targets += [
        .target(name: "CFuzzer", path: "Tests/Fuzz/CFuzzer"),
        .executableTarget(
            name: "Fuzz",
            dependencies: [
                "CCUDA", "CFuzzer", "Driver", "ManagerClient", "PTX", "Pool", "Session", "SoftGPU", "TraceAnalysis",
                "Transport", "Wire",
            ],
            path: "Tests/Fuzz/Fuzz", swiftSettings: common),
    ]
}
