// SPDX-License-Identifier: Apache-2.0
import Glibc

/// A C library that is needed, and what happened when it was opened.
package struct LibraryReading: Sendable, Codable, Equatable {
    package var name: String
    package var isRequired: Bool
    /// Nil when it is there and has what is needed.
    package var problem: String?

    package init(name: String, isRequired: Bool, problem: String?) {
        self.name = name
        self.isRequired = isRequired
        self.problem = problem
    }

    /// Opens a library, which stays open, and looks for symbols in it.
    package init(opening name: String, symbols: [String] = [], isRequired: Bool = true) {
        self.init(name: name, isRequired: isRequired, problem: nil)
        guard let handle = dlopen(name, RTLD_LAZY | RTLD_LOCAL) else {
            problem = dlerror().map { String(cString: $0) } ?? "it cannot be opened"
            return
        }
        let missing = symbols.filter { dlsym(handle, $0) == nil }
        if !missing.isEmpty { problem = "it has no \(missing.joined(separator: ", "))" }
    }

    /// What RDMA needs, on machines that have it.
    package static func ofRDMA(_ files: any FileTree) -> [LibraryReading] {
        guard let devices = try? files.names(in: "/sys/class/infiniband"), !devices.isEmpty else { return [] }
        return ["libibverbs.so.1", "librdmacm.so.1"].map { LibraryReading(opening: $0, isRequired: false) }
    }
}
