// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import Glibc

/// Runs the application with our libcuda.so.1 and waits for it.
struct Launcher {
    let command: ApplicationCommand
    let libraryFolder: String
    /// `BITFUSION_SERVER`.
    let server: String
    /// `BITFUSION_TICKET`.
    let ticket: String

    /// The application's exit status, or 128 and the signal that ended it.
    func run() throws -> Int32 {
        // Where it is ignored, as some daemons leave it, the end of the application would go unnoticed.
        signal(SIGCHLD, SIG_DFL)
        // Signals are taken one by one below; the application gets them as usual.
        var set = sigset_t()
        var old = sigset_t()
        sigemptyset(&set)
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD, SIGUSR1, SIGUSR2] { sigaddset(&set, signal) }
        pthread_sigmask(SIG_BLOCK, &set, &old)
        let child = try start(old)
        while true {
            var information = siginfo_t()
            let signal = sigwaitinfo(&set, &information)
            if signal == SIGCHLD {
                var status: Int32 = 0
                guard waitpid(child, &status, WNOHANG) == child else { continue }
                let ending = status & 0x7F
                return ending == 0 ? (status >> 8) & 0xFF : 128 + ending
            }
            // A key press reaches the application without us; what was sent to this process is passed on.
            if signal > 0 && information.si_code != SI_KERNEL_CODE { kill(child, signal) }
        }
    }

    private func start(_ mask: sigset_t) throws -> pid_t {
        var environment = ProcessInfo.processInfo.environment
        let others = environment["LD_LIBRARY_PATH"].map { $0.isEmpty ? "" : ":" + $0 } ?? ""
        environment["LD_LIBRARY_PATH"] = libraryFolder + others
        environment["BITFUSION_SERVER"] = server
        environment["BITFUSION_TICKET"] = ticket
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var mask = mask
        posix_spawnattr_setsigmask(&attributes, &mask)
        // This program ignores SIGPIPE; the application must not.
        var pipe = sigset_t()
        sigemptyset(&pipe)
        sigaddset(&pipe, SIGPIPE)
        posix_spawnattr_setsigdefault(&attributes, &pipe)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        let argv = command.arguments.map { strdup($0) } + [nil]
        let environ = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for pointer in argv + environ { free(pointer) } }
        var child = pid_t()
        let code = posix_spawn(&child, command.path, nil, &attributes, argv, environ)
        guard code == 0 else {
            throw Failure(
                code == ENOENT ? .notFound : .notExecutable, "\(command.name): \(String(cString: strerror(code)))")
        }
        return child
    }
}

/// `SI_KERNEL`: the signal was made by the kernel, as for Ctrl-C.
private let SI_KERNEL_CODE: Int32 = 0x80
