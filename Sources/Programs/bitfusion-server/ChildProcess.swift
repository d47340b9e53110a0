// SPDX-License-Identifier: Apache-2.0
import CSystem
import Glibc
import Threads

/// Starts processes of this program.
enum ChildProcess {
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    /// Starts a program.
    ///
    /// `descriptors` maps descriptors of the child to this process's; the others are closed on exec.
    static func start(
        _ program: String, _ arguments: [String], environment: [String: String],
        descriptors: [(child: Int32, own: Int32)]
    ) throws(Failure) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        for entry in descriptors { posix_spawn_file_actions_adddup2(&actions, entry.own, entry.child) }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // The daemon blocks the signals that it waits for; its children take them as usual.
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        let argv = ([program] + arguments).map { strdup($0) } + [nil]
        let environ = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for pointer in argv + environ { free(pointer) } }
        var pid = pid_t()
        let code = posix_spawn(&pid, program, &actions, &attributes, argv, environ)
        guard code == 0 else {
            throw Failure(description: "cannot start \(program): \(String(cString: strerror(code)))")
        }
        return pid
    }

    /// Waits for a process to end: its exit status, or 128 and the signal.
    static func wait(_ pid: pid_t) -> Int32 {
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
        let signal = status & 0x7F
        return signal == 0 ? (status >> 8) & 0xFF : 128 + signal
    }

    /// Runs a program to its end and returns what it wrote to its standard output.
    ///
    /// With `milliseconds` it is killed when it takes longer, and its status is then that of the signal.
    static func output(
        of program: String, _ arguments: [String], environment: [String: String], milliseconds: Int64? = nil
    ) throws(Failure) -> (status: Int32, output: String) {
        var ends: [Int32] = [0, 0]
        guard csystem_pipe(&ends) == 0 else {
            throw Failure(description: "cannot make a pipe: \(String(cString: strerror(errno)))")
        }
        let pid: pid_t
        do throws(Failure) {
            pid = try start(program, arguments, environment: environment, descriptors: [(1, ends[1])])
        } catch {
            close(ends[0])
            close(ends[1])
            throw error
        }
        close(ends[1])
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        let deadline = milliseconds.map { monotonicMilliseconds() + $0 }
        while true {
            if let deadline {
                var entry = pollfd(fd: ends[0], events: Int16(POLLIN), revents: 0)
                let left = Int32(clamping: max(0, deadline - monotonicMilliseconds()))
                let count = poll(&entry, 1, left)
                if count < 0 && errno == EINTR { continue }
                guard count > 0 else {
                    kill(pid, SIGKILL)
                    break
                }
            }
            let count = read(ends[0], &chunk, chunk.count)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { break }
            bytes += chunk[..<count]
        }
        close(ends[0])
        return (wait(pid), String(decoding: bytes, as: UTF8.self))
    }
}
