// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import FoundationEssentials
import Glibc

/// What `manager` and `resource_scheduler` may be told.
struct DaemonOptions: ParsableArguments {
    @Option(
        name: .customLong("data-dir"),
        help: ArgumentHelp(
            "The folder of the daemon's files; made when it is missing. /var/lib/bitfusion for root, otherwise "
                + "~/.local/state/bitfusion.", valueName: "folder"))
    var dataFolder: String?

    @Option(
        name: .customLong("soft-gpu"),
        help: ArgumentHelp("Serve software GPUs: how many, and MiB of each, as 2x4096.", valueName: "spec"))
    var softGPU: String?

    @Option(help: ArgumentHelp("Drive this libcuda.so.1.", valueName: "path"))
    var driver: String?

    @Option(help: ArgumentHelp("The address to listen at.", valueName: "address"))
    var bind = "0.0.0.0"

    @Option(
        name: [.customLong("srs_port"), .customLong("srs-port")],
        help: ArgumentHelp("The port of the resource scheduler; 0 takes a free one.", valueName: "port"))
    var schedulerPort = 56001

    @Option(
        name: [.customLong("dispatcher_port"), .customLong("dispatcher-port")],
        help: ArgumentHelp("The port of the dispatcher; 0 takes a free one.", valueName: "port"))
    var dispatcherPort = 55001

    func validate() throws {
        for port in [schedulerPort, dispatcherPort] where !(0...65535 ~= port) {
            throw ValidationError("\(port) is not a port; ports are 0 to 65535.")
        }
    }

    /// The folder that was named, or the one for this user.
    var folder: String {
        if let dataFolder { return dataFolder }
        let environment = ProcessInfo.processInfo.environment
        if geteuid() == 0 { return "/var/lib/bitfusion" }
        let state = environment["XDG_STATE_HOME"].flatMap { $0.hasPrefix("/") ? $0 : nil }
        return (state ?? (environment["HOME"] ?? "") + "/.local/state") + "/bitfusion"
    }
}

/// What the help of the daemon's commands says of its files.
enum DaemonHelp {
    static let files = """
        FILES in the data folder
          manager.json    the ports that it listens at, and its process
          modules/        code that clients have sent, so that the next one need not
          settings.json   read at the start and on SIGHUP; what is absent has its default:
            {
              "accept_requests": true,   false: running allocations go on, new ones go elsewhere
              "quota_gpus": 64,          the most GPUs a client may have; parts count as shares
              "idle_minutes": 0,         unused GPUs are released after so long; 0: never
              "module_cache_mib": 2048,  the disk that clients' code may take in modules/; 0: none
              "servers": ["10.0.0.8"],   the servers of the pool; clients that know one learn them all
              "clients": {"10.0.0.9": {"quota_gpus": 3.5, "idle_minutes": 10}}
            }
        """
}
