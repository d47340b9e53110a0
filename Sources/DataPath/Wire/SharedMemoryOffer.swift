// SPDX-License-Identifier: Apache-2.0

/// How a client that runs on the worker's own machine finds the memory that they could share.
///
/// It follows the driver's description in the answer to a ``Hello`` that says that the client can do this. The client
/// connects to the name, which exists on this machine only, shows the key and is shown the proof; then it says on the
/// first connection which way it goes on.
package struct SharedMemoryOffer: Sendable, Equatable {
    /// Bytes of a key or a proof, each used once.
    package static let secretByteCount = 16
    /// A name of an abstract Unix socket, without the zero in front.
    package static let nameBytesMax = 64

    /// What the client says on the first connection: a byte.
    package enum Choice: UInt8, Sendable {
        case firstConnection = 0
        case sharedMemory = 1
    }

    package let name: String
    /// By which the worker knows the client.
    package let key: [UInt8]
    /// By which the client knows the worker.
    package let proof: [UInt8]

    package init(name: String, key: [UInt8], proof: [UInt8]) {
        precondition(key.count == Self.secretByteCount && proof.count == Self.secretByteCount, "secrets have 16 bytes")
        self.name = name
        self.key = key
        self.proof = proof
    }
}

extension PayloadWriter {
    package mutating func write(_ offer: SharedMemoryOffer) {
        write(text: offer.name)
        for byte in offer.key + offer.proof { write(byte) }
    }
}

extension WireReader {
    @_lifetime(self: copy self)
    package mutating func readSharedMemoryOffer() throws(WireError) -> SharedMemoryOffer {
        let name = try readText()
        guard name.utf8.count <= SharedMemoryOffer.nameBytesMax else {
            throw .tooLong(name.utf8.count, limit: SharedMemoryOffer.nameBytesMax)
        }
        let key = try read(count: SharedMemoryOffer.secretByteCount).withUnsafeBytes { Array($0) }
        let proof = try read(count: SharedMemoryOffer.secretByteCount).withUnsafeBytes { Array($0) }
        return SharedMemoryOffer(name: name, key: key, proof: proof)
    }
}
