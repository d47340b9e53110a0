// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Glibc
import Synchronization

/// The process's one driver: made at first need, published by `cuInit`, lost in a forked child.
///
/// A child that inherits an initialised driver cannot use it (the connection and the threads are the parent's) and gets
/// CUDA_ERROR_NOT_INITIALIZED from every call, as with NVIDIA's driver. A child of a process that had not called
/// `cuInit` starts its own.
final class Startup: Sendable {
    private enum State {
        case untried
        case made(Shim)
        case failed(CUresult)
    }

    private let state = Mutex(State.untried)

    /// Address of the shim that `cuInit` published; it is never freed.
    ///
    /// 0 before `cuInit` and in a forked child.
    private static let published = Atomic<UInt>(0)
    /// Address of the current `Startup`; a forked child takes a new one, since the parent's lock may be held.
    private static let current = Atomic<UInt>(0)
    private static let isForked = Atomic<Bool>(false)
    /// The driver's version once it is known, which a forked child may still ask for.
    private static let knownVersion = Atomic<Int32>(0)

    /// The version that is reported while no driver can be asked.
    static let versionWithoutDriver: Int32 = 13050

    /// The shim, after `cuInit`.
    ///
    /// It is never freed, so that calls need not count their references to it.
    @inline(__always)
    static var initialised: Unmanaged<Shim>? {
        UnsafeRawPointer(bitPattern: published.load(ordering: .acquiring)).map { Unmanaged<Shim>.fromOpaque($0) }
    }

    /// Why a call is refused while there is no shim.
    static var refusal: CUresult { CUDA_ERROR_NOT_INITIALIZED }

    static func initialise() throws(CUDAError) {
        if published.load(ordering: .acquiring) != 0 { return }
        if isForked.load(ordering: .relaxed) { throw .notInitialized }
        let shim = try instance.shim()
        if shim.devices.isEmpty { throw CUDAError(CUDA_ERROR_NO_DEVICE) }
        published.store(UInt(bitPattern: Unmanaged.passUnretained(shim).toOpaque()), ordering: .releasing)
    }

    static var driverVersion: Int32 {
        let known = knownVersion.load(ordering: .relaxed)
        if known != 0 { return known }
        do throws(CUDAError) { return try instance.shim().description.version } catch { return versionWithoutDriver }
    }

    private static let registerForkHandler: Void = {
        _ = pthread_atfork(nil, nil) { Startup.forgetInForkedChild() }
    }()

    private static var instance: Startup {
        _ = registerForkHandler
        while true {
            if let address = UnsafeRawPointer(bitPattern: current.load(ordering: .acquiring)) {
                return Unmanaged<Startup>.fromOpaque(address).takeUnretainedValue()
            }
            let made = Unmanaged.passRetained(Startup())
            let (isFirst, _) = current.compareExchange(
                expected: 0, desired: UInt(bitPattern: made.toOpaque()), ordering: .acquiringAndReleasing)
            if !isFirst { made.release() }
        }
    }

    /// Runs in a forked child: nothing of the parent's driver may be used or freed.
    private static func forgetInForkedChild() {
        if published.exchange(0, ordering: .relaxed) != 0 { isForked.store(true, ordering: .relaxed) }
        current.store(0, ordering: .relaxed)
    }

    /// Makes the driver once.
    ///
    /// The lock is held meanwhile: every other caller needs the same driver.
    private func shim() throws(CUDAError) -> Shim {
        try state.withLock { state throws(CUDAError) in
            switch state {
            case .made(let shim): return shim
            case .failed(let code): throw CUDAError(code)
            case .untried: break
            }
            do throws(CUDAError) {
                let shim = try Self.makeShim()
                Self.knownVersion.store(shim.description.version, ordering: .relaxed)
                state = .made(shim)
                return shim
            } catch {
                state = .failed(error.code)
                throw error
            }
        }
    }

    private static func makeShim() throws(CUDAError) -> Shim {
        var code: Int32 = 0
        guard let address = bitfusion_make_driver(&code) else {
            throw CUDAError(code == 0 ? CUDA_ERROR_NO_DEVICE : CUresult(UInt32(bitPattern: code)))
        }
        let source = Unmanaged<DriverSource>.fromOpaque(address).takeRetainedValue()
        return Shim(source, description: try source.driver.describe(), environment: .ofProcess())
    }
}
