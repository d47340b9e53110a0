// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import Shim

@Suite struct MD2Tests {
    @Test(arguments: [
        ("", "8350e5a3e24c153df2275c9f80692773"),
        ("a", "32ec01ec4a6dac72c0ab96fb34c0b5d1"),
        ("abc", "da853b0d3f88d99b30283a69e6ded6bb"),
        ("message digest", "ab4f496bfb2a530b219ff33031fe06b0"),
        ("abcdefghijklmnopqrstuvwxyz", "4e8ddff3650292ab5a4108c3aa47940b"),
        (
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
            "da33def2a42df13975352846c30338cd"
        ),
        (
            "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
            "d5976f79d83d3a0dc9806c3c66f3efd8"
        ),
    ])
    func digestsTheVectorsOfItsRFC(message: String, expected: String) {
        #expect(hexadecimal(MD2.digest(Array(message.utf8))) == expected)
    }

    @Test func derivesThePermutationFromPi() {
        #expect(MD2.substitution.sorted() == (0..<256).map { UInt8($0) })
        #expect(MD2.substitution[..<8] == [0x29, 0x2e, 0x43, 0xc9, 0xa2, 0xd8, 0x7c, 0x01])
        #expect(MD2.substitution[248...] == [0xdb, 0x99, 0x8d, 0x33, 0x9f, 0x11, 0x83, 0x14])
    }

    @Test func authenticatesWithTheKeyOnBothSides() {
        let key = Array("key".utf8)
        let padded = key + [UInt8](repeating: 0, count: 13)
        let inner = MD2.digest(padded.map { $0 ^ 0x36 } + Array("text".utf8))
        #expect(MD2.authenticationCode(key: key, Array("text".utf8)) == MD2.digest(padded.map { $0 ^ 0x5c } + inner))
    }

    @Test func hashesAKeyLongerThanABlock() {
        let key = [UInt8](repeating: 7, count: 17)
        #expect(
            MD2.authenticationCode(key: key, [1]) == MD2.authenticationCode(key: MD2.digest(key), [1]))
    }

    private func hexadecimal(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
