// SPDX-License-Identifier: Apache-2.0
import ArgumentParser

struct LicenseCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "license", abstract: "Check license status",
        discussion: "Tells under which license Bitfusion may be used. There are no license keys.")

    func run() {
        print(
            """
            Bitfusion is free software under the Apache License, Version 2.0:
            https://www.apache.org/licenses/LICENSE-2.0
            No license key is needed, for any number of GPUs, servers and clients.
            """)
    }
}

struct DeallocCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dealloc", abstract: "Deallocate license certificate.",
        discussion: "There are no license certificates, so there is nothing to give back: it says so and succeeds.")

    func run() { print("There is no license certificate to deallocate: Bitfusion needs none.") }
}
