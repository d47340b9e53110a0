// SPDX-License-Identifier: Apache-2.0
import CCUDA
package import Driver
import Glibc

/// Which of a fat binary's entries some devices can use, and what the application's environment says of it.
///
/// The rules are those of CUDA's documentation ("Application Compatibility"): machine code runs on devices of its
/// major version whose minor version is not lower, PTX on devices of its version and all later ones, and of those that
/// run the closest is taken. What NVIDIA's driver would choose is always among what is chosen here.
package struct CodeSelection: Sendable {
    /// What CUDA_FORCE_PTX_JIT and CUDA_DISABLE_PTX_JIT ask for.
    package enum Compilation: Equatable, Sendable {
        case asNeeded
        /// Machine code is passed over.
        case always
        /// PTX is passed over.
        case never
    }

    /// A device as far as code is concerned.
    package struct Target: Hashable, Sendable {
        /// 90 for compute capability 9.0.
        package let capability: Int
        package let takesMachineCode: Bool

        package init(capability: Int, takesMachineCode: Bool) {
            self.capability = capability
            self.takesMachineCode = takesMachineCode
        }
    }

    package let targets: [Target]
    package let compilation: Compilation

    package init(targets: [Target], compilation: Compilation = .asNeeded) {
        self.targets = targets
        self.compilation = compilation
    }

    /// Of all devices that a driver has: a program may use any of them.
    package init(_ description: DriverDescription, compilation: Compilation) {
        let all = Set(
            description.devices.map { device in
                Target(
                    capability: 10 * Int(device[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR])
                        + Int(device[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR]),
                    takesMachineCode: !device.isSoftware)
            })
        self.init(
            targets: all.sorted { $0.capability < $1.capability },
            compilation: compilation)
    }

    /// The entries to load; the log says why there are none.
    ///
    /// CUDA_ERROR_NO_BINARY_FOR_GPU without one, CUDA_ERROR_JIT_COMPILATION_DISABLED when there would be PTX.
    package func entries(of binary: FatBinary, log: inout JITLog) throws(CUDAError) -> [FatBinary.Entry] {
        var wanted: Set<Int> = []
        for target in targets { wanted.formUnion(entries(of: binary, for: target)) }
        if wanted.isEmpty, let target = targets.first { try refuse(binary, target, &log) }
        return binary.entries.indices.filter { wanted.contains($0) }.map { binary.entries[$0] }
    }

    /// The positions of what a device may use.
    private func entries(of binary: FatBinary, for target: Target) -> [Int] {
        func closest(_ kind: FatBinary.Kind) -> [Int] {
            let fitting = binary.entries.indices.filter { index in
                binary.entries[index].kind == kind && fits(binary.entries[index], target)
            }
            let best = fitting.map { binary.entries[$0].architecture }.max()
            return fitting.filter { binary.entries[$0].architecture == best }
        }
        let code = target.takesMachineCode && compilation != .always ? closest(.machineCode) : []
        guard compilation != .never else { return code }
        let chosen = code + closest(.ptx)
        // What only the driver can look into goes along where nothing else fits.
        return binary.entries.indices.filter { index in
            switch binary.entries[index].kind {
            case .ptx, .machineCode: chosen.contains(index)
            case .group: !target.takesMachineCode || chosen.isEmpty
            case .other: target.takesMachineCode && chosen.isEmpty
            }
        }
    }

    private func fits(_ entry: FatBinary.Entry, _ target: Target) -> Bool {
        if entry.isForOneArchitecture { return entry.architecture == target.capability }
        let isOfMajor = entry.architecture / 10 == target.capability / 10
        if entry.kind == .machineCode || entry.isForFamily {
            return isOfMajor && entry.architecture <= target.capability
        }
        return entry.architecture <= target.capability
    }

    private func refuse(_ binary: FatBinary, _ target: Target, _ log: inout JITLog) throws(CUDAError) -> Never {
        let names = binary.entries.filter { $0.kind == .ptx || $0.kind == .machineCode }.map(\.name).joined(
            separator: ", ")
        let takes =
            switch (compilation, target.takesMachineCode) {
            case (.always, true): "CUDA_FORCE_PTX_JIT leaves it PTX only"
            case (.never, true): "CUDA_DISABLE_PTX_JIT leaves it machine code only"
            case (.never, false): "it executes PTX only, which CUDA_DISABLE_PTX_JIT switches off"
            case (_, false):
                "it executes PTX only; compile with that inside, as with -arch=compute_\(target.capability)"
            case (.asNeeded, true): "compile for it, as with -arch=sm_\(target.capability)"
            }
        log.error +=
            "This fat binary has code for \(names.isEmpty ? "no GPU" : names); the GPU has compute capability "
            + "\(target.capability / 10).\(target.capability % 10), and \(takes).\n"
        let hasText = binary.entries.contains { $0.kind != .machineCode && ($0.kind != .ptx || fits($0, target)) }
        throw CUDAError(
            compilation == .never && hasText ? CUDA_ERROR_JIT_COMPILATION_DISABLED : CUDA_ERROR_NO_BINARY_FOR_GPU)
    }
}

