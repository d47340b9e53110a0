// SPDX-License-Identifier: Apache-2.0
import CSoftGPU
import Glibc
import KernelCompiler
import PTX
import Synchronization
import Testing

/// Kernels that go wrong, and what they may call.
@Suite struct FaultTests {
    @Test(arguments: ["", "bar.sync 0;"])
    func aStrayAccessIsReportedWithItsAddress(_ barrier: String) throws {
        let harness = try KernelHarness(
            KernelHarness.kernel("\(barrier) mov.u64 %d1, 4096; ld.volatile.global.u32 %r1, [%d1];"))
        #expect(try harness.run(with: [0]) == .illegalAddress(4096))
        // The executor is none the worse.
        #expect(try harness.run(with: [0]) == .illegalAddress(4096))
    }

    @Test func sharedMemoryEndsSomewhere() throws {
        let harness = try KernelHarness(
            KernelHarness.kernel(
                ".shared .u32 x; mov.u32 %r1, x; add.u32 %r1, %r1, -8; st.shared.u32 [%r1], %r1; bar.sync 0;"))
        guard case .illegalAddress = try harness.run(with: [0]) else {
            Issue.record("no fault")
            return
        }
    }

    @Test func trapEndsTheLaunch() throws {
        #expect(try KernelHarness(KernelHarness.kernel("trap;")).run(grid: 100, block: 64, with: [0]) == .trapped)
    }

    /// A kernel may come with any number: that of a condition, of one that has ended, or none at all.
    @Test func aKernelSetsOnlyConditionsThatThereAre() throws {
        let harness = try KernelHarness(
            """
            .extern .func cudaGraphSetConditional(.param .b64 condition, .param .b32 value);
            .visible .entry k(.param .u64 condition)
            {
                .reg .b64 %d<2>; .reg .b32 %r<2>;
                ld.param.u64 %d1, [condition]; mov.u32 %r1, 9;
                { .param .b64 c; st.param.b64 [c], %d1; .param .b32 v; st.param.b32 [v], %r1;
                  call.uni cudaGraphSetConditional, (c, v); }
                ret;
            }
            """)
        let (first, second) = (sg_condition_add(), sg_condition_add())
        #expect(first != second && first != 0 && second != 0)
        #expect(try harness.run(with: [first]) == .completed)
        #expect(sg_condition_value(first) == 9 && sg_condition_value(second) == 0)
        sg_condition_remove(first)
        // Its place is used again, under another handle.
        let third = sg_condition_add()
        #expect(third != first && sg_condition_value(third) == 0)
        for wrong in [first, 0, 0x7777, UInt64.max, second + 1000] {
            let outcome = try harness.run(with: [wrong])
            guard case .illegalAddress = outcome else {
                Issue.record("\(String(wrong, radix: 16)): \(outcome)")
                continue
            }
        }
        sg_condition_remove(second)
        sg_condition_remove(third)
    }

    /// A grid that would never end: a thread waits for a flag that nobody sets.
    @Test func launchesCanBeCancelled() throws {
        let harness = try KernelHarness(
            KernelHarness.kernel("WAIT: ld.volatile.u32 %r1, [%p]; setp.eq.u32 %q1, %r1, 0; @%q1 bra WAIT;"))
        let cancellation = KernelCancellation()
        var thread = pthread_t()
        let context = Unmanaged.passRetained(cancellation).toOpaque()
        pthread_create(
            &thread, nil,
            { context in
                usleep(50_000)
                if let context { Unmanaged<KernelCancellation>.fromOpaque(context).takeRetainedValue().cancel() }
                return nil
            }, context)
        var flag: UInt32 = 0
        let outcome = try withUnsafeMutablePointer(to: &flag) { flag in
            try harness.run(
                grid: 3, block: 40, cancellation: cancellation, with: [UInt64(UInt(bitPattern: flag))])
        }
        pthread_join(thread, nil)
        #expect(outcome == .cancelled)
        #expect(try harness.run(cancellation: cancellation, with: [0]) == .cancelled)
    }

    @Test func endlessRecursionIsAStackOverflow() throws {
        let text = """
            .func (.param .b32 r) deeper(.param .b32 n)
            {
                .reg .b32 %r<4>;
                .local .align 4 .b8 space[256];
                ld.param.u32 %r1, [n];
                st.local.u32 [space], %r1;
                add.u32 %r2, %r1, 1;
                { .param .b32 x; st.param.b32 [x], %r2; .param .b32 y; call.uni (y), deeper, (x); ld.param.b32 %r3, [y]; }
                ld.volatile.local.u32 %r1, [space];
                add.u32 %r3, %r3, %r1;
                st.param.b32 [r], %r3;
                ret;
            }
            """
        let harness = try KernelHarness(
            KernelHarness.kernel(
                "{ .param .b32 x; st.param.b32 [x], %t; .param .b32 y; call.uni (y), deeper, (x); ld.param.b32 %r1, [y]; } st.u32 [%p], %r1;",
                extra: text))
        var values: [UInt32] = [0]
        #expect(try harness.run(on: &values) == .stackOverflow)
    }

