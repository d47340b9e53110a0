// SPDX-License-Identifier: Apache-2.0

/// The message digest of RFC 1319, and HMAC (RFC 2104) over it.
enum MD2 {
    /// Bytes of a digest, and of the blocks that HMAC pads its key to.
    static let blockBytes = 16

    static func digest(_ message: [UInt8]) -> [UInt8] {
        let padding = blockBytes - message.count % blockBytes
        var padded = message + [UInt8](repeating: UInt8(padding), count: padding)
        padded += checksum(padded)
        var state = [UInt8](repeating: 0, count: 3 * blockBytes)
        for start in stride(from: 0, to: padded.count, by: blockBytes) {
            for index in 0..<blockBytes {
                state[blockBytes + index] = padded[start + index]
                state[2 * blockBytes + index] = padded[start + index] ^ state[index]
            }
            var last: UInt8 = 0
            for round in 0..<18 {
                for index in state.indices {
                    state[index] ^= substitution[Int(last)]
                    last = state[index]
                }
                last &+= UInt8(round)
            }
        }
        return Array(state[..<blockBytes])
    }

    static func authenticationCode(key: [UInt8], _ message: [UInt8]) -> [UInt8] {
        var block = key.count > blockBytes ? digest(key) : key
        block += [UInt8](repeating: 0, count: blockBytes - block.count)
        return digest(block.map { $0 ^ 0x5c } + digest(block.map { $0 ^ 0x36 } + message))
    }

    private static func checksum(_ padded: [UInt8]) -> [UInt8] {
        var sum = [UInt8](repeating: 0, count: blockBytes)
        var last: UInt8 = 0
        for (index, byte) in padded.enumerated() {
            sum[index % blockBytes] ^= substitution[Int(byte ^ last)]
            last = sum[index % blockBytes]
        }
        return sum
    }

    /// The permutation of the 256 bytes that RFC 1319 constructs from the digits of pi: a shuffle that takes its
    /// choices from the digits, as many of them as each choice needs, and passes over those that would favour small
    /// numbers.
    static let substitution: [UInt8] = {
        var digits = piDigits().makeIterator()
        func choice(below bound: Int) -> Int {
            while true {
                var number = 0
                var range = 1
                repeat {
                    // There are enough digits: the shuffle uses 722 of them.
                    number = number * 10 + (digits.next() ?? 0)
                    range *= 10
                } while range < bound
                if number < range / bound * bound { return number % bound }
            }
        }
        var table = (0..<256).map { UInt8($0) }
        for count in 2...256 { table.swapAt(choice(below: count), count - 1) }
        return table
    }()

    /// The first decimal digits of pi, 3 included, by Machin's formula: pi = 16 arctan(1/5) - 4 arctan(1/239).
    private static func piDigits() -> [Int] {
        // Each limb holds nine digits, the first one the integer part. The last two limbs take up the rounding.
        let limbCount = 90
        var pi = [Int](repeating: 0, count: limbCount)
        addArctangent(ofInverse: 5, times: 16, to: &pi)
        addArctangent(ofInverse: 239, times: -4, to: &pi)
        for index in pi.indices.reversed().dropLast() {
            let carry = (pi[index] >= 0 ? pi[index] : pi[index] - 999_999_999) / 1_000_000_000
            pi[index] -= carry * 1_000_000_000
            pi[index - 1] += carry
        }
        var digits = [pi[0]]
        for limb in pi[1..<limbCount - 2] {
            var divisor = 100_000_000
            while divisor > 0 {
                digits.append(limb / divisor % 10)
                divisor /= 10
            }
        }
        return digits
    }

    private static func addArctangent(ofInverse denominator: Int, times factor: Int, to sum: inout [Int]) {
        var power = [Int](repeating: 0, count: sum.count)
        power[0] = 1
        divide(&power, by: denominator)
        var odd = 1
        var sign = factor
        while power.contains(where: { $0 != 0 }) {
            var term = power
            divide(&term, by: odd)
            // Limbs stay far from the limits of Int: at most a thousand terms below 10^9, times 16.
            for index in sum.indices { sum[index] += sign * term[index] }
            divide(&power, by: denominator * denominator)
            odd += 2
            sign = -sign
        }
    }

    private static func divide(_ number: inout [Int], by divisor: Int) {
        var remainder = 0
        for index in number.indices {
            let dividend = remainder * 1_000_000_000 + number[index]
            number[index] = dividend / divisor
            remainder = dividend % divisor
        }
    }
}
