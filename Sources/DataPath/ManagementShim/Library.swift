// SPDX-License-Identifier: Apache-2.0
import CNVML
import Management
import Wire

/// The state of the library in this process: how often it was initialised, and who answers its questions.
///
/// The exported functions are methods of it, or go through ``ask(_:_:)``. It prints nothing: tools tell their users
/// what a result code means.
final class Library: @unchecked Sendable {
    static let shared = Library()

    // SAFETY: all of it is read and written while the LibraryLock is held.
    private var initialisations = 0
    private(set) var source: (any ManagementSource)?
    private(set) var deviceCount = 0
    var eventSets = EventSets()

    func nvmlInit_v2() -> UInt32 { LibraryLock.withLock { initialise() } }

    func nvmlInitWithFlags(_ flags: UInt32) -> UInt32 { LibraryLock.withLock { initialise() } }

    func nvmlShutdown() -> UInt32 { LibraryLock.withLock { shutDown() } }

    private func initialise() -> UInt32 {
        if initialisations == 0 {
            var error = NVMLCode.driverNotLoaded
            guard let made = bitfusion_make_management(&error) else { return error }
            let source = Unmanaged<ManagementSourceBox>.fromOpaque(made).takeRetainedValue().source
            guard let count = source.numbers(.nvmlDeviceGetCount_v2)?.first,
                count <= UInt32(ManagementLimits.devicesMax)
            else { return NVMLCode.driverNotLoaded }
            self.source = source
            deviceCount = Int(count)
        }
        initialisations += 1
        return NVMLCode.success
    }

    private func shutDown() -> UInt32 {
        guard initialisations > 0 else { return NVMLCode.uninitialized }
        initialisations -= 1
        if initialisations == 0 {
            source = nil
            deviceCount = 0
            eventSets.removeAll()
        }
        return NVMLCode.success
    }

    /// Puts a question to the source and stores its answer.
    func ask(_ call: ManagementCall, _ arguments: [Argument]) -> UInt32 {
        LibraryLock.withLock {
            // This one needs no initialisation, as in NVIDIA's library.
            let isAlone = source == nil && call == .nvmlSystemGetCudaDriverVersion_v2
            if isAlone {
                let status = initialise()
                guard status == NVMLCode.success else { return status }
            }
            defer { if isAlone { _ = shutDown() } }
            guard let source else { return NVMLCode.uninitialized }
            guard Argument.hasPlace(arguments) else { return NVMLCode.invalidArgument }
            var question = PayloadWriter()
            do throws(Refusal) {
                for argument in arguments { try argument.write(to: &question, deviceCount: deviceCount) }
            } catch {
                return error.status
            }
            return Library.store(source.answer(ManagementQuestion(call, bytes: question.bytes)), arguments)
        }
    }

    private static func store(_ answer: ManagementAnswer, _ arguments: [Argument]) -> UInt32 {
        var reader = ValueReader(answer.bytes)
        do throws(MalformedQuestion) {
            if answer.status == NVMLCode.success {
                for argument in arguments { try argument.store(&reader) }
            } else if answer.status == NVMLCode.insufficientSize {
                for argument in arguments { try argument.storeNeed(&reader) }
            }
            return answer.status
        } catch {
            return NVMLCode.unknown
        }
    }

    /// Runs `body` for one of the devices, or says what is wrong.
    func withDevice(_ handle: UnsafeMutableRawPointer?, _ body: (Int) -> UInt32) -> UInt32 {
        LibraryLock.withLock {
            guard source != nil else { return NVMLCode.uninitialized }
            guard let index = DeviceHandle.index(of: handle, count: deviceCount) else {
                return NVMLCode.invalidArgument
            }
            return body(index)
        }
    }

    /// Runs `body` with the number of devices, or says that the library is not initialised.
    func withDeviceCount(_ body: (Int) -> UInt32) -> UInt32 {
        LibraryLock.withLock { source == nil ? NVMLCode.uninitialized : body(deviceCount) }
    }
}