    @Test func recursionReturns() throws {
        let text = """
            .func (.param .b32 r) fib(.param .b32 n)
            {
                .reg .b32 %r<8>;
                .reg .pred %q;
                ld.param.u32 %r1, [n];
                setp.lt.s32 %q, %r1, 2;
                @%q bra END;
                add.s32 %r2, %r1, -1;
                { .param .b32 x; st.param.b32 [x], %r2; .param .b32 y; call.uni (y), fib, (x); ld.param.b32 %r3, [y]; }
                add.s32 %r4, %r1, -2;
                { .param .b32 x; st.param.b32 [x], %r4; .param .b32 y; call.uni (y), fib, (x); ld.param.b32 %r5, [y]; }
                add.s32 %r1, %r3, %r5;
            END:
                st.param.b32 [r], %r1;
                ret;
            }
            """
        let harness = try KernelHarness(
            KernelHarness.kernel(
                """
                { .param .b32 x; st.param.b32 [x], %t; .param .b32 y; call.uni (y), fib, (x); ld.param.b32 %r1, [y]; }
                mad.wide.u32 %a, %t, 4, %p; st.u32 [%a], %r1;
                """, extra: text))
        var values = [UInt32](repeating: 0, count: 16)
        #expect(try harness.run(block: 16, on: &values) == .completed)
        #expect(values == [0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610])
    }

    /// A function that contains a barrier is written into its caller.
    @Test func functionsMayWaitForOtherThreads() throws {
        let text = """
            .shared .u32 total;
            .func (.param .b32 r) sum(.param .b32 n)
            {
                .reg .b32 %r<8>;
                .reg .pred %q;
                mov.u32 %r1, total;
                mov.u32 %r2, %tid.x;
                setp.ne.u32 %q, %r2, 0;
                @!%q st.shared.u32 [%r1], 0;
                bar.sync 0;
                ld.param.u32 %r3, [n];
                red.shared.add.u32 [%r1], %r3;
                bar.sync 0;
                ld.shared.u32 %r4, [%r1];
                bar.sync 0;
                st.param.b32 [r], %r4;
                ret;
            }
            """
        let call =
            "{ .param .b32 x; st.param.b32 [x], %r1; .param .b32 y; call.uni (y), sum, (x); ld.param.b32 %r1, [y]; }"
        let harness = try KernelHarness(
            KernelHarness.kernel(
                "mov.u32 %r1, %t; \(call) \(call) mad.wide.u32 %a, %t, 4, %p; st.u32 [%a], %r1;", extra: text))
        var values = [UInt32](repeating: 0, count: 8)
        #expect(try harness.run(block: 8, on: &values) == .completed)
        #expect(values.allSatisfy { $0 == 28 * 8 })
    }

    @Test func callsByAddress() throws {
        let text = """
            .func (.param .b32 r) inc(.param .b32 n) { .reg .b32 %r; ld.param.u32 %r, [n]; add.u32 %r, %r, 1; st.param.b32 [r], %r; ret; }
            .func (.param .b32 r) dbl(.param .b32 n) { .reg .b32 %r; ld.param.u32 %r, [n]; add.u32 %r, %r, %r; st.param.b32 [r], %r; ret; }
            .global .align 8 .u64 table[3] = {inc, dbl, 0};
            """
        let harness = try KernelHarness(
            KernelHarness.kernel(
                """
                mov.u64 %d1, table;
                mad.wide.u32 %d1, %t, 8, %d1;
                ld.global.u64 %d2, [%d1];
                { .param .b32 x; st.param.b32 [x], 20; .param .b32 y;
                proto : .callprototype (.param .b32 _) _ (.param .b32 _);
                call (y), %d2, (x), proto; ld.param.b32 %r1, [y]; }
                mad.wide.u32 %a, %t, 4, %p; st.u32 [%a], %r1;
                """, extra: text))
        var values: [UInt32] = [0, 0, 0]
        #expect(try harness.run(block: 2, on: &values) == .completed)
        #expect(values == [21, 40, 0])
        #expect(try harness.run(block: 3, on: &values) == .illegalInstruction)
    }

