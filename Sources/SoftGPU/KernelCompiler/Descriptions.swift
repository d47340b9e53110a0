// SPDX-License-Identifier: Apache-2.0

/// What a caller must know of a kernel to launch it and to answer `cuFuncGetAttribute`.
package struct KernelDescription: Sendable {
    package let name: String
    /// Where each parameter lies in the parameter buffer, in bytes.
    package let parameters: [(offset: Int, size: Int)]
    package let parameterBytes: Int
    package let staticSharedBytes: Int
    /// Stack memory of one thread that the PTX text declares.
    package let localBytes: Int
    /// Constant memory of the whole module.
    package let constBytes: Int
    package let maxThreadsPerBlock: Int
    /// An estimate: the software GPU has no register file.
    package let registers: Int
    /// 95 for `.version 9.5`.
    package let ptxVersion: Int
    /// 75 for `.target sm_75`.
    package let target: Int
}

/// A `.global` or `.const` variable of the module, for which the caller finds memory.
package struct VariableDescription: Sendable {
    package let name: String
    package let size: Int
    package let alignment: Int
    package let isConstant: Bool
}

/// A `.texref` or `.surfref` of the module, whose handle every launch gives.
package struct ReferenceDescription: Sendable {
    package let name: String
    package let isSurface: Bool
}

extension KernelDescription {
    /// Where in a launch's parameter block the handles of the module's references begin, 8 bytes each.
    package var referenceOffset: Int { KernelLayout.align(parameterBytes, 8) }
}

/// The geometry of a launch.
package struct LaunchShape: Sendable {
    package var grid: (UInt32, UInt32, UInt32)
    package var block: (UInt32, UInt32, UInt32)
    package var dynamicSharedBytes: Int
    package var isCooperative: Bool

    package init(
        grid: (UInt32, UInt32, UInt32), block: (UInt32, UInt32, UInt32), dynamicSharedBytes: Int = 0,
        isCooperative: Bool = false
    ) {
        self.grid = grid
        self.block = block
        self.dynamicSharedBytes = dynamicSharedBytes
        self.isCooperative = isCooperative
    }
}

/// How a launch ended.
package enum KernelOutcome: Sendable, Equatable {
    case completed
    case illegalAddress(UInt64)
    case misalignedAddress
    /// `trap`, or a block whose threads all wait for something that can never come.
    case trapped
    case assertFailed
    case illegalInstruction
    case stackOverflow
    case cancelled
    /// The machine has no memory for the threads of a block.
    case outOfResources
}
