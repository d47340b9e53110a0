// SPDX-License-Identifier: Apache-2.0

/// The version of this build, the same for client and server.
package enum ProductVersion {
    package static let number = "0.1.0"
}
