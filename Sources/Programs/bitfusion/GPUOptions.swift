// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Pool

/// The options that say which GPUs are wanted, and how long to wait for them.
struct GPUOptions: ParsableArguments {
    @Option(
        name: [.customShort("n"), .customLong("num_gpus")],
        help: ArgumentHelp("How many GPUs, all of one server.", valueName: "count"))
    var count: Int

    @Option(
        name: [.customShort("m"), .customLong("memory")],
        help: ArgumentHelp("MiB of memory on each GPU; the rest of the GPU is for others.", valueName: "MiB"))
    var memory: Int?

    @Option(
        name: [.customShort("p"), .customLong("partial")],
        help: ArgumentHelp("Share of the memory of each GPU, more than 0.0 and at most 1.0.", valueName: "share"))
    var share: Double?

    @Option(
        name: [.customShort("t"), .customLong("timeout")],
        help: ArgumentHelp(
            "How long to wait for the GPUs: 10 or 10s, 10m, 10h, 1h30m; 0 does not wait.", valueName: "time"))
    var timeout = WaitTime.standard

    @Option(
        name: .customLong("filter"),
        help: ArgumentHelp(
            """
            Only servers and GPUs for which this holds, such as device.name=Tesla or server.cuda-version>=12.4; may be \
            given several times. Different keys must all hold, of several values for one key one is enough.
            """, valueName: "key=value"))
    var filters: [String] = []

    func validate() throws {
        do { _ = try Filter(filters) } catch { throw ValidationError("--filter \(error).") }
        guard filters.count <= SchedulerRequest.filtersMax else {
            throw ValidationError("--filter may be given \(SchedulerRequest.filtersMax) times.")
        }
        guard memory == nil || share == nil else { throw ValidationError("-m and -p cannot be used together.") }
        guard demand != nil else {
            throw ValidationError(
                count < 1 || count > Demand.gpuCountMax
                    ? "-n is \(count); it must be from 1 to \(Demand.gpuCountMax)."
                    : memory != nil
                        ? "-m is \(memory ?? 0) MiB; it must be at least 1."
                        : "-p is \(share ?? 0); it must be more than 0.0 and at most 1.0.")
        }
    }

    /// `-p` with a whole number above 1 is what the product's guide once printed for `-m`.
    private var mebibytesMeantByShare: Int? {
        guard let share, share > 1, share == share.rounded(), share < 1e9 else { return nil }
        return Int(share)
    }

    var demand: Demand? {
        if let memory { return Demand(gpuCount: count, memory: .mebibytes(memory)) }
        if let meant = mebibytesMeantByShare { return Demand(gpuCount: count, memory: .mebibytes(meant)) }
        if let share { return Demand(gpuCount: count, memory: .share(share)) }
        return Demand(gpuCount: count, memory: .whole)
    }

    /// A line for the user when an option is not taken literally.
    var notice: String? {
        mebibytesMeantByShare.map { "-p \($0) is taken as -m \($0) (MiB); -p is for shares from 0.0 to 1.0" }
    }
}

extension WaitTime: ExpressibleByArgument {
    init?(argument: String) { self.init(argument) }
}
