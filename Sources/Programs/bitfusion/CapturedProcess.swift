// SPDX-License-Identifier: Apache-2.0
import CSystem
import FoundationEssentials
import Glibc

/// A process whose standard output is read to its end.
struct CapturedProcess {
    private let pid: pid_t
    private let output: Int32

    init(_ program: String, _ arguments: [String]) throws {
        var ends: [Int32] = [0, 0]
        guard csystem_pipe(&ends) == 0 else {
            throw Failure(.configuration, "cannot make a pipe: \(String(cString: strerror(errno)))")
        }
        defer { close(ends[1]) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        let argv = ([program] + arguments).map { strdup($0) } + [nil]
        defer { for pointer in argv { free(pointer) } }
        var pid = pid_t()
        let code = posix_spawn(&pid, program, &actions, nil, argv, environ)
        guard code == 0 else {
            close(ends[0])
            throw Failure(.notExecutable, "cannot start \(program): \(String(cString: strerror(code)))")
        }
        self.pid = pid
        output = ends[0]
    }

    /// The exit status, or 128 and the signal, and what it wrote.
    func finish() -> (status: Int32, output: Data) {
        var data = Data()
        var chunk = [UInt8](repeating: 0, count: 16 << 10)
        while true {
            let count = read(output, &chunk, chunk.count)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { break }
            data.append(contentsOf: chunk[..<count])
        }
        close(output)
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
        let ending = status & 0x7F
        return (ending == 0 ? (status >> 8) & 0xFF : 128 + ending, data)
    }
}
