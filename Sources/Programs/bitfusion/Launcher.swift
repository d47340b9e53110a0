// SPDX-License-Identifier: Apache-2.0
import CSystem
import FoundationEssentials
import Glibc
import ManagerClient
import Pool
import Threads

/// Runs the application with our libcuda.so.1 and waits for it.
struct Launcher {
    /// With fewer open files allowed, programs that use GPUs may fail with "cannot allocate memory".
    private static let descriptorsWanted: rlim_t = 4096
    /// How soon the end of a holder is noticed.
    private static let holderMilliseconds = 500
    /// An application that is asked to end has so long.
    private static let endMilliseconds: Int64 = 5_000

    let command: ApplicationCommand
    let libraryFolder: String
    /// `BITFUSION_SERVER`.
    let server: String
    /// `BITFUSION_TICKET`.
    let ticket: String
    /// The application is ended when this process is gone; nil where this program holds the GPUs itself.
    var holder: HolderProcess?
    var isQuiet = false
    /// Stops this process when the terminal has stopped the application.
    var stopProcess: () -> Void = { csystem_stop_while_sending(-1, nil, 0, 0) }

    /// The application's exit status, or 128 and the signal that ended it.
    func run() throws -> Int32 {
        // Where it is ignored, as some daemons leave it, the end of the application would go unnoticed.
        signal(SIGCHLD, SIG_DFL)
        raiseDescriptorLimit()
        // Signals are taken one by one below; the application gets them as usual.
        let signals = SignalSet([SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD, SIGUSR1, SIGUSR2, SIGTSTP])
        let child = try start(signals.block())
        var killAt: Int64?
        while true {
            guard
                let information = holder == nil
                    ? signals.wait() : signals.next(milliseconds: Launcher.holderMilliseconds)
            else {
                killAt = endWithHolder(child, killAt)
                continue
            }
            let signal = information.si_signo
            if signal == SIGCHLD {
                var status: Int32 = 0
                guard waitpid(child, &status, WNOHANG | WUNTRACED) == child else { continue }
                let ending = status & 0x7F
                if ending == 0x7F {
                    // With the application, so that the shell gets its terminal back; whoever sends it SIGSTOP will
                    // continue it alone.
                    guard [SIGTSTP, SIGTTIN, SIGTTOU].contains((status >> 8) & 0xFF) else { continue }
                    stopProcess()
                    kill(child, SIGCONT)
                    continue
                }
                return ending == 0 ? (status >> 8) & 0xFF : 128 + ending
            }
            // A key press reaches the application without us; what was sent to this process is passed on. Of the end of
            // the terminal the kernel tells the leader of the session only.
            let isLeadersOnly = signal == SIGHUP && getsid(0) == getpid()
            if information.si_code != SI_KERNEL_CODE || isLeadersOnly { kill(child, signal) }
        }
    }

    /// Ends the application when its allocation has ended: kindly first.
    ///
    /// Returns when it will be killed.
    private func endWithHolder(_ child: pid_t, _ killAt: Int64?) -> Int64? {
        if let killAt {
            if monotonicMilliseconds() > killAt { kill(child, SIGKILL) }
            return killAt
        }
        guard holder?.state == .gone else { return nil }
        printError("bitfusion: the allocation has ended, so \(command.name) is ended")
        kill(child, SIGTERM)
        return monotonicMilliseconds() + Launcher.endMilliseconds
    }

    /// Allows this process and the application as many open files as the system lets it.
    private func raiseDescriptorLimit() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        if limit.rlim_max < Launcher.descriptorsWanted && !isQuiet {
            printError(
                "bitfusion: only \(limit.rlim_max) open files are allowed here (ulimit -Hn), and connections may fail with "
                    + "'cannot allocate memory'; \(Launcher.descriptorsWanted) or more are needed")
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
