// SPDX-License-Identifier: Apache-2.0
import CLLVM
import CSoftGPU
import Glibc
import PTX
import Synchronization

/// Machine code in memory; freed with this object.
final class CompiledCode: @unchecked Sendable {
    // SAFETY: LLVM's trackers may be used from any thread.
    let address: UInt
    private let tracker: LLVMOrcResourceTrackerRef

    init(address: UInt, tracker: LLVMOrcResourceTrackerRef) {
        self.address = address
        self.tracker = tracker
    }

    deinit {
        if let error = LLVMOrcResourceTrackerRemove(tracker) { LLVMConsumeError(error) }
        LLVMOrcReleaseResourceTracker(tracker)
    }
}

/// Turns LLVM IR text into machine code of this host: parse, optimise, generate.
///
/// There is one per process, because LLVM's registry of targets is the process's as well.
struct JIT: @unchecked Sendable {
    // SAFETY: LLVM's ORC layer is safe to use from several threads; the other members are never changed.
    private let jit: LLVMOrcLLJITRef
    private let processor: String
    private let features: String

    private static let shared = Result { () throws(PTXError) in try JIT() }
    private static let names = Atomic<UInt64>(0)

    /// A name that no other compiled kernel has.
    static func freshName() -> String { "kernel\(names.wrappingAdd(1, ordering: .relaxed).newValue)" }

    static func compile(_ text: String, entry: String, describedAs name: String) throws(PTXError) -> CompiledCode {
        try shared.get().compile(text, entry: entry, describedAs: name)
    }

    private init() throws(PTXError) {
        LLVMInitializeX86TargetInfo()
        LLVMInitializeX86Target()
        LLVMInitializeX86TargetMC()
        LLVMInitializeX86AsmPrinter()
        processor = Self.take(LLVMGetHostCPUName())
        features = Self.take(LLVMGetHostCPUFeatures())
        let builder = LLVMOrcCreateLLJITBuilder()
        let machine = try Self.targetMachine(processor, features)
        LLVMOrcLLJITBuilderSetJITTargetMachineBuilder(
            builder, LLVMOrcJITTargetMachineBuilderCreateFromTargetMachine(machine))
        var created: LLVMOrcLLJITRef?
        if let error = LLVMOrcCreateLLJIT(&created, builder) {
            throw Self.failure("the compiler does not start", error)
        }
        guard let created else { throw PTXError(line: 0, message: "the compiler does not start", kind: .unsupported) }
        jit = created
        try defineSymbols()
    }

    private func defineSymbols() throws(PTXError) {
        var pairs: [LLVMOrcCSymbolMapPair] = []
        let flags = LLVMJITSymbolFlags(
            GenericFlags: UInt8(
                LLVMJITSymbolGenericFlagsExported.rawValue | LLVMJITSymbolGenericFlagsCallable.rawValue),
            TargetFlags: 0)
        var next = sg_symbols()
        while let symbol = next, let name = symbol.pointee.name {
            let address = UInt64(UInt(bitPattern: symbol.pointee.address))
            pairs.append(
                LLVMOrcCSymbolMapPair(
                    Name: LLVMOrcLLJITMangleAndIntern(jit, name),
                    Sym: LLVMJITEvaluatedSymbol(Address: address, Flags: flags)))
            next = symbol + 1
        }
        let library = LLVMOrcLLJITGetMainJITDylib(jit)
        if let error = LLVMOrcJITDylibDefine(library, LLVMOrcAbsoluteSymbols(&pairs, pairs.count)) {
            throw Self.failure("the compiler does not start", error)
        }
        // What else LLVM may call, such as conversions that the processor lacks, is the C library's.
        var generator: LLVMOrcDefinitionGeneratorRef?
        let prefix = LLVMOrcLLJITGetGlobalPrefix(jit)
        if let error = LLVMOrcCreateDynamicLibrarySearchGeneratorForProcess(&generator, prefix, nil, nil) {
            throw Self.failure("the compiler does not start", error)
        }
        LLVMOrcJITDylibAddGenerator(library, generator)
    }

    private func compile(_ text: String, entry: String, describedAs name: String) throws(PTXError) -> CompiledCode {
        Dump.write(text, kernel: name, stage: "ll")
        let machine = try Self.targetMachine(processor, features)
        defer { LLVMDisposeTargetMachine(machine) }
        let object = try makeObject(text, machine, describedAs: name)
        let library = LLVMOrcLLJITGetMainJITDylib(jit)
        guard let tracker = LLVMOrcJITDylibCreateResourceTracker(library) else {
            LLVMDisposeMemoryBuffer(object)
            throw PTXError(line: 0, message: "no memory for the compiler", kind: .unsupported)
        }
        if let error = LLVMOrcLLJITAddObjectFileWithRT(jit, tracker, object) {
            LLVMOrcReleaseResourceTracker(tracker)
            throw Self.failure("the kernel '\(name)' cannot be loaded", error)
        }
        var address: UInt64 = 0
        if let error = LLVMOrcLLJITLookup(jit, &address, entry) {
            LLVMOrcReleaseResourceTracker(tracker)
            throw Self.failure("the kernel '\(name)' cannot be loaded", error)
        }
        return CompiledCode(address: UInt(address), tracker: tracker)
    }

