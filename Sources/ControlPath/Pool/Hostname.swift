// SPDX-License-Identifier: Apache-2.0
import Glibc

/// The name of this machine, as `hostname` prints it; empty when the system does not tell.
package func hostname() -> String {
    var name = [CChar](repeating: 0, count: 256)
    guard unsafe gethostname(&name, name.count - 1) == 0 else { return "" }
    return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
