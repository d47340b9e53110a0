// SPDX-License-Identifier: Apache-2.0
import Content
import Testing

/// Transfers over made-up networks, in made-up time.
@Suite struct CompressionChoiceTests {
    /// Seconds for 256 parts of 512 KiB over a network with so many bytes a second, through a socket that takes a buffer
    /// ahead; and how many of the parts were compressed.
    private func transfer(
        network: Double, compression: Double = 400e6, ratio: Double = 0.5, buffer: Double = 2e6
    ) -> (seconds: Double, compressedParts: Int) {
        var choice = CompressionChoice()
        let (parts, part) = (256, 512.0 * 1024)
        var (time, queued, compressedParts) = (0.0, 0.0, 0)
        var lastLook = 0.0
        func pass(_ seconds: Double) {
            time += seconds
            queued = max(0, queued - seconds * network)
        }
        for _ in 0..<parts {
            let before = queued
            var count = part
            if choice.compressesNext {
                compressedParts += 1
                count = part * ratio
                pass(part / compression)
                choice.compressed(bytes: Int(part), to: Int(count), seconds: part / compression)
            }
            // Written at the speed of memory, and then as the network makes room.
            pass(count / 5e9)
            queued += count
            if queued > buffer { pass((queued - buffer) / network) }
            choice.network(took: Int(before + count - queued), seconds: time - lastLook, left: Int(queued))
            lastLook = time
        }
        return (time + queued / network, compressedParts)
    }

    private let bytes = 256 * 512.0 * 1024

    @Test(arguments: [1.25e6, 12.5e6, 125e6])
    func compressesOverSlowNetworks(network: Double) {
        let found = transfer(network: network)
        #expect(found.compressedParts > 240)
        #expect(found.seconds < 0.6 * bytes / network)
    }

    @Test(arguments: [1.25e9, 5e9])
    func sendsOverFastNetworksAsItIs(network: Double) {
        let found = transfer(network: network)
        #expect(found.compressedParts < 10)
        #expect(found.seconds < 1.1 * bytes / network + 256 * 512 * 1024 / 5e9)
    }

    @Test(arguments: [1.25e6, 125e6])
    func givesUpWhereNothingGetsSmaller(network: Double) {
        let found = transfer(network: network, ratio: 1)
        #expect(found.compressedParts < 20)
        #expect(found.seconds < 1.05 * bytes / network)
    }
}
