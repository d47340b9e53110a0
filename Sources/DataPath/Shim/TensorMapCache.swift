// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver

/// What was asked of tensor maps, and what the answer depends on: nothing else.
enum TensorMapRequest: Hashable, Sendable {
    case encode(TensorMapDescription)
    case replaceAddress(TensorMap, CUdeviceptr)
    case setAllocationClass(TensorMap, UInt32)
}

/// Tensor maps that a driver has made, so that a program which makes the same one for every launch asks once.
///
/// When there are too many, those go that were not used since as many others came.
struct TensorMapCache {
    struct Key: Hashable {
        /// GPUs of two kinds understand different maps.
        let device: Int32
        let request: TensorMapRequest
    }

    struct Answer {
        let map: TensorMap
        /// A CUtensorMapAllocClass, for the call that tells it.
        var allocClass: UInt32 = 0
    }

    /// Maps of each of two generations: about 0.4 KiB each, and more than the layers of a large model use.
    static let generationMax = 1024

    private var young: [Key: Answer] = [:]
    private var old: [Key: Answer] = [:]

    var count: Int { young.count + old.count }

    mutating func answer(to key: Key) -> Answer? {
        if let answer = young[key] { return answer }
        guard let answer = old[key] else { return nil }
        insert(answer, for: key)
        return answer
    }

    mutating func insert(_ answer: Answer, for key: Key) {
        if young.count >= Self.generationMax {
            old = young
            young.removeAll(keepingCapacity: true)
        }
        young[key] = answer
    }
}
