// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import FoundationEssentials
import Glibc
import Manager
import Pool
import Threads
import Wire

/// The daemon of a GPU server: resource scheduler and dispatcher.
struct ManagerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "manager", abstract: "Run the daemon of a GPU server.",
        discussion: """
            Serves the GPUs of this machine's NVIDIA driver, or software GPUs, until it is ended by SIGTERM or Ctrl-C. \
            The ports that it listens at are printed and written to manager.json in the data folder.

            FILES in the data folder
              settings.json   read at the start and on SIGHUP; what is absent has its default:
                {
                  "accept_requests": true,   false: running allocations go on, new ones go elsewhere
                  "quota_gpus": 64,          the most GPUs a client may have; parts count as shares
                  "idle_minutes": 0,         unused GPUs are released after so long; 0: never
                  "clients": {"10.0.0.9": {"quota_gpus": 3.5, "idle_minutes": 10}}
                }
            """)

    @Option(name: .customLong("data-dir"), help: "The folder of the daemon's files; made when it is missing.")
    var dataFolder: String

    @Option(
        name: .customLong("soft-gpu"),
        help: ArgumentHelp("Serve software GPUs: how many, and MiB of each, as 2x4096.", valueName: "spec"))
    var softGPU: String?

    @Option(help: ArgumentHelp("Drive this libcuda.so.1.", valueName: "path"))
    var driver: String?

    @Option(help: ArgumentHelp("The address to listen at.", valueName: "address"))
    var bind = "0.0.0.0"

    @Option(
        name: [.customLong("srs-port"), .customLong("srs_port")],
        help: "The port of the resource scheduler; 0 takes a free one.")
    var schedulerPort = 56001

    @Option(name: .customLong("dispatcher-port"), help: "The port of the dispatcher; 0 takes a free one.")
    var dispatcherPort = 55001

    func validate() throws {
        for port in [schedulerPort, dispatcherPort] where !(0...65535 ~= port) {
            throw ValidationError("\(port) is not a port; ports are 0 to 65535.")
        }
    }

    func run() throws {
        signal(SIGPIPE, SIG_IGN)
        raiseDescriptorLimit()
        let choice = try DriverChoice(driver: driver, softGPU: softGPU)
        guard makeDataFolder() else {
            throw failure(78, "cannot use the data folder \(dataFolder): \(String(cString: strerror(errno)))")
        }
        try lockDataFolder()
        // What an earlier daemon left when it was killed says nothing any more.
        unlink(descriptionPath)
        let inventory: Inventory
        do {
            inventory = try choice.inventory()
        } catch {
            let advice = softGPU == nil ? "; --driver names another one, --soft-gpu 1x4096 serves a software GPU" : ""
            throw failure(69, "\(error)\(advice)")
        }
        // Every thread inherits this mask, so that only the wait below sees these signals. A driver that hangs in the
        // lines above can still be interrupted.
        let signals = SignalWait([SIGTERM, SIGINT, SIGHUP])
        let schedulerListener: Listener
        let dispatcherListener: Listener
        do {
            dispatcherListener = try Listener(address: bind, port: dispatcherPort)
            schedulerListener = try Listener(address: bind, port: schedulerPort)
        } catch {
            throw failure(69, "\(error)")
        }
        let service = Service(
            choice: choice, inventory: inventory, dispatcherPort: dispatcherListener.port,
            settings: try settings.read(), dataFolder: dataFolder)
        service.dispatcher.serve(at: dispatcherListener)
        service.scheduler.serve(at: schedulerListener)
        service.keepTime()
        announce(inventory, choice, schedulerListener.port, dispatcherListener.port)
        var received = signals.wait()
        while received == SIGHUP {
            service.scheduler.apply(settings)
            received = signals.wait()
        }
        print("Ending (\(received == SIGINT ? "Ctrl-C" : "signal \(received)")).")
        unlink(descriptionPath)
        schedulerListener.stop()
        dispatcherListener.stop()
        service.scheduler.stop()
        service.dispatcher.stop()
        service.sampler.stop()
    }

    private var settings: SettingsFile { SettingsFile(path: dataFolder + "/settings.json") }
    private var descriptionPath: String { ManagerDescription.path(in: dataFolder) }

    private func makeDataFolder() -> Bool {
        var path = ""
        for part in dataFolder.split(separator: "/", omittingEmptySubsequences: false) {
            path += part.isEmpty ? "/" : "\(part)/"
            if mkdir(path, 0o700) != 0 && errno != EEXIST { return false }
        }
        return access(dataFolder, W_OK | X_OK) == 0
    }

    /// Keeps a second daemon out of the folder as long as this process lives.
    private func lockDataFolder() throws {
        let path = dataFolder + "/manager.lock"
        let descriptor = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw failure(78, "cannot make \(path): \(String(cString: strerror(errno)))") }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            throw failure(78, "another manager uses the data folder \(dataFolder); stop it or name another folder")
        }
    }

    private func announce(
        _ inventory: Inventory, _ choice: DriverChoice, _ schedulerPort: Int, _ dispatcherPort: Int
    ) {
        for gpu in inventory.gpus { print("GPU \(gpu.index): \(gpu.name), \(gpu.totalMiB) MiB, \(gpu.uuid)") }
        print("Resource scheduler at \(bind) port \(schedulerPort), dispatcher at port \(dispatcherPort).")
        fflush(nil)
        let description = ManagerDescription(
            pid: Int(getpid()), schedulerPort: schedulerPort, dispatcherPort: dispatcherPort, driver: choice.path,
            softGPU: choice.softGPU)
        if let problem = replaceFile(descriptionPath, description.text) {
            writeError("bitfusion: cannot write \(descriptionPath): \(problem)\n")
        }
    }

    private func failure(_ status: Int32, _ message: String) -> ExitCode {
        writeError("bitfusion: \(message)\n")
        return ExitCode(status)
    }
}

