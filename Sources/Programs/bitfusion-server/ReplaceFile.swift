// SPDX-License-Identifier: Apache-2.0
import Glibc

/// Writes a file in one step: whoever reads it sees the old text or the new one.
///
/// Returns what went wrong, in words.
func replaceFile(_ path: String, _ text: String) -> String? {
    let new = path + ".new"
    let descriptor = open(new, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { return String(cString: strerror(errno)) }
    let bytes = Array(text.utf8)
    let count = write(descriptor, bytes, bytes.count)
    let code = count < 0 ? errno : ENOSPC
    close(descriptor)
    guard count == bytes.count, rename(new, path) == 0 else {
        let reason = String(cString: strerror(count == bytes.count ? errno : code))
        unlink(new)
        return reason
    }
    return nil
}
