// SPDX-License-Identifier: Apache-2.0
import Synchronization

/// Launches a scheduled graph by the calls that enqueue single works, on any driver.
///
/// It keeps the streams of the other lanes and the events between them from the first launch on. The launches of one
/// graph follow each other, whichever streams they go to, as CUDA demands.
package final class GraphPlayer: Sendable {
    private struct Resources {
        /// The stream of each lane; lane 0 has one only for launches from another context.
        var streams: [StreamHandle?]
        /// The events of the nodes that another lane waits for.
        var events: [EventHandle?]
        /// For each context from which the graph was launched: when a launch began.
        var starts: [ContextHandle: EventHandle] = [:]
        /// When the last launch was over, for each context from which there was one.
        var dones: [ContextHandle: EventHandle] = [:]
        /// Where the last launch went.
        var last: (context: ContextHandle, stream: StreamHandle)?
    }

    private let schedule: GraphSchedule
    private let resources: Mutex<Resources>

    /// CU_EVENT_DISABLE_TIMING and CU_STREAM_NON_BLOCKING.
    private static var eventFlags: UInt32 { 2 }
    private static var streamFlags: UInt32 { 1 }

    package init(_ schedule: GraphSchedule) {
        self.schedule = schedule
        resources = Mutex(
            Resources(
                streams: [StreamHandle?](repeating: nil, count: schedule.lanes.count),
                events: [EventHandle?](repeating: nil, count: schedule.steps.count)))
    }

    /// Enqueues every node, by `perform`, and has the stream wait for all of them.
    ///
    /// `begin` enqueues what comes before all nodes and behind the launch before.
    /// The lock is held meanwhile: two launches of one graph must not mix.
    package func play(
        on driver: some Driver, _ context: ContextHandle, _ stream: StreamHandle,
        begin: () throws(CUDAError) -> Void = {},
        perform: (_ node: Int, ContextHandle, StreamHandle) throws(CUDAError) -> Void
    ) throws(CUDAError) {
        try resources.withLock { resources throws(CUDAError) in
            if let last = resources.last, last != (context, stream), let done = resources.dones[last.context] {
                try driver.cuStreamWaitEvent(context, hStream: stream, hEvent: done, flags: 0)
            }
            try begin()
            let isAtHome = context == schedule.lanes[0]
            if schedule.lanes.count > 1 || !isAtHome {
                let start = try Self.event(&resources.starts[context], driver, context)
                try driver.cuEventRecordWithFlags(context, hEvent: start, hStream: stream, flags: 0)
                if !isAtHome {
                    let lane = try laneStream(0, driver, &resources)
                    try driver.cuStreamWaitEvent(schedule.lanes[0], hStream: lane, hEvent: start, flags: 0)
                }
            }
            var last: Int?
            for (node, step) in schedule.steps.enumerated() {
                let lane = schedule.lanes[step.lane]
                let target = step.lane == 0 && isAtHome ? stream : try laneStream(step.lane, driver, &resources)
                if step.awaitsStart, let start = resources.starts[context] {
                    try driver.cuStreamWaitEvent(lane, hStream: target, hEvent: start, flags: 0)
                }
                try wait(for: step.awaited, lane, target, driver, resources)
                try perform(node, lane, target)
                if step.lane == 0 { last = node }
                if schedule.isAwaited[node] { try record(node, lane, target, driver, &resources) }
            }
            if !isAtHome, let last {
                try record(last, schedule.lanes[0], try laneStream(0, driver, &resources), driver, &resources)
                try wait(for: [last], context, stream, driver, resources)
            }
            try wait(for: schedule.ends, context, stream, driver, resources)
            let done = try Self.event(&resources.dones[context], driver, context)
            try driver.cuEventRecordWithFlags(context, hEvent: done, hStream: stream, flags: 0)
            resources.last = (context, stream)
        }
    }

    /// Has `body` called on a thread of the driver's when the last launch is over; at once without one.
    package func afterLastLaunch(on driver: some Driver, _ body: @escaping @Sendable () -> Void) {
        let isEnqueued = resources.withLock { resources in
            guard let last = resources.last, let done = resources.dones[last.context] else { return false }
            do throws(CUDAError) {
                let stream = try driver.cuStreamCreateWithPriority(last.context, flags: Self.streamFlags, priority: 0)
                try driver.cuStreamWaitEvent(last.context, hStream: stream, hEvent: done, flags: 0)
                try driver.cuLaunchHostFunc(last.context, stream: stream, function: body)
                try driver.cuStreamDestroy_v2(last.context, hStream: stream)
                return true
            } catch {
                // The context has ended, and with it the work.
                return false
            }
        }
        if !isEnqueued { body() }
    }

    /// Gives up streams and events; work that was launched goes on to its end.
    ///
    /// What belongs to a context that has ended went with it: failures are of no interest.
    package func end(on driver: some Driver) {
        resources.withLock { resources in
            for (lane, stream) in resources.streams.enumerated() {
                guard let stream else { continue }
                try? driver.cuStreamDestroy_v2(schedule.lanes[lane], hStream: stream)
            }
            for (node, event) in resources.events.enumerated() {
                guard let event else { continue }
                try? driver.cuEventDestroy_v2(schedule.lanes[schedule.steps[node].lane], hEvent: event)
            }
            for (context, event) in resources.starts { try? driver.cuEventDestroy_v2(context, hEvent: event) }
            for (context, event) in resources.dones { try? driver.cuEventDestroy_v2(context, hEvent: event) }
            resources = Resources(
                streams: resources.streams.map { _ in nil }, events: resources.events.map { _ in nil })
        }
    }

    private func laneStream(
        _ lane: Int, _ driver: some Driver, _ resources: inout Resources
    ) throws(CUDAError) -> StreamHandle {
        if let stream = resources.streams[lane] { return stream }
        let stream = try driver.cuStreamCreateWithPriority(
            schedule.lanes[lane], flags: Self.streamFlags, priority: 0)
        resources.streams[lane] = stream
        return stream
    }

    private static func event(
        _ event: inout EventHandle?, _ driver: some Driver, _ context: ContextHandle
    ) throws(CUDAError) -> EventHandle {
        if let event { return event }
        let made = try driver.cuEventCreate(context, flags: eventFlags)
        event = made
        return made
    }

    private func record(
        _ node: Int, _ context: ContextHandle, _ stream: StreamHandle, _ driver: some Driver,
        _ resources: inout Resources
    ) throws(CUDAError) {
        let event = try Self.event(&resources.events[node], driver, context)
        try driver.cuEventRecordWithFlags(context, hEvent: event, hStream: stream, flags: 0)
    }

    private func wait(
        for nodes: [Int], _ context: ContextHandle, _ stream: StreamHandle, _ driver: some Driver,
        _ resources: borrowing Resources
    ) throws(CUDAError) {
        for node in nodes {
            guard let event = resources.events[node] else { continue }
            try driver.cuStreamWaitEvent(context, hStream: stream, hEvent: event, flags: 0)
        }
    }
}
