// SPDX-License-Identifier: Apache-2.0

/// What identifies bytes: their SHA-256.
///
/// Nothing weaker will do, since whoever finds two contents with one hash could have another client run his code.
package struct ContentHash: Hashable, Sendable {
    package static let byteCount = 32

    /// ``byteCount`` bytes.
    package let bytes: [UInt8]

    package init(bytes: [UInt8]) {
        precondition(bytes.count == ContentHash.byteCount, "a SHA-256 has 32 bytes")
        self.bytes = bytes
    }

    /// As it names a file.
    package var hexadecimal: String {
        bytes.map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
    }

    /// The hash of one piece; nil where nothing computes it.
    package init?(of bytes: UnsafeRawBufferPointer) {
        guard var hasher = ContentHasher() else { return nil }
        hasher.update(bytes)
        self = hasher.finish()
    }
}

/// Computes a ``ContentHash``, by OpenSSL's libcrypto, which uses the processor's instructions for it.
///
/// Its functions for this one algorithm need no set-up, neither of the library nor of what an application has
/// configured in it: they are computation only.
package struct ContentHasher: ~Copyable {
    /// libcrypto's SHA256_CTX has 112 bytes.
    private static let stateBytes = 256

    private struct Functions: Sendable {
        let start: @convention(c) (UnsafeMutableRawPointer) -> Int32
        let update: @convention(c) (UnsafeMutableRawPointer, UnsafeRawPointer?, Int) -> Int32
        let finish: @convention(c) (UnsafeMutablePointer<UInt8>, UnsafeMutableRawPointer) -> Int32

        init?() {
            guard let library = SystemLibrary("libcrypto.so.3", "libcrypto.so.1.1"),
                let start: @convention(c) (UnsafeMutableRawPointer) -> Int32 = library.function("SHA256_Init"),
                let update: @convention(c) (UnsafeMutableRawPointer, UnsafeRawPointer?, Int) -> Int32 =
                    library.function("SHA256_Update"),
                let finish: @convention(c) (UnsafeMutablePointer<UInt8>, UnsafeMutableRawPointer) -> Int32 =
                    library.function("SHA256_Final")
            else { return nil }
            self.start = start
            self.update = update
            self.finish = finish
        }
    }

    private static let functions = Functions()

    /// Whether this machine has libcrypto, which is loaded now.
    package static var isAvailable: Bool { functions != nil }

    private let functions: Functions
    private let state = UnsafeMutableRawPointer.allocate(byteCount: stateBytes, alignment: 16)

    /// Begins; nil without libcrypto.
    package init?() {
        guard let functions = ContentHasher.functions else { return nil }
        self.functions = functions
        _ = functions.start(state)
    }

    deinit { state.deallocate() }

    package mutating func update(_ bytes: UnsafeRawBufferPointer) {
        if !bytes.isEmpty { _ = functions.update(state, bytes.baseAddress, bytes.count) }
    }

    package consuming func finish() -> ContentHash {
        let bytes = [UInt8](unsafeUninitializedCapacity: ContentHash.byteCount) { target, count in
            if let base = target.baseAddress { _ = functions.finish(base, state) }
            count = ContentHash.byteCount
        }
        return ContentHash(bytes: bytes)
    }
}
