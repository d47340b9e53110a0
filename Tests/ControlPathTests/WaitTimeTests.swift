// SPDX-License-Identifier: Apache-2.0
import Pool
import Testing

@Suite struct WaitTimeTests {
    @Test(arguments: [
        ("10", 10), ("10s", 10), ("10m", 600), ("10h", 36000), ("1h30m", 5400), ("1h1m1s", 3661), ("0", 0), ("0s", 0),
        ("168h", 604_800),
    ])
    // CLI-10, CLI-11.
    func readsATime(text: String, seconds: Int) {
        #expect(WaitTime(text)?.seconds == seconds)
    }

    @Test(arguments: [
        "", "s", "-1", "+1", "1.5h", "10x", "1h30", "1m1m", "10 s", "h1", "169h", "99999999999999999999",
        "99999999999h", "١٠",
    ])
    func refusesWhatIsNoTime(text: String) {
        #expect(WaitTime(text) == nil)
    }

    @Test(arguments: [(0, "0s"), (10, "10s"), (1800, "30m"), (5400, "1h30m"), (3661, "1h1m1s")])
    func writesWhatItReads(seconds: Int, text: String) {
        #expect(WaitTime(seconds: seconds).description == text)
        #expect(WaitTime(text) == WaitTime(seconds: seconds))
    }
}
