// SPDX-License-Identifier: Apache-2.0
import ArgumentParser

struct ManagerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "manager", abstract: "Run the daemon of a GPU server.",
        discussion: """
            Serves the GPUs of this machine's NVIDIA driver, or software GPUs, until it is ended by SIGTERM or Ctrl-C. \
            The ports that it listens at are printed.

            \(DaemonHelp.files)
            """)

    @OptionGroup var options: DaemonOptions

    func run() throws { try Daemon(options: options).run() }
}