extension CodeSelection.Compilation {
    /// What the process's environment says; where both are set, PTX is passed over.
    package static func ofProcess() -> Self {
        func isSet(_ names: String...) -> Bool {
            names.contains { name in getenv(name).map { (Int(String(cString: $0)) ?? 0) != 0 } ?? false }
        }
        if isSet("CUDA_DISABLE_PTX_JIT", "CUDA_DISABLE_JIT") { return .never }
        return isSet("CUDA_FORCE_PTX_JIT", "CUDA_FORCE_JIT") ? .always : .asNeeded
    }
}

/// The bytes of an image that are loaded, in their places in the application's memory.
///
/// SAFETY: the pieces are the caller's memory; they are used only while it holds it.
package struct SelectedImage {
    /// A container's header in place of the application's; empty when the image is taken as it is.
    package let head: [UInt8]
    package let pieces: [UnsafeRawBufferPointer]

    package var byteCount: Int { pieces.reduce(head.count) { $0 + $1.count } }
    /// Whether the image is what the application has given.
    package var isWhole: Bool { head.isEmpty }

    package init(whole image: UnsafeRawBufferPointer) {
        self.init(head: [], pieces: [image])
    }

    /// Takes of a fat binary what is selected, and anything else as it is.
    package init(_ image: UnsafeRawBufferPointer, _ selection: CodeSelection, log: inout JITLog) throws(CUDAError) {
        guard let binary = FatBinary(image) else {
            self.init(whole: image)
            return
        }
        let entries = try selection.entries(of: binary, log: &log)
        guard entries != binary.entries else {
            self.init(whole: image)
            return
        }
        var ranges: [Range<Int>] = []
        for entry in entries {
            if let last = ranges.last, last.upperBound == entry.range.lowerBound {
                ranges[ranges.count - 1] = last.lowerBound..<entry.range.upperBound
            } else {
                ranges.append(entry.range)
            }
        }
        self.init(
            head: FatBinary.header(contentBytes: ranges.reduce(0) { $0 + $1.count }),
            pieces: ranges.map { UnsafeRawBufferPointer(rebasing: image[$0]) })
    }

    private init(head: [UInt8], pieces: [UnsafeRawBufferPointer]) {
        self.head = head
        self.pieces = pieces
    }

    /// Calls `body` with each piece in turn, the head first.
    package func forEachPiece<Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Void
    ) throws(Failure) {
        if !head.isEmpty { try head.span.bytes.withUnsafeBytes { bytes throws(Failure) in try body(bytes) } }
        for piece in pieces { try body(piece) }
    }

    /// Writes all of it to memory that is as large.
    package func copy(to target: UnsafeMutableRawBufferPointer) {
        var offset = 0
        forEachPiece { piece in
            UnsafeMutableRawBufferPointer(rebasing: target[offset..<offset + piece.count]).copyMemory(from: piece)
            offset += piece.count
        }
    }
}
