// SPDX-License-Identifier: Apache-2.0

/// One exported function of NVML, NVIDIA's management library, described once.
///
/// The C exports, the list of calls, the host half and the coverage page are printed from these values. A call travels
/// under its name, so that client and server of different releases agree on what is asked.
package struct ManagementFunction: Sendable {
    /// Why a function answers NVML_ERROR_NOT_SUPPORTED.
    package enum Absence: String, Sendable {
        case virtualGPUs = "virtual GPUs are the server's hypervisor's"
        case instances = "a GPU is not divided in hardware (MIG)"
        case serverProcesses = "tells of the processes of others on the server"
        case serverProcessors = "tells of the server's processors, which the program does not run on"
        case sampling = "GPM's samples live in the server's library"
        case events = "another form of events, not built yet"
        case units = "S-class units, which no server has"
        case confidential = "is about the server's virtual machine, not about a GPU"
        case olderForm = "form of an older library with another structure"
        case later = "not built yet"
    }

    package enum Answer: Sendable {
        /// The server's library answers, each time.
        case asked
        /// The server's library answers once; what never changes is kept.
        case known
        /// `Library` has a method of the same name and parameters.
        case shim
        /// The same, and what it asks of the server travels in a form of its own, which both halves know by hand.
        case relayed
        /// The same function under an older name.
        case sameAs(String)
        /// Would change a GPU that others use too: NVML_ERROR_NO_PERMISSION.
        case refused
        case absent(Absence)
    }

    /// The exported symbol.
    package let name: String
    package let answer: Answer
    /// In the order of the C function.
    package let parameters: [ManagementParameter]

    init(_ name: String, _ answer: Answer, _ parameters: [ManagementParameter] = []) {
        self.name = name
        self.answer = answer
        self.parameters = parameters
    }

    /// Whether the call travels to a source as its parameters say.
    package var isAsked: Bool {
        switch answer {
        case .asked, .known: true
        case .shim, .relayed, .sameAs, .refused, .absent: false
        }
    }

    /// Whether the call travels in a form of its own.
    package var isRelayed: Bool { if case .relayed = answer { true } else { false } }
}

/// One or two C parameters and how they travel.
package struct ManagementParameter: Sendable {
    package enum Passing: Sendable {
        /// An `nvmlDevice_t`, which travels as its index.
        case device
        /// Place for an `nvmlDevice_t`.
        case madeDevice
        /// A number, with its Swift type.
        case value(String)
        /// A NUL-terminated string.
        case text
        /// Place for so many bytes: a number or a structure.
        case result(Int)
        /// A structure of so many bytes that is read and written.
        case exchanged(Int)
        /// A structure that is read and written and whose first word holds its size, and its version in the high byte.
        case versioned
        /// Place for a text, and its length: two parameters.
        case buffer
        /// Place for so many bytes, and their number: two parameters.
        case block
        /// A count, read and written, and one array or more of elements of so many bytes.
        case list([Int])
        /// An array of elements of so many bytes, and then its count, read and written.
        case counted(Int)
        /// A count, read and written, and an array of `nvmlDevice_t`.
        case devices
        /// An `int` count and an array of elements of so many bytes that is read and written.
        case exchangedArray(Int)
        /// A pointer that only the method by hand understands.
        case pointer
        /// A count, read and written, for the method by hand.
        case count
    }

    package let name: String
    package let passing: Passing

    static let device = Self(name: "device", passing: .device)
    static func device(_ name: String) -> Self { Self(name: name, passing: .device) }
    static func madeDevice(_ name: String) -> Self { Self(name: name, passing: .madeDevice) }
    static func value(_ name: String) -> Self { Self(name: name, passing: .value("UInt32")) }
    static func value64(_ name: String) -> Self { Self(name: name, passing: .value("UInt64")) }
    static func text(_ name: String) -> Self { Self(name: name, passing: .text) }
    /// Place for an `int`, an `unsigned int` or an enumeration.
    static func result(_ name: String) -> Self { Self(name: name, passing: .result(4)) }
    /// Place for an `unsigned long long`.
    static func result64(_ name: String) -> Self { Self(name: name, passing: .result(8)) }
    static func structure(_ name: String, _ byteCount: Int) -> Self { Self(name: name, passing: .result(byteCount)) }
    static func exchanged(_ name: String, _ byteCount: Int) -> Self { Self(name: name, passing: .exchanged(byteCount)) }
    static func versioned(_ name: String) -> Self { Self(name: name, passing: .versioned) }
    static func buffer(_ name: String) -> Self { Self(name: name, passing: .buffer) }
    static func block(_ name: String) -> Self { Self(name: name, passing: .block) }
    static func list(_ name: String, _ elementBytes: Int...) -> Self { Self(name: name, passing: .list(elementBytes)) }
    static func counted(_ name: String, _ elementBytes: Int) -> Self {
        Self(name: name, passing: .counted(elementBytes))
    }
    static func devices(_ name: String) -> Self { Self(name: name, passing: .devices) }
    static func exchangedArray(_ name: String, _ elementBytes: Int) -> Self {
        Self(name: name, passing: .exchangedArray(elementBytes))
    }
    static func pointer(_ name: String) -> Self { Self(name: name, passing: .pointer) }
    static func count(_ name: String) -> Self { Self(name: name, passing: .count) }
}
