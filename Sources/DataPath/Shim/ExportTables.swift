// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Glibc

/// The 16 bytes by which a runtime asks for a table.
struct TableID: Hashable {
    let high: UInt64
    let low: UInt64

    /// The bytes in memory order, as two numbers that read like the bytes.
    init(_ high: UInt64, _ low: UInt64) {
        self.high = high
        self.low = low
    }

    init(_ bytes: UnsafeRawPointer) {
        high = UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self))
        low = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
    }
}

/// The tables behind `cuGetExportTable`: functions without a public name that NVIDIA's runtime and libraries call.
///
/// A table is an array of words: the first is its length in bytes, then come functions. Callers reach past the length
/// without a look at it, so tables are long and every unknown place holds a function that returns 0. The one length
/// that is checked is the integrity table's. They live as long as the process. What each function does was found by
/// watching unmodified runtimes and libraries call a driver.
struct ExportTables: Sendable {
    /// Words of each table, the length included.
    ///
    /// The longest that is known has 64.
    private static let wordCount = 128

    /// The length that the integrity table states, in words.
    ///
    /// Runtimes 11.x refuse every call with cudaErrorSoftwareValidityNotEstablished if it is anything else; later ones
    /// do not mind.
    private static let integrityWordCount = 3

    static let shared = ExportTables()

    private let addresses: [TableID: UInt]
    let runtime: UInt
    let integrity: UInt
    let integrityFunction: UInt

    private init() {
        integrityFunction = TableSlots.integrity
        runtime = Self.sized([
            1: TableSlots.loadFromWrapper, 2: TableSlots.primaryContext, 6: TableSlots.loadFromWrapper,
            8: TableSlots.loadFromContainer,
        ])
        integrity = Self.sized([1: integrityFunction], statedWordCount: Self.integrityWordCount)
        addresses = [
            TableID(0x6bd5fb6c_5bf4e74a, 0x8987d939_12fd9df9): runtime,
            TableID(0xa094798c_2e742e74, 0x93f20800_200c0a66): Self.sized([
                2: TableSlots.callHooks, 6: TableSlots.otherHooks,
            ]),
            TableID(0x42d85a81_23f6cb47, 0x8298f6e7_8a3aecdc): Self.sized([2: TableSlots.currentContext]),
            TableID(0xc693336e_1121df11, 0xa8c368f3_55d89593): Self.unsized([
                TableSlots.storagePut, TableSlots.storageDelete, TableSlots.storageGet,
            ]),
            TableID(0x263e8860_7cd26143, 0x92f6bbd5_006dfa7e): Self.sized([2: TableSlots.checkContext]),
            TableID(0xd4082055_bde6704b, 0x8d34ba12_3c66e1f2): integrity,
            TableID(0x21318c60_97143248, 0x8ca641ff_7324c8f2): Self.sized([4: TableSlots.contextID]),
            TableID(0x6e163fbe_b958444d, 0x835ce182_aff1991e): Self.sized([7: TableSlots.enumerateFunctions]),
            // Asked by the profiling library, which gives up politely when the table is there and recurses without end
            // if not.
            TableID(0x7cb63f9b_9ca48e42, 0xa484beb6_6e6aed7f): Self.sized([:]),
        ]
    }

    func address(of id: TableID) -> UnsafeRawPointer? { addresses[id].flatMap(UnsafeRawPointer.init(bitPattern:)) }

    private static func sized(_ slots: [Int: UInt], statedWordCount: Int = wordCount) -> UInt {
        let words = UnsafeMutablePointer<UInt>.allocate(capacity: wordCount)
        words.initialize(repeating: TableSlots.unknown, count: wordCount)
        words[0] = UInt(statedWordCount * MemoryLayout<UInt>.size)
        for (slot, function) in slots { words[slot] = function }
        return UInt(bitPattern: words)
    }

    /// A table without a length, ended by NULL.
    private static func unsized(_ functions: [UInt]) -> UInt {
        let words = UnsafeMutablePointer<UInt>.allocate(capacity: functions.count + 1)
        for (index, function) in functions.enumerated() { (words + index).initialize(to: function) }
        (words + functions.count).initialize(to: 0)
        return UInt(bitPattern: words)
    }
}
