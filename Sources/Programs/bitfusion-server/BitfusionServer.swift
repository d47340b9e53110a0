// SPDX-License-Identifier: Apache-2.0
import ArgumentParser

/// The programs of a GPU server: the daemon, and the processes that it starts.
@main
struct BitfusionServer: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bitfusion-server", abstract: "The daemon of a GPU server, and the processes that it starts.",
        subcommands: [ManagerCommand.self, WorkerCommand.self, ProbeCommand.self, LocalDispatcherCommand.self])
}