    /// From text to an object file, in a context of its own: several threads may compile at once.
    private func makeObject(
        _ text: String, _ machine: LLVMTargetMachineRef?, describedAs name: String
    ) throws(PTXError) -> LLVMMemoryBufferRef? {
        let context = LLVMContextCreate()
        defer { LLVMContextDispose(context) }
        let module = try parse(text, context)
        defer { LLVMDisposeModule(module) }
        try optimise(module, machine)
        if Dump.isWanted { Dump.write(Self.take(LLVMPrintModuleToString(module)), kernel: name, stage: "opt.ll") }
        var object: LLVMMemoryBufferRef?
        var message: UnsafeMutablePointer<CChar>?
        guard LLVMTargetMachineEmitToMemoryBuffer(machine, module, LLVMObjectFile, &message, &object) == 0 else {
            let reason = Self.take(message)
            throw PTXError(line: 0, message: "the kernel '\(name)' cannot be compiled: \(reason)", kind: .unsupported)
        }
        return object
    }

    private func parse(_ text: String, _ context: LLVMContextRef?) throws(PTXError) -> LLVMModuleRef? {
        var text = text
        let buffer = text.withUTF8 { bytes in
            bytes.withMemoryRebound(to: CChar.self) { characters in
                LLVMCreateMemoryBufferWithMemoryRangeCopy(characters.baseAddress, characters.count, "kernel")
            }
        }
        var module: LLVMModuleRef?
        var message: UnsafeMutablePointer<CChar>?
        guard LLVMParseIRInContext(context, buffer, &module, &message) == 0 else {
            let reason = Self.take(message)
            throw PTXError(line: 0, message: "the compiler made invalid code: \(reason)", kind: .unsupported)
        }
        return module
    }

    private func optimise(_ module: LLVMModuleRef?, _ machine: LLVMTargetMachineRef?) throws(PTXError) {
        let triple = LLVMGetTargetMachineTriple(machine)
        LLVMSetTarget(module, triple)
        LLVMDisposeMessage(triple)
        LLVMSetDataLayout(module, LLVMOrcLLJITGetDataLayoutStr(jit))
        let options = LLVMCreatePassBuilderOptions()
        defer { LLVMDisposePassBuilderOptions(options) }
        if let error = LLVMRunPasses(module, "default<O2>", machine, options) {
            throw Self.failure("the kernel cannot be optimised", error)
        }
    }

    private static func targetMachine(_ processor: String, _ features: String) throws(PTXError) -> LLVMTargetMachineRef?
    {
        let triple = LLVMGetDefaultTargetTriple()
        defer { LLVMDisposeMessage(triple) }
        var target: LLVMTargetRef?
        var message: UnsafeMutablePointer<CChar>?
        guard LLVMGetTargetFromTriple(triple, &target, &message) == 0 else {
            throw PTXError(
                line: 0, message: "the compiler does not know this host: \(take(message))", kind: .unsupported)
        }
        return LLVMCreateTargetMachine(
            target, triple, processor, features, LLVMCodeGenLevelDefault, LLVMRelocPIC, LLVMCodeModelJITDefault)
    }

    /// Copies a message of LLVM's and frees it.
    private static func take(_ message: UnsafeMutablePointer<CChar>?) -> String {
        guard let message else { return "" }
        defer { LLVMDisposeMessage(message) }
        return String(cString: message)
    }

    private static func failure(_ what: String, _ error: LLVMErrorRef) -> PTXError {
        guard let message = LLVMGetErrorMessage(error) else {
            return PTXError(line: 0, message: what, kind: .unsupported)
        }
        defer { LLVMDisposeErrorMessage(message) }
        return PTXError(line: 0, message: "\(what): \(String(cString: message))", kind: .unsupported)
    }
}

/// `BITFUSION_PTX_DUMP=FOLDER` keeps what the compiler makes of each kernel, for its developers.
enum Dump {
    private static let folder: String? = getenv("BITFUSION_PTX_DUMP").map { String(cString: $0) }

    static var isWanted: Bool { folder != nil }

    static func write(_ text: String, kernel: String, stage: String) {
        guard let folder, let file = fopen("\(folder)/\(kernel.prefix(100)).\(stage)", "w") else { return }
        fputs(text, file)
        fclose(file)
    }
}
