// SPDX-License-Identifier: Apache-2.0
import CSoftGPU

/// Where compiled code finds the fields of `sg_block` and `sg_thread`.
enum BlockField {
    static func offset(_ field: PartialKeyPath<sg_block>) -> Int { MemoryLayout<sg_block>.offset(of: field) ?? 0 }

    static let parameters = offset(\.parameters)
    static let threads = offset(\.threads)
    static let frames = offset(\.frames)
    static let frameStride = offset(\.frame_stride)
    static let frameNeeded = offset(\.frame_needed)
    static let ntid = offset(\.ntid)
    static let ctaid = offset(\.ctaid)
    static let nctaid = offset(\.nctaid)
    static let processor = offset(\.processor)
    static let dynamicShared = offset(\.dynamic_shared)
    static let totalShared = offset(\.total_shared)
    static let grid = offset(\.grid)
    static let cooperation = offset(\.cooperation)
}

enum ThreadField {
    static func offset(_ field: PartialKeyPath<sg_thread>) -> Int { MemoryLayout<sg_thread>.offset(of: field) ?? 0 }

    static let wait = offset(\.wait)
    static let mask = offset(\.mask)
    static let a = offset(\.a)
    static let b = offset(\.b)
    static let c = offset(\.c)
    static let result = offset(\.result)
    static let predicate = offset(\.predicate)
    static let value = offset(\.value)
}
