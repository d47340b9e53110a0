// SPDX-License-Identifier: Apache-2.0
import CUDADescription
import Foundation
import NVMLDescription
import Testing

/// Properties of the sources themselves.
@Suite struct TidyTests {
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    @Test func generatedFilesAreFresh() throws {
        for file in generatedFiles() + generatedManagementFiles() {
            let text = try String(contentsOf: root.appending(path: file.path), encoding: .utf8)
            #expect(text == file.text, "\(file.path) is not what `swift run generate` prints")
        }
    }

    @Test func noGeneratedFileIsLeftOver() throws {
        let printed = Set((generatedFiles() + generatedManagementFiles()).map(\.path))
        for file in try sources() where file.contains("/Generated/") {
            #expect(printed.contains(file), "\(file) is no longer printed")
        }
    }

    /// A driver call that can take device memory must not pass a partition uncounted.
    @Test func whatTakesMemoryIsCounted() {
        let marks = [
            "MemAlloc", "MemPool", "MemCreate", "Managed", "ArrayCreate", "ModuleLoad", "CtxCreate", "CtxRetain",
            "SetLimit", "GraphInstantiate", "MemMap", "Import", "LibraryLoad",
        ]
        let harmless: Set = ["cuMemPoolSetAttribute", "cuMemPoolGetAttribute"]
        let names = driverCalls.map(\.name).filter { name in marks.contains { name.contains($0) } }
        #expect(names.count >= 9)
        for name in names where !harmless.contains(name) {
            #expect(partitionedByHand.contains(name), "PartitionedDriver passes \(name) on without counting it")
        }
    }

    @Test func symbolsAreDescribedOnce() {
        let symbols = cudaFunctions.flatMap { function in
            [function.name] + (function.perThread.map { [function.name + $0.suffix] } ?? [])
        }
        #expect(Set(symbols).count == symbols.count)
        #expect(symbols.count >= 726)
    }

    @Test func managementFunctionsAreDescribedOnce() {
        let names = Set(managementFunctions.map(\.name))
        #expect(names.count == managementFunctions.count)
        #expect(names.count >= 425)
        for function in managementFunctions {
            guard case .sameAs(let other) = function.answer else { continue }
            #expect(names.contains(other), "\(function.name) is the same as a function that is not described")
        }
    }

    @Test func linesAreNarrowAndFilesAreShort() throws {
        for file in try sources() where !file.contains("/Generated/") && file.hasSuffix(".swift") {
            let lines = try String(contentsOf: root.appending(path: file), encoding: .utf8).split(
                separator: "\n", omittingEmptySubsequences: false)
            #expect(lines.count <= 600, "\(file) has \(lines.count) lines")
            #expect(
                lines.first == "// SPDX-License-Identifier: Apache-2.0" || file == "Package.swift", "\(file): licence")
            // A C declaration in a string has no place to be broken.
            for (number, line) in lines.enumerated() where line.count > 120 && line.first(where: { $0 != " " }) != "\""
            {
                Issue.record("\(file):\(number + 1) is \(line.count) columns wide")
            }
        }
    }

    /// The shim lives in other people's processes, and the worker is one of many.
    @Test func theDataPathDoesWithoutFoundation() throws {
        for file in try sources() where file.hasPrefix("Sources/DataPath/") || file.hasPrefix("Sources/SoftGPU/") {
            guard file.hasSuffix(".swift") else { continue }
            let text = try String(contentsOf: root.appending(path: file), encoding: .utf8)
            for module in ["Foundation", "FoundationEssentials", "Dispatch"] {
                #expect(!text.contains("import \(module)\n"), "\(file) imports \(module)")
            }
        }
    }

    /// They meet in Programs only.
    @Test func dataPathAndControlPathDoNotImportEachOther() throws {
        let control = try FileManager.default.contentsOfDirectory(
            atPath: root.appending(path: "Sources/ControlPath").path())
        let data = try FileManager.default.contentsOfDirectory(atPath: root.appending(path: "Sources/DataPath").path())
        for file in try sources() where file.hasSuffix(".swift") {
            let forbidden =
                file.hasPrefix("Sources/DataPath/") ? control : file.hasPrefix("Sources/ControlPath/") ? data : []
            let text = forbidden.isEmpty ? "" : try String(contentsOf: root.appending(path: file), encoding: .utf8)
            for module in forbidden { #expect(!text.contains("import \(module)\n"), "\(file) imports \(module)") }
        }
    }

    private func sources() throws -> [String] {
        let all = FileManager.default.enumerator(at: root.appending(path: "Sources"), includingPropertiesForKeys: nil)
        let prefix = root.path()
        return (all?.allObjects as? [URL] ?? []).map { String($0.path().dropFirst(prefix.count)) }
            .filter { !$0.hasSuffix("/") }
    }
}
