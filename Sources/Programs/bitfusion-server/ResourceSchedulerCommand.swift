// SPDX-License-Identifier: Apache-2.0
import ArgumentParser

struct ResourceSchedulerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resource_scheduler", abstract: "Run the resource scheduler of a GPU server, with its dispatcher.",
        discussion: """
            Decides who gets which GPU of this machine, and runs the applications' work on them: what `manager` does, \
            without what that does for administrators. Until it is ended by SIGTERM or Ctrl-C.

            \(DaemonHelp.files)
            """, aliases: ["srs"])

    @OptionGroup var options: DaemonOptions

    func run() throws { try Daemon(options: options).run() }
}
