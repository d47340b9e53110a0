// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Glibc
import Synchronization
import Testing

/// What every ``Driver`` does, whatever is behind it.
///
/// The suites `DriverContract...` run once for each of the `subjects`, which are the software GPU's here and the driver
/// of a machine in Tests/HostContract.
enum DriverContract {
    /// One driver that is put to the test.
    ///
    /// Each contract makes a fresh one.
    struct Subject: Sendable, CustomTestStringConvertible {
        let name: String
        /// Whether handles that are not the driver's are refused.
        ///
        /// NVIDIA's driver follows them; in front of it the session refuses them.
        var checksHandles = true
        let makeDriver: @Sendable () throws -> any Driver

        var testDescription: String { name }
    }

    static var handleCheckingSubjects: [Subject] { subjects.filter(\.checksHandles) }
}

/// A driver with a context on its first device, and the few steps that contracts are made of.
final class DriverFixture: Sendable {
    let driver: any Driver
    let context: ContextHandle

    init(_ subject: DriverContract.Subject) throws {
        driver = try subject.makeDriver()
        context = try driver.cuDevicePrimaryCtxRetain(dev: 0)
    }

    deinit { try? driver.cuDevicePrimaryCtxRelease_v2(dev: 0, context: context) }

    /// Ends a contract that is about two devices where there is one.
    func needSecondDevice() throws {
        if try driver.describe().devices.count < 2 { try Test.cancel("there is one device") }
    }

    // MARK: Memory

    /// Device memory with these values.
    func upload<Element: BitwiseCopyable>(_ values: [Element]) throws -> CUdeviceptr {
        let address = try driver.cuMemAlloc_v2(context, bytesize: values.count * MemoryLayout<Element>.stride)
        try write(values, to: address)
        return address
    }

    func write<Element: BitwiseCopyable>(
        _ values: [Element], to address: CUdeviceptr, _ stream: StreamHandle = .legacyDefault
    ) throws {
        try driver.cuMemcpyHtoDAsync_v2(context, dstDevice: address, srcHost: values.span.bytes, hStream: stream)
    }

    func download<Element: BitwiseCopyable>(
        _ address: CUdeviceptr, count: Int, of zero: Element, _ stream: StreamHandle = .legacyDefault
    ) throws -> [Element] {
        var values = [Element](repeating: zero, count: count)
        try values.withUnsafeMutableBytes {
            try driver.cuMemcpyDtoH_v2(context, dstHost: $0, srcDevice: address, stream: stream)
        }
        return values
    }

    func allocate(_ byteCount: Int) throws -> CUdeviceptr { try driver.cuMemAlloc_v2(context, bytesize: byteCount) }

    func free(_ address: CUdeviceptr) throws { try driver.cuMemFree_v2(context, dptr: address) }

    // MARK: Kernels

    func load(_ text: String) throws -> ModuleHandle {
        var log = JITLog()
        do {
            return try driver.cuModuleLoadDataEx(context, image: Array(text.utf8).span.bytes, options: [], log: &log)
        } catch {
            Issue.record("the module does not load: \(log.error)")
            throw error
        }
    }

    func function(_ name: String, in text: String) throws -> FunctionDescription {
        try driver.cuModuleGetFunction(context, hmod: try load(text), name: name)
    }

    func launch(
        _ function: FunctionDescription, grid: UInt32 = 1, block: UInt32 = 1, shared: UInt32 = 0,
        _ stream: StreamHandle = .legacyDefault, _ arguments: KernelArgument...
    ) throws {
        let packed = KernelArgument.pack(arguments)
        try packed.withUnsafeBytes { parameters in
            try driver.cuLaunchKernel(
                context, f: function.function,
                LaunchGeometry(grid: (grid, 1, 1), block: (block, 1, 1), dynamicSharedBytes: shared), stream: stream,
                parameters: parameters)
        }
    }

    // MARK: Streams

    func makeStream(nonBlocking: Bool = false) throws -> StreamHandle {
        let flags = nonBlocking ? CU_STREAM_NON_BLOCKING : CU_STREAM_DEFAULT
        return try driver.cuStreamCreateWithPriority(context, flags: flags.rawValue, priority: 0)
    }

    func synchronize() throws { try driver.cuCtxSynchronize(context) }

    /// Makes a stream stand still until the gate is opened.
    func block(_ stream: StreamHandle) throws -> Gate {
        let gate = Gate()
        try driver.cuLaunchHostFunc(context, stream: stream) { gate.wait() }
        return gate
    }

