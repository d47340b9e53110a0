// SPDX-License-Identifier: Apache-2.0
import KernelCompiler
import PTX
import Testing

/// What the parser takes, and how it refuses the rest.
@Suite struct ParserTests {
    private func module(_ text: String) throws -> Module {
        try Parser.parse(Array(".version 8.0\n.target sm_75\n.address_size 64\n\(text)".utf8))
    }

    private func error(_ text: String) -> PTXError? {
        do throws(PTXError) {
            _ = try PTXProgram(sources: [Array(text.utf8)])
            return nil
        } catch {
            return error
        }
    }

    @Test func readsParametersOfAllForms() throws {
        let program = try PTXProgram(sources: [
            Array(
                """
                .version 7.8 // comment
                .target sm_80, texmode_independent
                .address_size 64
                .visible .entry k(
                    .param .u8 a, .param .u64 .ptr .global .align 16 b, /* struct */ .param .align 8 .b8 c[20],
                    .param .f32 d)
                .maxntid 128, 2, 1
                .minnctapersm 2
                { .loc 1 2 3, function_name $L__info+4, inlined_at 1 2 3
                  .pragma "nounroll"; ret; }
                .file 1 "x.cu"
                .section .debug_info { .b8 1, 2 }
                """.utf8)
        ])
        let kernel = program.kernels[0]
        #expect(kernel.parameters.map(\.offset) == [0, 8, 16, 36])
        #expect(kernel.parameters.map(\.size) == [1, 8, 20, 4])
        #expect(kernel.parameterBytes == 40)
        #expect(kernel.maxThreadsPerBlock == 256)
        #expect(kernel.ptxVersion == 78 && kernel.target == 80)
    }

    @Test func namesOfInnerBlocksHideOuterOnes() throws {
        let harness = try KernelHarness(
            KernelHarness.kernel(
                """
                mov.u32 %r1, 1;
                { .reg .b32 %r<4>; mov.u32 %r1, 2; { .reg .b32 %r1; mov.u32 %r1, 3; bra L; L: } bra L; L: st.u32 [%p+4], %r1; }
                bra L; L: st.u32 [%p], %r1;
                """))
        var values: [UInt32] = [0, 0]
        #expect(try harness.run(on: &values) == .completed)
        #expect(values == [1, 2])
    }

