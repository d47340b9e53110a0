// SPDX-License-Identifier: Apache-2.0

/// How long somebody waits for GPUs: `10` and `10s` seconds, `10m`, `10h`, or a combination such as `1h30m`.
package struct WaitTime: Sendable, Equatable, CustomStringConvertible {
    /// A week: a longer wait is a typing error.
    package static let secondsMax = 7 * 24 * 3600
    /// What is waited when nothing is said: 30 minutes.
    package static let standard = WaitTime(seconds: 1800)

    /// 0: not at all.
    package let seconds: Int

    package init(seconds: Int) { self.seconds = seconds }

    /// Fails for anything else, for a unit that comes twice, and for times above ``secondsMax``.
    package init?(_ text: String) {
        var total = 0
        var digits = ""
        var units: [Character] = []
        for character in text {
            if character.isASCII, character.isNumber {
                digits.append(character)
                continue
            }
            guard let factor = ["s": 1, "m": 60, "h": 3600][character], let number = Int(digits),
                number <= WaitTime.secondsMax, !units.contains(character)
            else { return nil }
            units.append(character)
            total += number * factor
            digits = ""
        }
        if !digits.isEmpty {
            // A number without a unit counts seconds, and stands alone: 1h30 could mean two things.
            guard units.isEmpty, let number = Int(digits) else { return nil }
            total = number
        } else if units.isEmpty {
            return nil
        }
        guard total <= WaitTime.secondsMax else { return nil }
        seconds = total
    }

    package var description: String {
        let parts = [(seconds / 3600, "h"), (seconds % 3600 / 60, "m"), (seconds % 60, "s")].filter { $0.0 > 0 }
        return parts.isEmpty ? "0s" : parts.map { "\($0.0)\($0.1)" }.joined()
    }
}
