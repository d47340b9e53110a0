// SPDX-License-Identifier: Apache-2.0
package import Pool

/// GPUs of these sizes, for a server that is made up.
package func gpus(_ mebibytes: [Int]) -> [GPU] {
    mebibytes.enumerated().map { index, mebibytes in
        GPU(index: index, name: "test", uuid: "GPU-\(index)", totalMiB: mebibytes, pciBusID: "00000000:1\(index):00.0")
    }
}
