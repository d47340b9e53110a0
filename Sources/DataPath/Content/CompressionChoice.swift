// SPDX-License-Identifier: Apache-2.0

/// Decides for each part of a transfer whether to compress it: whether the network then has it sooner.
///
/// What is known is measured: how fast the network took the parts so far, how fast they were compressed, and to how
/// much. A network that has nothing left of the earlier parts waits for the sender, and its speed does not show: the
/// next part then goes as it is.
package struct CompressionChoice {
    /// By so much it must be faster.
    private static let gain = 1.2
    /// How much of an earlier estimate a new one leaves.
    private static let inertia = 0.5

    /// Bytes a second that the network takes; nil before it was seen.
    private var networkRate: Double?
    /// Bytes a second that are compressed: what one core does at the least, until it was measured.
    private var compressionRate = 300e6
    /// What is left of a byte.
    private var ratio = 0.5
    private var hasRunDry = false

    package init() {}

    package var compressesNext: Bool {
        guard let networkRate, !hasRunDry else { return false }
        return min(compressionRate, networkRate / ratio) > networkRate * Self.gain
    }

    /// A part was compressed.
    package mutating func compressed(bytes: Int, to count: Int, seconds: Double) {
        let rate = Double(bytes) / max(seconds, 1e-9)
        compressionRate = compressionRate * Self.inertia + rate * (1 - Self.inertia)
        ratio = ratio * Self.inertia + Double(count) / Double(bytes) * (1 - Self.inertia)
    }

    /// What the network has taken since it was looked at last, and how much it has still to take.
    package mutating func network(took bytes: Int, seconds: Double, left: Int) {
        let rate = Double(bytes) / max(seconds, 1e-9)
        hasRunDry = left == 0
        guard let known = networkRate else {
            networkRate = rate
            return
        }
        // Where nothing is left it could have taken more.
        networkRate = left == 0 ? max(known, rate) : known * Self.inertia + rate * (1 - Self.inertia)
    }
}