/// The scheduler and the dispatcher of one server, which need each other.
private struct Service {
    let scheduler: ResourceScheduler
    let dispatcher: Dispatcher
    let sampler: ManagementSampler

    init(
        choice: DriverChoice, inventory: Inventory, dispatcherPort: Int, settings: PoolSettings, dataFolder: String
    ) {
        let admissions = Admissions(choice, inventory)
        dispatcher = Dispatcher(driver: choice) { admissions.admit($0) }
        sampler = ManagementSampler(driver: choice)
        let health = ServerHealth(
            ServerNode(choice: choice, inventory: .success(inventory), dataFolder: dataFolder, daemon: Int(getpid())))
        scheduler = ResourceScheduler(
            inventory: inventory, facts: inventory.facts(driver: sampler.sample()?.driver),
            dispatcherPort: dispatcherPort, runner: dispatcher,
            settings: settings, wireVersion: "\(Hello.major).\(Hello.minor)",
            sample: { [sampler] in sampler.sample().map { GPUSample(driver: $0.driver, gpus: $0.gpus) } },
            health: { health.report() })
        admissions.set(scheduler)
    }

    /// Lets time pass until the server stops.
    func keepTime() {
        startThread { [scheduler] in
            while !scheduler.isStopping {
                usleep(UInt32(ResourceScheduler.tickMilliseconds) * 1000)
                scheduler.tick()
            }
        }
    }
}

extension Inventory {
    /// What filters may ask of this server.
    fileprivate func facts(driver: String?) -> ServerFacts {
        ServerFacts(
            hostname: hostname(),
            addresses: Networks.list().map(\.address), hasRDMA: access("/sys/class/infiniband", F_OK) == 0,
            cudaVersion: "\(driverVersion / 1000).\(driverVersion % 1000 / 10)", driverVersion: driver)
    }
}
