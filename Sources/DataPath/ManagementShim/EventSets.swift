// SPDX-License-Identifier: Apache-2.0
import Management

/// The sets of events that a program has made, and what is registered in each: on a new connection to the server all of
/// it is registered anew.
struct EventSets {
    /// What callers take for an `nvmlEventSet_t`: a number that is no address shows up as such in a debugger.
    private static let base: UInt = 0x4556_0000

    /// The types of events by device, in sets by their number.
    private var registrations: [UInt32: [Int: UInt64]] = [:]
    private var last: UInt32 = 0

    /// The handle of a new set; nil when there are too many.
    mutating func make() -> UInt? {
        guard registrations.count < ManagementLimits.eventSetsMax else { return nil }
        last &+= 1
        registrations[last] = [:]
        return EventSets.base + UInt(last)
    }

    /// The number of a set; nil for everything that is none.
    func number(of handle: UnsafeMutableRawPointer?) -> UInt32? {
        let number = UInt32(exactly: UInt(bitPattern: handle) &- EventSets.base)
        return number.flatMap { registrations[$0] == nil ? nil : $0 }
    }

    func types(in number: UInt32) -> [Int: UInt64] { registrations[number] ?? [:] }

    mutating func add(_ types: UInt64, of device: Int, in number: UInt32) {
        registrations[number]?[device, default: 0] |= types
    }

    mutating func remove(_ number: UInt32) { registrations[number] = nil }

    /// Handles are not used again.
    mutating func removeAll() { registrations = [:] }
}