    /// Expects `body` to be refused with this code, at once or, where calls do not wait for their result, by the
    /// synchronisation after it.
    func expectRefusal(
        _ codes: CUresult..., sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Void
    ) {
        do {
            try body()
            try synchronize()
            Issue.record("the call was not refused", sourceLocation: sourceLocation)
        } catch let error as CUDAError {
            #expect(codes.contains(error.code), "refused with \(error.code.rawValue)", sourceLocation: sourceLocation)
        } catch {
            Issue.record(error, sourceLocation: sourceLocation)
        }
    }
}

/// Something that threads wait for.
///
/// A gate that is never opened opens after ten seconds, so that no test hangs.
final class Gate: Sendable {
    private let isOpen = Atomic<Bool>(false)

    func open() { isOpen.store(true, ordering: .releasing) }

    func wait() {
        for _ in 0..<100_000 where !isOpen.load(ordering: .acquiring) { usleep(100) }
    }

    deinit { open() }
}

/// A parameter of a kernel, placed as PTX places it: at a multiple of its size.
enum KernelArgument {
    case u8(UInt8)
    case u16(UInt16)
    case u32(UInt32)
    case u64(UInt64)
    case f32(Float)
    case f64(Double)

    static func pack(_ arguments: [KernelArgument]) -> [UInt8] {
        arguments.reduce(into: []) { block, argument in
            let bytes = argument.bytes
            while block.count % bytes.count != 0 { block.append(0) }
            block += bytes
        }
    }

    private var bytes: [UInt8] {
        func bytes<Value: BitwiseCopyable>(_ value: Value) -> [UInt8] { withUnsafeBytes(of: value) { [UInt8]($0) } }
        return switch self {
        case .u8(let value): bytes(value)
        case .u16(let value): bytes(value)
        case .u32(let value): bytes(value)
        case .u64(let value): bytes(value)
        case .f32(let value): bytes(value)
        case .f64(let value): bytes(value)
        }
    }
}

/// Kernels that contracts use, written by hand.
enum ContractPTX {
    private static let header = ".version 6.4\n.target sm_70\n.address_size 64\n"

    /// `empty()`; `add(a, b, c, n)`: c[i] = a[i] + b[i] of floats.
    static let add =
        header + """
            .visible .entry empty() { ret; }
            .visible .entry add(.param .u64 a, .param .u64 b, .param .u64 c, .param .u32 n) {
                .reg .pred %p; .reg .b32 %r<6>; .reg .f32 %f<4>; .reg .b64 %d<8>;
                mov.u32 %r1, %ctaid.x; mov.u32 %r2, %ntid.x; mov.u32 %r3, %tid.x;
                mad.lo.s32 %r4, %r1, %r2, %r3;
                ld.param.u32 %r5, [n];
                setp.ge.u32 %p, %r4, %r5;
                @%p bra DONE;
                ld.param.u64 %d1, [a]; ld.param.u64 %d2, [b]; ld.param.u64 %d3, [c];
                mul.wide.u32 %d4, %r4, 4;
                add.s64 %d5, %d1, %d4; ld.global.f32 %f1, [%d5];
                add.s64 %d6, %d2, %d4; ld.global.f32 %f2, [%d6];
                add.f32 %f3, %f1, %f2;
                add.s64 %d7, %d3, %d4; st.global.f32 [%d7], %f3;
            DONE: ret;
            }
            """

    /// `increment(p)`: adds 1 to the 32-bit value; `store(p, value)`: stores a 32-bit value.
    static let store =
        header + """
            .visible .entry increment(.param .u64 p) {
                .reg .b32 %r<3>; .reg .b64 %d<2>;
                ld.param.u64 %d1, [p]; ld.global.u32 %r1, [%d1]; add.u32 %r2, %r1, 1; st.global.u32 [%d1], %r2; ret;
            }
            .visible .entry store(.param .u64 p, .param .u32 value) {
                .reg .b32 %r<2>; .reg .b64 %d<2>;
                ld.param.u64 %d1, [p]; ld.param.u32 %r1, [value]; st.global.u32 [%d1], %r1; ret;
            }
            """

    /// `countDown(condition, p)`: takes 1 from the 32-bit value and sets the condition to what is left;
    /// `choose(condition, p)`: sets the condition to the value.
    static let conditions =
        header + """
            .extern .func cudaGraphSetConditional(.param .b64 condition, .param .b32 value);
            .visible .entry countDown(.param .u64 condition, .param .u64 p) {
                .reg .b32 %r<3>; .reg .b64 %d<3>;
                ld.param.u64 %d1, [condition]; ld.param.u64 %d2, [p];
                ld.global.u32 %r1, [%d2]; sub.u32 %r2, %r1, 1; st.global.u32 [%d2], %r2;
                { .param .b64 c; st.param.b64 [c], %d1; .param .b32 v; st.param.b32 [v], %r2;
                  call.uni cudaGraphSetConditional, (c, v); }
                ret;
            }
            .visible .entry choose(.param .u64 condition, .param .u64 p) {
                .reg .b32 %r<2>; .reg .b64 %d<3>;
                ld.param.u64 %d1, [condition]; ld.param.u64 %d2, [p]; ld.global.u32 %r1, [%d2];
                { .param .b64 c; st.param.b64 [c], %d1; .param .b32 v; st.param.b32 [v], %r1;
                  call.uni cudaGraphSetConditional, (c, v); }
                ret;
            }
            """

