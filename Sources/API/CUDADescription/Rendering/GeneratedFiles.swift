// SPDX-License-Identifier: Apache-2.0

/// Every file that is printed from the description: its path from the package's folder, and its text.
package func generatedFiles() -> [(path: String, text: String)] {
    let exports = cudaFamilies.map { family in
        let name = family.title.split { !$0.isLetter }.map { $0.prefix(1).uppercased() + $0.dropFirst() }.joined()
        return ("Sources/DataPath/Shim/Generated/Exports+\(name).swift", renderExports(family))
    }
    return [
        ("Sources/DataPath/Driver/Generated/Driver.swift", renderDriver(driverCalls)),
        ("Sources/DataPath/Wire/Generated/Call.swift", renderCalls(driverCalls)),
        ("Sources/DataPath/RemoteDriver/Generated/RemoteDriver+Calls.swift", renderRemote(driverCalls)),
        ("Sources/DataPath/Session/Generated/Session+Calls.swift", renderSession(driverCalls)),
        ("Sources/DataPath/HostDriver/Generated/HostDriver+Calls.swift", renderHost(driverCalls)),
        ("Sources/DataPath/PartitionedDriver/Generated/PartitionedDriver+Calls.swift", renderPartitioned(driverCalls)),
        ("Sources/DataPath/Shim/Generated/LookupTable.swift", renderLookup(cudaFunctions)),
        ("Sources/DataPath/Shim/Generated/Export.swift", renderExportList(cudaFunctions)),
        ("docs/cuda-coverage.md", renderCoverage(cudaFamilies)),
    ] + exports
}
