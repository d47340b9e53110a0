// SPDX-License-Identifier: Apache-2.0
import KernelCompiler
import PTX
import Testing

/// Calls between texts that do not agree on a function, as linkers for GPUs let them.
@Suite struct CallTests {
    private static let header = ".version 8.0\n.target sm_75\n.address_size 64\n"

    private func run(_ caller: String, _ callee: String) throws -> [UInt32] {
        let program = try PTXProgram(sources: [caller, callee].map { Array((Self.header + $0).utf8) })
        program.place(variablesAt: [])
        let kernel = try program.kernel(0)
        var values: [UInt32] = [5, 0, 0xAAAA_AAAA, 0]
        let outcome = values.withUnsafeMutableBytes { bytes in
            [UInt64(UInt(bitPattern: bytes.baseAddress))].withUnsafeBytes {
                KernelHarness.executor.run(
                    kernel, LaunchShape(grid: (1, 1, 1), block: (1, 1, 1), dynamicSharedBytes: 0, isCooperative: false),
                    parameters: $0, services: KernelServices())
            }
        }
        #expect(outcome == .completed)
        return values
    }

    /// What Numba writes for a function without a result: it declares one, and never reads it.
    @Test func aResultThatOnlyTheDeclarationHasIsUndefined() throws {
        let values = try run(
            KernelHarness.kernel(
                """
                { .param .b64 a; st.param.b64 [a], %p; .param .b64 r; call.uni (r), store, (a); }
                """, extra: ".extern .func (.param .b64 r) store(.param .b64 a);"),
            """
            .visible .func store(.param .b64 a)
            { .reg .b64 %a; ld.param.u64 %a, [a]; st.global.u32 [%a+4], 42; ret; }
            """)
        #expect(values == [5, 42, 0xAAAA_AAAA, 0])
    }

    @Test func aResultThatOnlyTheDefinitionHasGoesNowhere() throws {
        let values = try run(
            KernelHarness.kernel(
                "{ .param .b64 a; st.param.b64 [a], %p; call.uni store, (a); }",
                extra: ".extern .func store(.param .b64 a);"),
            """
            .visible .func (.param .align 8 .b8 r[64]) store(.param .b64 a)
            { .reg .b64 %a; ld.param.u64 %a, [a]; st.param.b64 [r+56], %a; st.global.u32 [%a+4], 43; ret; }
            """)
        #expect(values == [5, 43, 0xAAAA_AAAA, 0])
    }

    /// A callee that writes and reads more than its caller has is kept away from the caller's other variables.
    @Test func aWiderCalleeDoesNotReachTheCallersVariables() throws {
        let values = try run(
            KernelHarness.kernel(
                """
                { .param .b32 a; .param .b32 r; .param .b32 guard;
                  mov.u32 %r1, 77; st.param.b32 [guard], %r1;
                  ld.global.u32 %r2, [%p]; st.param.b32 [a], %r2;
                  call.uni (r), wide, (a);
                  ld.param.b32 %r3, [r]; ld.param.b32 %r4, [guard]; }
                st.global.u32 [%p+4], %r3; st.global.u32 [%p+12], %r4;
                """, extra: ".extern .func (.param .b32 r) wide(.param .b32 a);"),
            """
            .visible .func (.param .align 8 .b8 r[256]) wide(.param .b64 a)
            { .reg .b64 %a<3>; ld.param.u64 %a1, [a]; and.b64 %a1, %a1, 0xFFFFFFFF; add.u64 %a2, %a1, 1;
              st.param.b64 [r], %a2; st.param.b64 [r+8], -1; st.param.b64 [r+248], -1; ret; }
            """)
        #expect(values == [5, 6, 0xAAAA_AAAA, 77])
    }

    @Test func aCallThatDoesNotFitItsOwnDeclarationIsRefused() throws {
        let declaration = ".extern .func (.param .b64 r) store(.param .b64 a);"
        let definition = ".visible .func (.param .b64 r) store(.param .b64 a) { ret; }"
        for call in ["call.uni store, (a);", "call.uni (r), store;", "call.uni (r), store, (a, a);"] {
            #expect(throws: PTXError.self, "\(call)") {
                try run(
                    KernelHarness.kernel("{ .param .b64 a; .param .b64 r; \(call) }", extra: declaration), definition)
            }
        }
        #expect(throws: PTXError.self) {
            try run(
                KernelHarness.kernel("{ .param .b64 a; .param .b64 r; call.uni (r), store, (a); }", extra: declaration),
                ".visible .func (.param .b64 r) store() { ret; }")
        }
    }
}