    /// `mixed(p, a, b, c, d, e)`: stores parameters of every size one after the other, each in 8 bytes.
    static let mixed =
        header + """
            .visible .entry mixed(.param .u8 a, .param .u64 p, .param .u16 b, .param .u32 c, .param .f64 d) {
                .reg .b16 %h<2>; .reg .b32 %r<2>; .reg .b64 %d<6>; .reg .f64 %g<2>;
                ld.param.u64 %d1, [p];
                ld.param.u8 %h1, [a]; cvt.u64.u16 %d2, %h1; st.global.u64 [%d1], %d2;
                ld.param.u16 %h1, [b]; cvt.u64.u16 %d3, %h1; st.global.u64 [%d1+8], %d3;
                ld.param.u32 %r1, [c]; cvt.u64.u32 %d4, %r1; st.global.u64 [%d1+16], %d4;
                ld.param.f64 %g1, [d]; st.global.f64 [%d1+24], %g1;
                ret;
            }
            """

    /// `reverse(p)`: reverses as many 32-bit values as a block has threads through dynamic shared memory.
    static let reverse =
        header + """
            .extern .shared .align 4 .b8 values[];
            .visible .entry reverse(.param .u64 p) {
                .reg .b32 %r<8>; .reg .b64 %d<4>;
                ld.param.u64 %d1, [p];
                mov.u32 %r1, %tid.x; mul.wide.u32 %d2, %r1, 4; add.s64 %d3, %d1, %d2;
                ld.global.u32 %r2, [%d3];
                mov.u32 %r3, values; shl.b32 %r4, %r1, 2; add.u32 %r5, %r3, %r4;
                st.shared.u32 [%r5], %r2;
                bar.sync 0;
                mov.u32 %r6, %ntid.x; sub.u32 %r6, %r6, 1; sub.u32 %r6, %r6, %r1;
                shl.b32 %r6, %r6, 2; add.u32 %r7, %r3, %r6;
                ld.shared.u32 %r2, [%r7];
                st.global.u32 [%d3], %r2;
                ret;
            }
            """

    /// `table`: 1, 2, 3, 4 in constant memory; `total`: 40; `address`: where `total` is; `sum(p)`: stores their sum.
    static let variables =
        header + """
            .visible .const .align 4 .u32 table[4] = {1, 2, 3, 4};
            .visible .global .align 4 .u32 total = 40;
            .visible .global .align 8 .u64 address = total;
            .visible .global .align 4 .u32 zeros[16];
            .visible .entry sum(.param .u64 p) {
                .reg .b32 %r<8>; .reg .b64 %d<3>;
                ld.param.u64 %d1, [p];
                ld.const.u32 %r1, [table]; ld.const.u32 %r2, [table+4]; ld.const.u32 %r3, [table+8];
                ld.const.u32 %r4, [table+12]; ld.global.u64 %d2, [address]; ld.global.u32 %r5, [%d2];
                add.u32 %r1, %r1, %r2; add.u32 %r1, %r1, %r3; add.u32 %r1, %r1, %r4; add.u32 %r1, %r1, %r5;
                st.global.u32 [%d1], %r1; ret;
            }
            """

    /// Calls `twice`, which ``linkedFunction`` has.
    static let linkedKernel =
        header + """
            .extern .func (.param .b32 result) twice(.param .b32 value);
            .visible .entry quadruple(.param .u64 p) {
                .reg .b32 %r<4>; .reg .b64 %d<2>;
                ld.param.u64 %d1, [p]; ld.global.u32 %r1, [%d1];
                { .param .b32 in; .param .b32 out; st.param.b32 [in], %r1; call.uni (out), twice, (in);
                  ld.param.b32 %r2, [out]; }
                { .param .b32 in; .param .b32 out; st.param.b32 [in], %r2; call.uni (out), twice, (in);
                  ld.param.b32 %r3, [out]; }
                st.global.u32 [%d1], %r3; ret;
            }
            """

    static let linkedFunction =
        header + """
            .visible .func (.param .b32 result) twice(.param .b32 value) {
                .reg .b32 %r<3>;
                ld.param.b32 %r1, [value]; add.u32 %r2, %r1, %r1; st.param.b32 [result], %r2; ret;
            }
            """

    /// `fail()`: traps.
    static let trap = header + ".visible .entry fail() { trap; ret; }"
}
