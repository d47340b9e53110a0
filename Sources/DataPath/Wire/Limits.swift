// SPDX-License-Identifier: Apache-2.0

/// What one peer can make the other hold, and why as much.
package enum Limits {
    /// The largest frame: what is to be linked.
    ///
    /// Copies travel in frames of ``copyFrameBytes``.
    package static let frameBytesMax = 1 << 30
    /// The largest image of a module.
    package static let imageBytesMax = 1 << 30
    /// Images are cut into parts of at most this many bytes.
    package static let imagePartBytesMax = 1 << 20
    /// From this size on a server keeps images, and a client asks for them before it sends them: smaller ones are sent
    /// in the time of the question.
    package static let keptImageBytesMin = 64 << 10
    /// Copies are cut into frames of this many bytes: few enough to stay in a core's cache between the socket and the
    /// driver, enough that a system call moves much.
    package static let copyFrameBytes = 512 << 10
    /// Copies of boxes are cut into frames of at most this many bytes: few waits for a large box, and less than a reply
    /// may have.
    package static let boxFrameBytes = 4 << 20
    /// The largest small reply; copies are replies of ``copyFrameBytes``.
    package static let replyBytesMax = 64 << 20
    /// Handles of one kind in one session.
    ///
    /// An application with more leaks.
    package static let handlesMax = 1 << 20
    /// The longest name of a kernel or variable.
    ///
    /// Mangled C++ names reach tens of kilobytes.
    package static let textBytesMax = 1 << 20
    /// Elements of a list inside a frame.
    package static let listCountMax = 1 << 16
    /// Parameter block of a kernel: CUDA's own limit is 32,764 bytes.
    package static let parameterBytesMax = 32768
    /// Nodes of a graph that travels as one; larger ones are launched node by node.
    package static let graphNodesMax = 1 << 20
    /// Bodies of conditional nodes in such a graph.
    package static let graphBodiesMax = 1 << 16
}
