// SPDX-License-Identifier: Apache-2.0

/// What a question may make its answerer hold, and why as much.
package enum ManagementLimits {
    /// GPUs of a server.
    package static let devicesMax = 1024
    /// A UUID, a bus number, a serial number.
    package static let textBytesMax = 4096
    /// The largest public structure, a certificate, has 12 KiB.
    package static let structureBytesMax = 64 << 10
    /// All arrays of a list together.
    package static let arrayBytesMax = 1 << 20
    /// Sets of events of one program: tools make one or two, and some forget to free them.
    package static let eventSetsMax = 1024
    /// A question: its name, and at most a structure and an array.
    package static let questionBytesMax = 2 << 20
    package static let answerBytesMax = 2 << 20
}
