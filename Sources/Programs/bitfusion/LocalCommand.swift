// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import CSystem
import FoundationEssentials
import Glibc

struct LocalCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "local", abstract: "Run a CUDA application locally",
        usage: "bitfusion local [--soft-gpu <spec>] [--driver <path>] -- <application> [<arguments> ...]",
        discussion: """
            Runs the application on software GPUs, or on the GPUs of this machine, without any daemon or network: with \
            workers of its own, over a Unix socket in a private folder.
            """)

    @Option(
        name: .customLong("soft-gpu"),
        help: ArgumentHelp("Software GPUs: how many, and MiB of each.", valueName: "spec"))
    var softGPU: String?

    @Option(help: ArgumentHelp("Drive this libcuda.so.1 instead of the system's.", valueName: "path"))
    var driver: String?

    @Argument(parsing: .captureForPassthrough, help: "The application and its arguments.", completion: .file())
    var application: [String] = []

    func run() throws {
        if ApplicationCommand.asksForHelp(application) {
            return print(Bitfusion.helpMessage(for: LocalCommand.self))
        }
        try reporting {
            let command = try ApplicationCommand(application)
            let library = try InstalledFiles.clientLibraryFolder()
            let server = try InstalledFiles.server()
            let folder = try PrivateFolder()
            defer { folder.remove() }
            let dispatcher = try LocalDispatcher(
                program: server, socket: folder.path + "/socket", softGPU: softGPU, driver: driver)
            defer { dispatcher.stop() }
            let status = try Launcher(
                command: command, libraryFolder: library, server: "unix:\(folder.path)/socket",
                ticket: dispatcher.ticket
            ).run()
            dispatcher.stop()
            folder.remove()
            throw ExitCode(status)
        }
    }
}

/// A temporary folder that only this user can enter.
private struct PrivateFolder {
    let path: String

    init() throws {
        let base =
            ProcessInfo.processInfo.environment["XDG_RUNTIME_DIR"] ?? ProcessInfo.processInfo.environment["TMPDIR"]
            ?? "/tmp"
        var template = Array("\(base)/bitfusion-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else {
            throw Failure(
                .configuration, "cannot make a temporary folder in \(base): \(String(cString: strerror(errno)))")
        }
        path = String(cString: made)
    }

    func remove() {
        unlink(path + "/socket")
        rmdir(path)
    }
}

/// The private dispatcher: a child process that ends when this one does.
private final class LocalDispatcher {
    let ticket: String
    private let pid: pid_t
    private var control: Int32

    init(program: String, socket: String, softGPU: String?, driver: String?) throws {
        var controlEnds: [Int32] = [0, 0]
        var answerEnds: [Int32] = [0, 0]
        guard csystem_pipe(&controlEnds) == 0, csystem_pipe(&answerEnds) == 0 else {
            throw Failure(.configuration, "cannot make a pipe: \(String(cString: strerror(errno)))")
        }
        var arguments = [program, "dispatch-local", "--socket", socket, "--control-fd", "3"]
        if let softGPU { arguments += ["--soft-gpu", softGPU] }
        if let driver { arguments += ["--driver", driver] }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, answerEnds[1], 1)
        posix_spawn_file_actions_adddup2(&actions, controlEnds[0], 3)
        let argv = arguments.map { strdup($0) } + [nil]
        defer { for pointer in argv { free(pointer) } }
        var pid = pid_t()
        let code = posix_spawn(&pid, program, &actions, nil, argv, environ)
        close(answerEnds[1])
        close(controlEnds[0])
        guard code == 0 else {
            throw Failure(.configuration, "cannot start \(program): \(String(cString: strerror(code)))")
        }
        self.pid = pid
        control = controlEnds[1]
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 256)
        while !bytes.contains(UInt8(ascii: "\n")), case let count = read(answerEnds[0], &chunk, chunk.count), count > 0
        {
            bytes += chunk[..<count]
        }
        close(answerEnds[0])
        guard let end = bytes.firstIndex(of: UInt8(ascii: "\n")) else {
            var status: Int32 = 0
            waitpid(pid, &status, 0)
            // The dispatcher has said why on standard error.
            let ending = status & 0x7F
            throw ExitCode(ending == 0 && status != 0 ? (status >> 8) & 0xFF : Failure.Status.noServer.rawValue)
        }
        ticket = String(decoding: bytes[..<end], as: UTF8.self)
    }

    func stop() {
        guard control >= 0 else { return }
        close(control)
        control = -1
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
    }
}
