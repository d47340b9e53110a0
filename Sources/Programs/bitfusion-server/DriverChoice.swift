// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import FoundationEssentials
import Glibc
import Health
import Pool
import UsageBoard

/// Which libcuda.so.1 the workers drive, and with which software GPUs.
struct DriverChoice {
    /// A path, or a name that the system's linker finds.
    let path: String
    /// The specification of the software GPUs, for `BITFUSION_SOFT_GPU`.
    let softGPU: String?
    /// Where the processes that drive software GPUs say what they do on them, for their management library.
    private let board: UsageBoard?
    /// Where NVIDIA's driver keeps what it has compiled from PTX, when the daemon's environment does not say.
    private let compiledCodeFolder: String?

    /// Throws when the specification of the software GPUs is none.
    ///
    /// What is possible, the driver knows.
    init(driver: String?, softGPU: String?, dataFolder: String? = nil) throws {
        if let softGPU {
            let sizes = softGPU.prefix { $0 != "," }.split(separator: "x", omittingEmptySubsequences: false)
            guard sizes.count == 2, sizes.allSatisfy({ UInt($0) != nil }) else {
                throw ValidationError(
                    "--soft-gpu '\(softGPU)' is not a number of GPUs and the MiB of each, such as 2x4096")
            }
        }
        self.softGPU = softGPU
        compiledCodeFolder = softGPU == nil ? dataFolder.map { $0 + "/ComputeCache" } : nil
        board = softGPU == nil ? nil : UsageBoard()
        path = driver ?? (softGPU == nil ? "libcuda.so.1" : InstalledFiles.libraryFolder + "/soft/libcuda.so.1")
    }

    /// The environment of a process that loads the driver.
    var environment: [String: String] {
        var environment = ProcessInfo.processInfo.environment
        // Numbered as nvidia-smi and the management library do, unless the administrator wants it otherwise.
        if environment["CUDA_DEVICE_ORDER"] == nil { environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID" }
        if let softGPU { environment["BITFUSION_SOFT_GPU"] = softGPU }
        if let board { environment[UsageBoard.variable] = board.path }
        if let compiledCodeFolder, environment["CUDA_CACHE_PATH"] == nil {
            environment["CUDA_CACHE_PATH"] = compiledCodeFolder
        }
        return environment
    }

    /// What processes that share whole GPUs may use together where nothing else limits it: a software GPU's memory is
    /// its process's.
    func wholeMebibytes(_ inventory: Inventory) -> Int? { softGPU == nil ? nil : inventory.gpus.first?.totalMiB }

    /// Asks a process of its own what the driver has: the daemon itself never loads one.
    func inventory(milliseconds: Int64? = nil) throws -> Inventory {
        let finished = try ChildProcess.output(
            of: InstalledFiles.thisProgram, ["probe", "--driver", path], environment: environment,
            milliseconds: milliseconds)
        let source = softGPU.map { "--soft-gpu \($0): " } ?? ""
        guard finished.status == 0 else {
            // The probe says why in one line, unless the driver ended it.
            let reason = finished.output.prefix { !$0.isNewline }
            throw Failure(
                description: source
                    + (reason.isEmpty ? "the driver \(path) ends the process that starts it" : String(reason)))
        }
        guard let inventory = try? JSONDecoder().decode(Inventory.self, from: Data(finished.output.utf8)) else {
            throw Failure(description: "\(source)the driver \(path) prints to the standard output when it starts")
        }
        return inventory
    }

    /// Asks a process of its own what the health checks want to know.
    func readings(milliseconds: Int64) throws(SourceFailure) -> GPUReadings {
        let software = softGPU == nil ? [] : ["--software"]
        do {
            let finished = try ChildProcess.output(
                of: InstalledFiles.thisProgram, ["sample", "--health", "--driver", path] + software,
                environment: environment, milliseconds: milliseconds)
            guard finished.status == 0 else {
                throw SourceFailure(
                    "the libraries of the driver do not answer within \(milliseconds) ms, or end with an error")
            }
            return try JSONDecoder().decode(GPUReadings.self, from: Data(finished.output.utf8))
        } catch let failure as SourceFailure {
            throw failure
        } catch {
            throw SourceFailure("the libraries of the driver cannot be asked: \(error)")
        }
    }

    /// Why a driver cannot be used.
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }
}

/// Where the programs and the libraries are installed.
enum InstalledFiles {
    /// This executable.
    static var thisProgram: String {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink("/proc/self/exe", &buffer, buffer.count - 1)
        return count > 0 ? String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self) : ""
    }

    /// The folder that has `bin`, `lib` and `share`.
    static var prefix: String {
        thisProgram.split(separator: "/", omittingEmptySubsequences: false).dropLast(2).joined(separator: "/")
    }

    /// The folder with `client` and `soft`: beside the folder of this executable, or BITFUSION_LIB_DIR.
    static var libraryFolder: String {
        if let folder = ProcessInfo.processInfo.environment["BITFUSION_LIB_DIR"], !folder.isEmpty { return folder }
        let programs = thisProgram.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(
            separator: "/")
        return programs + "/../lib/bitfusion"
    }
}
