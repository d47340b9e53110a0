// SPDX-License-Identifier: Apache-2.0
package import CCUDA

/// A CUDA call that did not succeed, with the code the application will see.
package struct CUDAError: Error, Equatable, Sendable {
    package let code: CUresult

    package init(_ code: CUresult) { self.code = code }

    package static var invalidValue: Self { Self(CUDA_ERROR_INVALID_VALUE) }
    package static var outOfMemory: Self { Self(CUDA_ERROR_OUT_OF_MEMORY) }
    package static var notInitialized: Self { Self(CUDA_ERROR_NOT_INITIALIZED) }
    package static var deinitialized: Self { Self(CUDA_ERROR_DEINITIALIZED) }
    package static var invalidDevice: Self { Self(CUDA_ERROR_INVALID_DEVICE) }
    package static var invalidImage: Self { Self(CUDA_ERROR_INVALID_IMAGE) }
    package static var invalidContext: Self { Self(CUDA_ERROR_INVALID_CONTEXT) }
    package static var invalidHandle: Self { Self(CUDA_ERROR_INVALID_HANDLE) }
    package static var notFound: Self { Self(CUDA_ERROR_NOT_FOUND) }
    package static var notReady: Self { Self(CUDA_ERROR_NOT_READY) }
    package static var notSupported: Self { Self(CUDA_ERROR_NOT_SUPPORTED) }
    package static var systemNotReady: Self { Self(CUDA_ERROR_SYSTEM_NOT_READY) }
    package static var contextIsDestroyed: Self { Self(CUDA_ERROR_CONTEXT_IS_DESTROYED) }
    package static var unknown: Self { Self(CUDA_ERROR_UNKNOWN) }

    /// Whether the error stays with its context: every later call in it fails with the same code, as CUDA documents for
    /// errors of running kernels.
    package var isSticky: Bool {
        switch code {
        case CUDA_ERROR_ILLEGAL_ADDRESS, CUDA_ERROR_LAUNCH_FAILED, CUDA_ERROR_LAUNCH_TIMEOUT, CUDA_ERROR_ASSERT,
            CUDA_ERROR_HARDWARE_STACK_ERROR, CUDA_ERROR_ILLEGAL_INSTRUCTION, CUDA_ERROR_MISALIGNED_ADDRESS,
            CUDA_ERROR_INVALID_ADDRESS_SPACE, CUDA_ERROR_INVALID_PC, CUDA_ERROR_ECC_UNCORRECTABLE:
            true
        default: false
        }
    }
}

/// Turns a result code into a thrown error.
package func check(_ code: CUresult) throws(CUDAError) {
    guard code == CUDA_SUCCESS else { throw CUDAError(code) }
}
