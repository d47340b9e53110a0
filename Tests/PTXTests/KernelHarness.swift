// SPDX-License-Identifier: Apache-2.0
import Glibc
import KernelCompiler
import PTX
import Testing

/// Compiles PTX texts and runs their kernels on ordinary memory.
struct KernelHarness {
    static let executor = KernelExecutor(threads: 2)

    let program: PTXProgram
    private let storage: [UnsafeMutableRawPointer]

    /// Takes a module without its header.
    init(_ text: String, version: String = "8.0", target: String = "sm_75") throws {
        let header = ".version \(version)\n.target \(target)\n.address_size 64\n"
        program = try PTXProgram(sources: [Array((header + text).utf8)])
        storage = program.variables.map { variable in
            UnsafeMutableRawPointer.allocate(byteCount: max(1, variable.size), alignment: max(16, variable.alignment))
        }
        program.place(variablesAt: storage.map { UInt64(UInt(bitPattern: $0)) })
        for (index, pointer) in storage.enumerated() {
            pointer.copyMemory(from: program.initialBytes(of: index), byteCount: program.variables[index].size)
        }
    }

    func variable(_ name: String) throws -> UnsafeMutableRawPointer {
        storage[try #require(program.variables.firstIndex { $0.name == name })]
    }

    /// Runs a kernel whose parameters are all 64 bits wide.
    func run(
        _ name: String = "k", grid: UInt32 = 1, block: UInt32 = 1, shared: Int = 0, cooperative: Bool = false,
        services: KernelServices = KernelServices(), cancellation: KernelCancellation? = nil, with parameters: [UInt64]
    ) throws -> KernelOutcome {
        let index = try #require(program.kernels.firstIndex { $0.name == name })
        let kernel = try program.kernel(index)
        let shape = LaunchShape(
            grid: (grid, 1, 1), block: (block, 1, 1), dynamicSharedBytes: shared, isCooperative: cooperative)
        return parameters.withUnsafeBytes { bytes in
            Self.executor.run(kernel, shape, parameters: bytes, services: services, cancellation: cancellation)
        }
    }

    /// Runs a kernel with one parameter: an array that it changes.
    func run<T: BitwiseCopyable>(
        _ name: String = "k", grid: UInt32 = 1, block: UInt32 = 1, shared: Int = 0, cooperative: Bool = false,
        on array: inout [T]
    ) throws -> KernelOutcome {
        try array.withUnsafeMutableBytes { bytes in
            try run(
                name, grid: grid, block: block, shared: shared, cooperative: cooperative,
                with: [UInt64(UInt(bitPattern: bytes.baseAddress))])
        }
    }

    /// The text of a kernel `k` with one parameter, whose value is in `%p`, and common registers.
    static func kernel(_ body: String, extra: String = "") -> String {
        """
        \(extra)
        .visible .entry k(.param .u64 p)
        {
            .reg .b64 %p, %a, %d<20>;
            .reg .b32 %t, %r<40>;
            .reg .b16 %h<20>;
            .reg .f32 %f<20>;
            .reg .f64 %g<20>;
            .reg .pred %q<10>;
            ld.param.u64 %p, [p];
            mov.u32 %t, %tid.x;
            \(body)
            ret;
        }
        """
    }
}
