// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import CSystem
import Glibc

/// Starts the process that holds an allocation, and waits until it has one.
enum Holder {
    /// The path of the allocation's file.
    ///
    /// Throws ``Reported`` when the holder has reported on standard error what went wrong.
    static func start(options: [String]) throws -> String {
        var ends: [Int32] = [0, 0]
        guard csystem_pipe(&ends) == 0 else { throw Failure(.configuration, "cannot make a pipe: \(errnoText())") }
        defer { close(ends[0]) }
        let pid = try spawn(["bitfusion", HoldGPUsCommand.configuration.commandName ?? ""] + options, output: ends[1])
        close(ends[1])
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(ends[0], &chunk, chunk.count)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { break }
            bytes += chunk[..<count]
        }
        if bytes.last == UInt8(ascii: "\n") { return String(decoding: bytes.dropLast(), as: UTF8.self) }
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
        let ending = status & 0x7F
        guard ending == 0, status != 0 else {
            throw Failure(.noGPUs, "the process that was to hold the GPUs was ended by signal \(ending)")
        }
        throw Reported(status: (status >> 8) & 0xFF)
    }

    /// In a session of its own: what ends the terminal or the job that it was started from does not end it.
    private static func spawn(_ arguments: [String], output: Int32) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, output, 1)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID_FLAG)
        let argv = arguments.map { strdup($0) } + [nil]
        defer { for pointer in argv { free(pointer) } }
        var pid = pid_t()
        let code = posix_spawn(&pid, "/proc/self/exe", &actions, &attributes, argv, environ)
        guard code == 0 else {
            throw Failure(
                .configuration, "cannot start the process that holds the GPUs: \(String(cString: strerror(code)))")
        }
        return pid
    }
}

/// The text of the last system call's error.
func errnoText() -> String { String(cString: strerror(errno)) }

/// `POSIX_SPAWN_SETSID`, which glibc's header shows to GNU programs only.
private let POSIX_SPAWN_SETSID_FLAG: Int16 = 0x80