    @Test func localMemoryIsEachThreadsOwn() throws {
        let harness = try KernelHarness(
            KernelHarness.kernel(
                """
                .local .align 8 .b8 stack[64];
                mov.u64 %d1, stack;
                cvta.local.u64 %d2, %d1;
                isspacep.local %q1, %d2; isspacep.global %q2, %d2; isspacep.shared %q3, %d2; isspacep.global %q4, %p;
                and.b32 %r9, %t, 15;
                mad.wide.u32 %d3, %r9, 4, %d2;
                st.u32 [%d3], %t;
                bar.sync 0;
                ld.u32 %r1, [%d3];
                @%q1 add.u32 %r1, %r1, 1000;
                @%q2 add.u32 %r1, %r1, 5000;
                @%q3 add.u32 %r1, %r1, 7000;
                @%q4 add.u32 %r1, %r1, 100;
                mad.wide.u32 %a, %t, 4, %p; st.u32 [%a], %r1;
                """))
        var values = [UInt32](repeating: 0, count: 64)
        #expect(try harness.run(block: 64, on: &values) == .completed)
        #expect(values == (0..<64).map { 1100 + $0 })
    }

    @Test func sharedAddressesConvertBothWays() throws {
        let harness = try KernelHarness(
            KernelHarness.kernel(
                """
                .shared .align 16 .b8 first[100];
                .shared .align 16 .b8 second[16];
                mov.u64 %d1, second;
                cvta.shared.u64 %d2, %d1;
                isspacep.shared %q1, %d2;
                @!%q1 trap;
                cvta.to.shared.u64 %d3, %d2;
                setp.ne.u64 %q2, %d1, %d3;
                @%q2 trap;
                st.u32 [%d2], 77;
                ld.shared.u32 %r1, [second];
                st.u32 [%p], %r1;
                """))
        var values: [UInt32] = [0]
        #expect(try harness.run(on: &values) == .completed)
        #expect(values == [77])
        #expect(harness.program.kernels[0].staticSharedBytes == 128)
    }

    @Test func dynamicSharedMemoryFollowsTheStaticPart() throws {
        let harness = try KernelHarness(
            KernelHarness.kernel(
                """
                .shared .align 4 .b8 fixed[20];
                mov.u32 %r1, %dynamic_smem_size;
                mov.u32 %r2, dynamic;
                mad.lo.u32 %r3, %t, 4, %r2;
                st.shared.u32 [%r3], %t;
                st.shared.u32 [fixed], 9;
                bar.sync 0;
                ld.shared.u32 %r4, [dynamic+12];
                add.u32 %r4, %r4, %r1;
                add.u32 %r4, %r4, %r2;
                st.u32 [%p], %r4;
                """, extra: ".extern .shared .align 16 .b8 dynamic[];"))
        var values: [UInt32] = [0]
        #expect(try harness.run(block: 16, shared: 64, on: &values) == .completed)
        #expect(values == [3 + 64 + 32])
    }

    @Test func variablesHoldWhatTheTextSays() throws {
        let harness = try KernelHarness(
            KernelHarness.kernel(
                """
                ld.global.u64 %d1, [pointer];
                ld.global.u32 %r1, [%d1];
                ld.const.u32 %r2, [table+8];
                ld.global.f32 %f1, [number];
                cvt.rzi.u32.f32 %r3, %f1;
                add.u32 %r1, %r1, %r2; add.u32 %r1, %r1, %r3;
                st.u32 [%p], %r1;
                """,
                extra: """
                    .const .align 4 .u32 table[4] = {1, 2, 0x30, -1};
                    .visible .global .u32 data[2] = {5, 600};
                    .global .u64 pointer = generic(data)+4;
                    .global .f32 number = 7.5;
                    .global .align 8 .b8 packed[16] = {0xFF(data), 0xFF00(data), 0xFF0000(data), 0xFF000000(data), 0, 0, 0, 0, 255};
                    """))
        var values: [UInt32] = [0]
        #expect(try harness.run(on: &values) == .completed)
        #expect(values == [600 + 0x30 + 7])
        let data = UInt64(UInt(bitPattern: try harness.variable("data")))
        let packed = try harness.variable("packed")
        #expect(packed.loadUnaligned(as: UInt32.self) == UInt32(truncatingIfNeeded: data))
        #expect(packed.load(fromByteOffset: 8, as: UInt8.self) == 255)
    }

