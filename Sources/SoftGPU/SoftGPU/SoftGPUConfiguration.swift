// SPDX-License-Identifier: Apache-2.0

/// How many software GPUs there are and what they look like.
///
/// Written as `2x4096`: count x MiB of memory each; then, optionally and separated by commas, `name=Text` and
/// `cc=7.5`. The environment variable ``variable`` holds it; without it there is one GPU of 4096 MiB.
package struct SoftGPUConfiguration: Sendable, Equatable {
    package static let variable = "BITFUSION_SOFT_GPU"

    /// A PCI bus number has 8 bits and the first software GPU has bus 0x10.
    package static let deviceCountMax = 64
    /// Half of a device's address range, so that there is room for guard pages.
    package static let memoryMiBMax = 512 * 1024
    /// `cuDeviceGetName` gives at most 255 bytes and a NUL.
    package static let nameBytesMax = 255

    package var deviceCount = 1
    package var memoryMiB = 4096
    package var name = "Bitfusion Soft GPU"
    package var capabilityMajor = 7
    package var capabilityMinor = 5

    package init() {}

    /// Reads the text form.
    ///
    /// What is wrong with it is said in words.
    package init(_ text: String) throws(ConfigurationError) {
        let parts = text.split(separator: ",", omittingEmptySubsequences: false)
        let sizes = (parts.first ?? "").split(separator: "x", omittingEmptySubsequences: false)
        guard sizes.count == 2, let count = Int(sizes[0]), let memory = Int(sizes[1]) else {
            throw ConfigurationError("'\(text)' is not of the form COUNTxMIB, for example 2x4096")
        }
        guard (1...Self.deviceCountMax).contains(count) else {
            throw ConfigurationError("\(count) GPUs asked for, 1 to \(Self.deviceCountMax) are possible")
        }
        guard (1...Self.memoryMiBMax).contains(memory) else {
            throw ConfigurationError("\(memory) MiB of memory asked for, 1 to \(Self.memoryMiBMax) are possible")
        }
        deviceCount = count
        memoryMiB = memory
        for part in parts.dropFirst() {
            try read(option: part)
        }
    }

    private mutating func read(option: Substring) throws(ConfigurationError) {
        if option.hasPrefix("name=") {
            name = String(option.dropFirst(5))
            guard (1...Self.nameBytesMax).contains(name.utf8.count) else {
                throw ConfigurationError("a GPU's name has 1 to \(Self.nameBytesMax) bytes")
            }
        } else if option.hasPrefix("cc=") {
            let numbers = option.dropFirst(3).split(separator: ".", omittingEmptySubsequences: false)
            guard numbers.count == 2, let major = Int(numbers[0]), let minor = Int(numbers[1]),
                (5...12).contains(major), (0...9).contains(minor)
            else { throw ConfigurationError("'\(option)' is not a compute capability such as cc=7.5") }
            capabilityMajor = major
            capabilityMinor = minor
        } else {
            throw ConfigurationError("'\(option)' is not an option; there are name=TEXT and cc=MAJOR.MINOR")
        }
    }
}

/// What is wrong with a ``SoftGPUConfiguration``, in words.
package struct ConfigurationError: Error, Equatable, Sendable, CustomStringConvertible {
    package let description: String

    init(_ description: String) { self.description = "\(SoftGPUConfiguration.variable): \(description)" }
}
