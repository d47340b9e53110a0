// SPDX-License-Identifier: Apache-2.0
import Driver
import ProgramImage
import Synchronization

/// A library: an image that is loaded into each context at the first need of it there.
final class Library: Sendable {
    struct Contents {
        /// By the context's handle.
        var modules: [UInt64: Module] = [:]
        var kernels: [String: Kernel] = [:]
        /// Whether the first device's primary context is retained for its variables.
        var holdsPrimaryContext = false
    }

    let bits: UInt64
    let options: [JITOption]
    let contents = Mutex(Contents())
    /// Held while the library is loaded into a context: other threads that need it there need the same module.
    let loading = Mutex(())
    private let imageAddress: UInt
    private let imageBytes: Int
    private let ownsImage: Bool

    /// Keeps a copy of the image, unless the application promised to preserve it: of a fat binary only what the devices
    /// can use.
    init(
        bits: UInt64, image: UnsafeRawBufferPointer, isPreserved: Bool, options: [JITOption], selection: CodeSelection
    ) {
        self.bits = bits
        self.options = options
        ownsImage = !isPreserved
        guard !isPreserved else {
            imageBytes = image.count
            imageAddress = UInt(bitPattern: image.baseAddress)
            return
        }
        var log = JITLog()
        // Where nothing fits, the load says so.
        let selected = (try? SelectedImage(image, selection, log: &log)) ?? SelectedImage(whole: image)
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: selected.byteCount, alignment: 16)
        selected.copy(to: copy)
        imageBytes = copy.count
        imageAddress = UInt(bitPattern: copy.baseAddress)
    }

    deinit {
        if ownsImage { UnsafeMutableRawPointer(bitPattern: imageAddress)?.deallocate() }
    }

    var image: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: UnsafeRawPointer(bitPattern: imageAddress), count: imageBytes)
    }

    /// Forgets what was loaded into a context that ends.
    func forget(_ context: Context) {
        let kernels = contents.withLock { contents in
            contents.modules[context.bits] = nil
            return Array(contents.kernels.values)
        }
        for kernel in kernels { kernel.functions.withLock { $0.removeAll { $0.context === context } } }
    }
}

/// A kernel of a library, in whatever context it is used.
final class Kernel: Sendable {
    let bits: UInt64
    let library: Library
    let name: ConstantText
    /// The function in each context where it was needed.
    ///
    /// There are few contexts: a search is faster than a table.
    let functions = Mutex<[Function]>([])

    init(bits: UInt64, library: Library, name: String) {
        self.bits = bits
        self.library = library
        self.name = ConstantText(name)
    }
}
