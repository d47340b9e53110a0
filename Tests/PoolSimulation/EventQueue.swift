// SPDX-License-Identifier: Apache-2.0
import Scheduling

/// Events by their time; those of one time in their order.
struct EventQueue {
    private var items: [(time: Scheduler.Instant, order: Int, message: PoolSimulation.Message)] = []
    private var order = 0

    mutating func push(_ time: Scheduler.Instant, _ message: PoolSimulation.Message) {
        items.append((time, order, message))
        order += 1
        var index = items.count - 1
        while index > 0, isBefore(index, (index - 1) / 2) {
            items.swapAt(index, (index - 1) / 2)
            index = (index - 1) / 2
        }
    }

    mutating func pop() -> (Scheduler.Instant, PoolSimulation.Message)? {
        guard let first = items.first else { return nil }
        let last = items.removeLast()
        if !items.isEmpty {
            items[0] = last
            var index = 0
            while true {
                let children = [2 * index + 1, 2 * index + 2].filter { $0 < items.count }
                guard let least = children.min(by: { isBefore($0, $1) }), isBefore(least, index) else { break }
                items.swapAt(least, index)
                index = least
            }
        }
        return (first.time, first.message)
    }

    private func isBefore(_ first: Int, _ second: Int) -> Bool {
        (items[first].time, items[first].order) < (items[second].time, items[second].order)
    }
}
