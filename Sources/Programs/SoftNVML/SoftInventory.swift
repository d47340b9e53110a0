// SPDX-License-Identifier: Apache-2.0
import Glibc

/// The software GPUs of this process as `BITFUSION_SOFT_GPU` describes them.
///
/// `2x4096` is two GPUs of 4096 MiB; after that `,name=TEXT` and `,cc=MAJOR.MINOR` may follow. The software
/// `libcuda.so.1` reads the same variable and reports the same identities, so that a program may match the devices of
/// the two libraries by UUID or PCI address.
struct SoftInventory: Equatable {
    var count = 1
    var totalBytes: UInt64 = 4096 << 20
    var name = "Bitfusion Soft GPU"
    var capabilityMajor: Int32 = 7
    var capabilityMinor: Int32 = 5

    // The limits of the software `libcuda.so.1`.
    static let countMax = 64
    static let mebibytesMax = 512 * 1024
    static let nameBytesMax = 255
    static let firstBus = 0x10

    /// Nil when the text is not such a description.
    init?(parsing text: String) {
        let parts = text.split(separator: ",", omittingEmptySubsequences: false)
        let sizes = parts[0].split(separator: "x", omittingEmptySubsequences: false)
        guard sizes.count == 2, let count = Int(sizes[0]), let mebibytes = Int(sizes[1]),
            (1...Self.countMax).contains(count), (1...Self.mebibytesMax).contains(mebibytes)
        else { return nil }
        self.count = count
        self.totalBytes = UInt64(mebibytes) << 20
        for part in parts.dropFirst() {
            let pair = part.split(separator: "=", maxSplits: 1)
            guard pair.count == 2 else { return nil }
            switch pair[0] {
            case "name":
                guard pair[1].utf8.count <= Self.nameBytesMax else { return nil }
                self.name = String(pair[1])
            case "cc":
                let digits = pair[1].split(separator: ".")
                guard digits.count == 2, let major = Int32(digits[0]), let minor = Int32(digits[1]) else { return nil }
                (self.capabilityMajor, self.capabilityMinor) = (major, minor)
            default:
                return nil
            }
        }
    }

    /// What the environment says; one GPU of 4096 MiB when it says nothing.
    static func fromEnvironment() -> SoftInventory? {
        guard let text = getenv("BITFUSION_SOFT_GPU") else { return SoftInventory(parsing: "1x4096") }
        return SoftInventory(parsing: String(cString: text))
    }

    func bus(of ordinal: Int) -> Int { Self.firstBus + ordinal }

    /// `GPU-` and the 16 bytes of the UUID, which are the ASCII text `bitfusion-soft-` and the ordinal.
    func uuid(of ordinal: Int) -> String {
        var text = "GPU-"
        for (index, byte) in (Array("bitfusion-soft-".utf8) + [UInt8(ordinal)]).enumerated() {
            if [4, 6, 8, 10].contains(index) { text += "-" }
            text += hexadecimal(Int(byte), digits: 2)
        }
        return text
    }

    /// The PCI address with a domain of four or eight digits, as `0000:1A:00.0`, in capitals as NVIDIA's tools print
    /// it.
    func pciAddress(of ordinal: Int, domainDigits: Int) -> String {
        "\(hexadecimal(0, digits: domainDigits)):\(hexadecimal(bus(of: ordinal), digits: 2, uppercase: true)):00.0"
    }
}

private func hexadecimal(_ number: Int, digits: Int, uppercase: Bool = false) -> String {
    let text = String(number, radix: 16, uppercase: uppercase)
    return String(repeating: "0", count: max(0, digits - text.count)) + text
}