    @Test func printfFormatsAsInC() throws {
        struct Arguments {
            var integer: Int32 = -42
            var unsigned: UInt32 = 0xFF
            var real = 2.5
            var long: Int64 = 1 << 40
            var character: Int32 = 65
            var width: Int32 = 6
            var padded: Int32 = 7
            var text: UInt64 = 0
        }
        "hello".withCString { text in
            var arguments = Arguments()
            arguments.text = UInt64(UInt(bitPattern: text))
            let output = withUnsafeBytes(of: &arguments) { bytes in
                formatPrintf(
                    format: "%d|%#x|%6.2f|%lld|%c|%*d|%-8s|%%|%q",
                    arguments: bytes.baseAddress ?? UnsafeRawPointer(text))
            }
            #expect(String(decoding: output, as: UTF8.self) == "-42|0xff|  2.50|1099511627776|A|     7|hello   |%|%q")
        }
    }

    private final class Seen: Sendable {
        let lines = Mutex<[String]>([])
    }

    @Test func kernelsCallTheDevice() throws {
        let seen = Seen()
        let services = KernelServices(
            context: Unmanaged.passUnretained(seen).toOpaque(),
            vprintf: { context, format, arguments in
                guard let context, let format, let arguments else { return -1 }
                let line = String(decoding: formatPrintf(format: format, arguments: arguments), as: UTF8.self)
                Unmanaged<Seen>.fromOpaque(context).takeUnretainedValue().lines.withLock { $0.append(line) }
                return 1
            },
            assertFail: { context, message, file, line, function, block, thread in
                guard let context, let message, let block, let thread else { return }
                let text = "\(String(cString: message)) at \(line) in block \(block[0]) thread \(thread[0])"
                Unmanaged<Seen>.fromOpaque(context).takeUnretainedValue().lines.withLock { $0.append(text) }
            },
            allocate: { _, bytes in malloc(Int(bytes)) },
            release: { _, memory in free(memory) })
        let declarations = """
            .extern .func (.param .b32 r) vprintf(.param .b64 f, .param .b64 a);
            .extern .func (.param .b64 r) malloc(.param .b64 n);
            .extern .func free(.param .b64 n);
            .extern .func __assertfail(.param .b64 a, .param .b64 b, .param .b32 c, .param .b64 d, .param .b64 e);
            .global .align 1 .b8 format[9] = {116, 61, 37, 100, 0};
            .global .align 1 .b8 message[4] = {120, 62, 48, 0};
            """
        let harness = try KernelHarness(
            KernelHarness.kernel(
                """
                .local .align 8 .b8 stack[8];
                cvta.local.u64 %d1, stack;
                st.local.u32 [stack], 5;
                mov.u64 %d2, format;
                { .param .b64 a; st.param.b64 [a], %d2; .param .b64 b; st.param.b64 [b], %d1; .param .b32 c;
                  call.uni (c), vprintf, (a, b); ld.param.b32 %r1, [c]; }
                { .param .b64 n; st.param.b64 [n], 64; .param .b64 m; call.uni (m), malloc, (n); ld.param.b64 %d3, [m]; }
                st.u32 [%d3], %r1; ld.u32 %r2, [%d3];
                { .param .b64 n; st.param.b64 [n], %d3; call.uni free, (n); }
                st.u32 [%p], %r2;
                mov.u64 %d4, message;
                setp.eq.u32 %q1, %t, 1;
                @!%q1 bra END;
                { .param .b64 a; st.param.b64 [a], %d4; .param .b64 b; st.param.b64 [b], %d4; .param .b32 c; st.param.b32 [c], 12;
                  .param .b64 d; st.param.b64 [d], %d4; .param .b64 e; st.param.b64 [e], 1;
                  call.uni __assertfail, (a, b, c, d, e); }
                END:
                """, extra: declarations))
        var value: UInt32 = 0
        let outcome = try withUnsafeMutablePointer(to: &value) { pointer in
            try harness.run(block: 2, services: services, with: [UInt64(UInt(bitPattern: pointer))])
        }
        #expect(outcome == .assertFailed)
        #expect(value == 1)
        #expect(seen.lines.withLock { $0 } == ["t=5", "t=5", "x>0 at 12 in block 0 thread 1"])
    }

    @Test func refusesImpossibleLaunches() throws {
        let harness = try KernelHarness(KernelHarness.kernel(""))
        #expect(try harness.run(block: 1025, with: [0]) == .outOfResources)
        #expect(try harness.run(block: 0, with: [0]) == .outOfResources)
        #expect(try harness.run(grid: 0, with: [0]) == .outOfResources)
        #expect(try harness.run(shared: 1 << 20, with: [0]) == .outOfResources)
        #expect(try harness.run(with: []) == .outOfResources)
    }
}
