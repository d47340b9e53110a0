// SPDX-License-Identifier: Apache-2.0
import CSystem
import FoundationEssentials
import Glibc
import Manager
import Pool
import Synchronization
import Threads

/// Asks the management library for the state of the GPUs, in a process of its own that is kept: the daemon itself loads
/// no driver, and a library that hangs hangs that process.
final class ManagementSampler: Sendable {
    private struct State {
        var process: (pid: pid_t, input: Int32, output: Int32)?
        var last: (sample: ManagementSample, at: Int64)?
        /// After a failure it is not tried again before then.
        var again: Int64 = 0
    }

    /// A sample serves for so long.
    private static let freshMilliseconds: Int64 = 1_000
    private static let answerMilliseconds: Int64 = 3_000
    private static let retryMilliseconds: Int64 = 30_000
    private static let answerBytesMax = 1 << 20

    private let driver: DriverChoice
    private let state = Mutex(State())

    init(driver: DriverChoice) { self.driver = driver }

    /// The state of the GPUs now, or nil when the library does not tell.
    func sample() -> ManagementSample? {
        state.withLock { state in
            let now = monotonicMilliseconds()
            if let last = state.last, now - last.at < ManagementSampler.freshMilliseconds { return last.sample }
            guard now >= state.again else { return nil }
            guard let sample = ask(&state) else {
                end(&state)
                state.again = now + ManagementSampler.retryMilliseconds
                return nil
            }
            state.last = (sample, now)
            return sample
        }
    }

    func stop() { state.withLock { end(&$0) } }

    private func ask(_ state: inout State) -> ManagementSample? {
        if state.process == nil { state.process = start() }
        guard let process = state.process, write(process.input, "\n", 1) == 1,
            let line = readLine(process.output)
        else { return nil }
        return try? JSONDecoder().decode(ManagementSample.self, from: Data(line))
    }

    private func start() -> (pid: pid_t, input: Int32, output: Int32)? {
        var inputEnds: [Int32] = [-1, -1]
        var outputEnds: [Int32] = [-1, -1]
        guard csystem_pipe(&inputEnds) == 0 else { return nil }
        guard csystem_pipe(&outputEnds) == 0 else {
            inputEnds.forEach { close($0) }
            return nil
        }
        defer {
            close(inputEnds[0])
            close(outputEnds[1])
        }
        do {
            let pid = try ChildProcess.start(
                InstalledFiles.thisProgram, ["sample", "--watch", "--driver", driver.path],
                environment: driver.environment, descriptors: [(0, inputEnds[0]), (1, outputEnds[1])])
            return (pid, inputEnds[1], outputEnds[0])
        } catch {
            close(inputEnds[1])
            close(outputEnds[0])
            return nil
        }
    }

    private func readLine(_ descriptor: Int32) -> [UInt8]? {
        let deadline = monotonicMilliseconds() + ManagementSampler.answerMilliseconds
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16 << 10)
        while bytes.last != UInt8(ascii: "\n") {
            var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let left = Int32(clamping: deadline - monotonicMilliseconds())
            guard left > 0, bytes.count < ManagementSampler.answerBytesMax, poll(&entry, 1, left) > 0 else {
                return nil
            }
            let count = read(descriptor, &chunk, chunk.count)
            guard count > 0 else { return nil }
            bytes += chunk[..<count]
        }
        return bytes
    }

    private func end(_ state: inout State) {
        guard let process = state.process else { return }
        state.process = nil
        close(process.input)
        close(process.output)
        kill(process.pid, SIGKILL)
        _ = ChildProcess.wait(process.pid)
    }
}
