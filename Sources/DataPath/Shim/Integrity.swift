// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Glibc

/// The answer to the integrity question that NVIDIA's CUDA runtime asks a driver at its start.
///
/// Why it is here: the runtime (libcudart, also the copies inside cuBLAS, cuDNN and others) asks three times with its
/// version and the time, computes the answer itself and refuses every call with cudaErrorSoftwareValidityNotEstablished
/// if the driver's differs. Without it no program that embeds that runtime could use a remote GPU. The answer depends
/// on this process's id, thread and table addresses, so no server can give it.
///
/// What it is: for the first two questions a constant, for the others HMAC (RFC 2104) with MD2 (RFC 1319) over what
/// both sides know. The key and the two constants are data published by the ZLUDA project (MIT / Apache-2.0 licences);
/// the construction was found by watching unmodified runtimes call a driver.
enum Integrity {
    /// What the answer is computed from, besides the devices.
    struct Question {
        var driverVersion: UInt32
        /// The runtime's version plus the number of the question: its last digit.
        var version: UInt32
        var processID: UInt32
        /// The low half of the thread's `pthread_self`.
        var thread: UInt32
        /// Addresses of the two tables and the function in the second, as the runtime got them.
        var runtimeTable: UInt64
        var integrityTable: UInt64
        var integrityFunction: UInt64
        var unixSeconds: UInt64
    }

    private static let key: [UInt8] = [
        0x14, 0x6a, 0xdd, 0xae, 0x53, 0xa9, 0xa7, 0x52, 0xaa, 0x08, 0x41, 0x36, 0x0b, 0xf5, 0x5a, 0x9f,
    ]

    static func answer(_ question: Question, devices: [Device]) -> (UInt64, UInt64) {
        switch question.version % 10 {
        case 0: return (0x3341_181c_03cb_675c, 0x8ed3_83aa_1f4c_d1e8)
        case 1: return (0x1841_181c_03cb_675c, 0x8ed3_83aa_1f4c_d1e8)
        default: break
        }
        var message: [UInt8] = []
        for word in [question.driverVersion, question.version, question.processID, question.thread] {
            append(word, to: &message)
        }
        for word in [
            question.runtimeTable, question.integrityTable, question.integrityFunction, question.unixSeconds,
        ] {
            append(word, to: &message)
        }
        for device in devices {
            message += device.description.uuid
            append(device.description[CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID], to: &message)
            append(device.description[CU_DEVICE_ATTRIBUTE_PCI_BUS_ID], to: &message)
            append(device.description[CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID], to: &message)
        }
        let code = MD2.authenticationCode(key: key, message)
        return code.withUnsafeBytes {
            (
                UInt64(littleEndian: $0.loadUnaligned(as: UInt64.self)),
                UInt64(littleEndian: $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
            )
        }
    }

    private static func append(_ number: some FixedWidthInteger, to message: inout [UInt8]) {
        withUnsafeBytes(of: number.littleEndian) { message += $0 }
    }
}
