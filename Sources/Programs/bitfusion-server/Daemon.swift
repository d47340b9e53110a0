// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Glibc
import Manager
import Pool
import Threads
import Wire
import Worker

/// The daemon of a GPU server: resource scheduler and dispatcher.
struct Daemon {
    let options: DaemonOptions
    private let folder: String

    init(options: DaemonOptions) {
        self.options = options
        folder = options.folder
    }

    func run() throws {
        signal(SIGPIPE, SIG_IGN)
        raiseDescriptorLimit()
        let choice = try DriverChoice(driver: options.driver, softGPU: options.softGPU, dataFolder: folder)
        guard makeDataFolder() else {
            throw failure(78, "cannot use the data folder \(folder): \(String(cString: strerror(errno)))")
        }
        try lockDataFolder()
        // What an earlier daemon left when it was killed says nothing any more.
        unlink(descriptionPath)
        let inventory: Inventory
        do {
            inventory = try choice.inventory()
        } catch {
            let advice =
                options.softGPU == nil ? "; --driver names another one, --soft-gpu 1x4096 serves a software GPU" : ""
            throw failure(69, "\(error)\(advice)")
        }
        // Every thread inherits this mask, so that only the wait below sees these signals. A driver that hangs in the
        // lines above can still be interrupted.
        let signals = SignalWait([SIGTERM, SIGINT, SIGHUP])
        let schedulerListener: Listener
        let dispatcherListener: Listener
        do {
            dispatcherListener = try Listener(address: options.bind, port: options.dispatcherPort)
            schedulerListener = try Listener(address: options.bind, port: options.schedulerPort)
        } catch {
            throw failure(69, "\(error)")
        }
        let service = Service(
            choice: choice, inventory: inventory, dispatcherPort: dispatcherListener.port,
            settings: try settings.read(), dataFolder: folder)
        service.dispatcher.keepImages(in: moduleCache(service.settings))
        service.dispatcher.serve(at: dispatcherListener)
        service.scheduler.serve(at: schedulerListener)
        service.keepTime()
        announce(inventory, choice, schedulerListener.port, dispatcherListener.port)
        var received = signals.wait()
        while received == SIGHUP {
            if let applied = service.scheduler.apply(settings) {
                service.dispatcher.keepImages(in: moduleCache(applied))
            }
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

    /// Where workers keep images of modules; nil when they shall not, or cannot, which is said.
    private func moduleCache(_ settings: PoolSettings) -> CachePlace? {
        guard settings.moduleCacheMebibytes > 0 else { return nil }
        let place = CachePlace(folder: folder + "/modules", mebibytes: settings.moduleCacheMebibytes)
        guard let problem = place.problem else { return place }
        writeError("bitfusion: no module cache, so that clients send their code each time: \(problem)\n")
        return nil
    }

    private var settings: SettingsFile { SettingsFile(path: folder + "/settings.json") }
    private var descriptionPath: String { ManagerDescription.path(in: folder) }

    private func makeDataFolder() -> Bool {
        var path = ""
        for part in folder.split(separator: "/", omittingEmptySubsequences: false) {
            path += part.isEmpty ? "/" : "\(part)/"
            if mkdir(path, 0o700) != 0 && errno != EEXIST { return false }
        }
        return access(folder, W_OK | X_OK) == 0
    }

    /// Keeps a second daemon out of the folder as long as this process lives.
    private func lockDataFolder() throws {
        let path = folder + "/manager.lock"
        let descriptor = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw failure(78, "cannot make \(path): \(String(cString: strerror(errno)))") }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            throw failure(78, "another daemon uses the data folder \(folder); stop it or name another folder")
        }
    }

    private func announce(
        _ inventory: Inventory, _ choice: DriverChoice, _ schedulerPort: Int, _ dispatcherPort: Int
    ) {
        for gpu in inventory.gpus { print("GPU \(gpu.index): \(gpu.name), \(gpu.totalMiB) MiB, \(gpu.uuid)") }
        print("Resource scheduler at \(options.bind) port \(schedulerPort), dispatcher at port \(dispatcherPort).")
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
    let settings: PoolSettings

    init(
        choice: DriverChoice, inventory: Inventory, dispatcherPort: Int, settings: PoolSettings, dataFolder: String
    ) {
        self.settings = settings
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
            hostname: hostname(), addresses: Networks.list().map(\.address),
            hasRDMA: access("/sys/class/infiniband", F_OK) == 0,
            cudaVersion: "\(driverVersion / 1000).\(driverVersion % 1000 / 10)", driverVersion: driver)
    }
}