    @Test func readsNumbersOfAllForms() throws {
        let harness = try KernelHarness(
            KernelHarness.kernel(
                """
                st.u32 [%p], 0x1F; st.u32 [%p+4], 017; st.u32 [%p+8], 0b101; st.u32 [%p+12], -1; st.u32 [%p+16], 12U;
                mov.f32 %f1, 0f3F800000; st.f32 [%p+20], %f1; mov.f32 %f2, 2.5; st.f32 [%p+24], %f2;
                mov.f64 %g1, 0dC000000000000000; cvt.rn.f32.f64 %f3, %g1; st.f32 [%p+28], %f3;
                mov.u32 %r1, WARP_SZ; st.u32 [%p+32], %r1;
                """))
        var values = [UInt32](repeating: 0, count: 9)
        #expect(try harness.run(on: &values) == .completed)
        #expect(
            values == [
                31, 15, 5, .max, 12, Float(1).bitPattern, Float(2.5).bitPattern, Float(-2).bitPattern, 32,
            ])
    }

    @Test func vectorsPackAndUnpack() throws {
        let harness = try KernelHarness(
            KernelHarness.kernel(
                """
                ld.v4.u32 {%r1, %r2, %r3, %r4}, [%p];
                mov.b64 %d1, {%r1, %r2};
                mov.b64 {%r5, _}, %d1;
                mov.b32 {%h1, %h2}, %r3;
                mov.b32 %r6, {%h2, %h1};
                st.v2.u32 [%p+16], {%r5, %r6};
                st.u64 [%p+24], %d1;
                """))
        var values: [UInt32] = [1, 2, 0x0003_0004, 4, 0, 0, 0, 0]
        #expect(try harness.run(on: &values) == .completed)
        #expect(values == [1, 2, 0x0003_0004, 4, 1, 0x0004_0003, 1, 2])
    }

    @Test func branchesThroughATable() throws {
        let harness = try KernelHarness(
            KernelHarness.kernel(
                """
                ts: .branchtargets A, B, C;
                mad.wide.u32 %a, %t, 4, %p;
                mov.u32 %r1, 9;
                brx.idx %t, ts;
                A: add.u32 %r1, %r1, 1;
                B: add.u32 %r1, %r1, 10;
                C: add.u32 %r1, %r1, 100;
                st.u32 [%a], %r1;
                """))
        var values: [UInt32] = [0, 0, 0]
        #expect(try harness.run(block: 3, on: &values) == .completed)
        #expect(values == [120, 119, 109])
    }

    @Test func textsAreLinked() throws {
        let header = ".version 8.0\n.target sm_75\n.address_size 64\n"
        let first =
            header + """
                .extern .func (.param .b32 r) twice(.param .b32 n);
                .extern .global .u32 shared_value;
                .visible .entry k(.param .u64 p)
                {
                    .reg .b64 %p; .reg .b32 %r<4>;
                    ld.param.u64 %p, [p];
                    ld.global.u32 %r1, [shared_value];
                    { .param .b32 x; st.param.b32 [x], %r1; .param .b32 y; call.uni (y), twice, (x); ld.param.b32 %r2, [y]; }
                    st.u32 [%p], %r2;
                    ret;
                }
                """
        let second =
            header + """
                .visible .global .u32 shared_value = 21;
                .visible .func (.param .b32 r) twice(.param .b32 n)
                { .reg .b32 %r; ld.param.u32 %r, [n]; shl.b32 %r, %r, 1; st.param.b32 [r], %r; ret; }
                """
        let program = try PTXProgram(sources: [Array(first.utf8), Array(second.utf8)])
        var value: UInt32 = 21
        var result: UInt32 = 0
        try withUnsafeMutablePointer(to: &value) { value in
            program.place(variablesAt: [UInt64(UInt(bitPattern: value))])
            let kernel = try program.kernel(0)
            withUnsafeMutablePointer(to: &result) { result in
                let parameters = [UInt64(UInt(bitPattern: result))]
                let shape = LaunchShape(grid: (1, 1, 1), block: (1, 1, 1))
                let outcome = parameters.withUnsafeBytes {
                    KernelHarness.executor.run(kernel, shape, parameters: $0, services: KernelServices())
                }
                #expect(outcome == .completed)
            }
        }
        #expect(result == 42)
        #expect(error(first)?.message == "unresolved extern variable 'shared_value'")
        #expect(throws: PTXError.self) { try PTXProgram(sources: [Array(second.utf8), Array(second.utf8)]) }
    }

    @Test(arguments: [
        ("", 1, "version"),
        (".version 8.0\n.target sm_75\n.entry k() { frob.u32 %r1, 1; }", 3, "frob"),
        (".version 8.0\n.target sm_75\n.entry k() {\n mov.u32 %r1, 1; }", 4, "%r1"),
        (".version 8.0\n.target sm_75\n.entry k() { bra NOWHERE; }", 3, "NOWHERE"),
        (".version 8.0\n.target sm_75\n.entry k() { ret;", 3, "end of the text"),
        (".version 8.0\n.target sm_75\n.entry k() { .reg .b32 a, a; }", 3, "twice"),
        (".version 8.0\n.target sm_75\n/* open", 3, "comment"),
        (".version 8.0\n.target sm_75\n.global .b8 x[99999999999999999999];", 3, "64 bits"),
        (".version 8.0\n.target sm_75\n.global .align 3 .b8 x;", 3, "power of two"),
        (".version 8.0\n.address_size 32\n", 2, "64-bit"),
        (".version 8.0\n.target sm_75\n.entry k() { } .entry k() { }", 3, "twice"),
        ("\u{7F}ELF", 1, "expected"),
    ])
    func refusesWithALineAndASentence(_ text: String, _ line: Int, _ word: String) {
        let error = error(text)
        #expect(error?.line == line)
        #expect(error?.message.contains(word) == true, "\(error?.message ?? "no error")")
    }

    @Test func namesWhatItDoesNotSupport() throws {
        for instruction in [
            "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 %r1, %r2, %r3, %r4;", "cp.async.wait_all;",
        ] {
            let harness = try KernelHarness(KernelHarness.kernel("\n\(instruction)"))
            #expect {
                try harness.program.kernel(0)
            } throws: { error in
                guard let error = error as? PTXError else { return false }
                return error.kind == .unsupported && error.line > 10
                    && error.message.contains(instruction.prefix { $0 != "." })
            }
        }
    }

    /// No damaged text may crash or hang the compiler.
    @Test func survivesDamage() throws {
        let text = Array(
            (".version 8.0\n.target sm_75\n.address_size 64\n.global .u32 g[4] = {1, 2};\n"
                + KernelHarness.kernel(
                    "{ .param .b32 x; st.param.b32 [x], %r1; } L: @!%q1 bra L; mov.b64 {%r1, %r2}, %d1; ld.v2.u32 {%r1, %r2}, [%p+4]; setp.eq.and.u32 %q1|%q2, %r1, 1, %q3;"
                )).utf8)
        var state: UInt64 = 42
        for _ in 0..<3000 {
            var damaged = text
            for _ in 0..<3 {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                let position = Int(state >> 33) % damaged.count
                if state >> 20 & 1 == 0 {
                    damaged.remove(at: position)
                } else {
                    damaged[position] = UInt8(state >> 24 & 127)
                }
            }
            guard let program = try? PTXProgram(sources: [damaged]) else { continue }
            program.place(variablesAt: program.variables.map { _ in 4096 })
            for index in program.kernels.indices where state >> 50 & 7 == 0 { _ = try? program.kernel(index) }
        }
    }
}
