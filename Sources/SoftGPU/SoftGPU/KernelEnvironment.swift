// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import KernelCompiler
import Synchronization
import UsageBoard

/// What the kernels of one context meet: its heap, its printed output, and its end when one of them fails.
final class KernelEnvironment: Sendable {
    let heap: DeviceHeap
    let output = KernelOutput()
    /// Whom it is told when kernels run.
    let usage: DeviceUsage?
    /// The CUresult of the first kernel that failed; 0 while none has.
    ///
    /// It stays.
    private let failure = Atomic<UInt32>(0)

    /// Whether the context ends, which ends its streams' waits for values.
    private let isEnding = Atomic<Bool>(false)

    init(_ device: Device) {
        heap = DeviceHeap(memory: device.memory)
        usage = device.usage
    }

    var error: CUDAError? {
        let code = failure.load(ordering: .acquiring)
        return code == 0 ? nil : CUDAError(CUresult(code))
    }

    /// Whether nothing waits for values any more.
    var giveUpWaits: Bool { isEnding.load(ordering: .acquiring) || failure.load(ordering: .acquiring) != 0 }

    /// The context ends: what its streams still wait for may never be written.
    func beginEnd() { isEnding.store(true, ordering: .releasing) }

    func fail(_ error: CUDAError) {
        _ = failure.compareExchange(expected: 0, desired: error.code.rawValue, ordering: .acquiringAndReleasing)
    }

    /// Runs a kernel to its end on the calling thread and the executor's.
    ///
    /// With a budget, only so many of them.
    func run(
        _ function: Function, _ geometry: LaunchGeometry, _ parameters: UnsafeRawBufferPointer, budget: CoreBudget?
    ) {
        guard let kernel = function.compiled else { return }
        let shape = LaunchShape(
            grid: (geometry.gridX, geometry.gridY, geometry.gridZ),
            block: (geometry.blockX, geometry.blockY, geometry.blockZ),
            dynamicSharedBytes: Int(geometry.dynamicSharedBytes), isCooperative: geometry.isCooperative)
        let outcome = function.module.executor.run(
            kernel, shape, parameters: parameters, services: services, budget: budget)
        if let error = Self.error(of: outcome) { fail(error) }
    }

    private static func error(of outcome: KernelOutcome) -> CUDAError? {
        switch outcome {
        case .completed: nil
        case .illegalAddress: CUDAError(CUDA_ERROR_ILLEGAL_ADDRESS)
        case .misalignedAddress: CUDAError(CUDA_ERROR_MISALIGNED_ADDRESS)
        case .assertFailed: CUDAError(CUDA_ERROR_ASSERT)
        case .illegalInstruction: CUDAError(CUDA_ERROR_ILLEGAL_INSTRUCTION)
        case .stackOverflow: CUDAError(CUDA_ERROR_HARDWARE_STACK_ERROR)
        case .trapped, .cancelled, .outOfResources: CUDAError(CUDA_ERROR_LAUNCH_FAILED)
        }
    }

    /// The functions that kernels call.
    ///
    /// SAFETY: a kernel runs as work of a stream, and the stream holds this object.
    private var services: KernelServices {
        KernelServices(
            context: Unmanaged.passUnretained(self).toOpaque(),
            vprintf: { context, format, arguments in
                guard let format, let arguments, let environment = KernelEnvironment.from(context) else { return -1 }
                // Formatted before anything is locked: a bad pointer among the arguments ends the kernel here.
                environment.output.append(formatPrintf(format: format, arguments: arguments))
                return printfArgumentCount(format)
            },
            assertFail: { _, message, file, line, function, block, thread in
                KernelOutput.report(assertText(message, file, line, function, block, thread))
            },
            allocate: { context, byteCount in
                guard let address = KernelEnvironment.from(context)?.heap.allocate(byteCount) else { return nil }
                return pointer(address)
            },
            release: { context, memory in
                KernelEnvironment.from(context)?.heap.release(UInt64(UInt(bitPattern: memory)))
            })
    }

    private static func from(_ context: UnsafeMutableRawPointer?) -> KernelEnvironment? {
        context.map { Unmanaged<KernelEnvironment>.fromOpaque($0).takeUnretainedValue() }
    }
}

/// What `printf` returns in a kernel: the number of its arguments.
private func printfArgumentCount(_ format: UnsafePointer<CChar>) -> Int32 {
    var count: Int32 = 0
    var next = format
    while next.pointee != 0 {
        if next.pointee == UInt8(ascii: "%") {
            next += 1
            if next.pointee == 0 { break }
            if next.pointee != UInt8(ascii: "%") { count += 1 }
        }
        next += 1
    }
    return count
}

/// A failed assertion in the words of CUDA's drivers.
private func assertText(
    _ message: UnsafePointer<CChar>?, _ file: UnsafePointer<CChar>?, _ line: UInt32, _ function: UnsafePointer<CChar>?,
    _ block: UnsafePointer<UInt32>?, _ thread: UnsafePointer<UInt32>?
) -> String {
    func text(_ characters: UnsafePointer<CChar>?) -> String { characters.map { String(cString: $0) } ?? "" }
    func triple(_ values: UnsafePointer<UInt32>?) -> String {
        values.map { "[\($0[0]),\($0[1]),\($0[2])]" } ?? "[0,0,0]"
    }
    return "\(text(file)):\(line): \(text(function)): block: \(triple(block)), thread: \(triple(thread)) "
        + "Assertion `\(text(message))` failed."
}
