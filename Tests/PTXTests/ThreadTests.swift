// SPDX-License-Identifier: Apache-2.0
import KernelCompiler
import Testing

/// Threads that work together: barriers, warp collectives, atomics, spinning.
@Suite struct ThreadTests {
    /// A kernel in which thread `%t` has the address of its own 32-bit element in `%a`.
    private func perThread(_ body: String, extra: String = "") throws -> KernelHarness {
        try KernelHarness(KernelHarness.kernel("mad.wide.u32 %a, %t, 4, %p;\n\(body)", extra: extra))
    }

    @Test func barrierMakesSharedWritesVisible() throws {
        let harness = try perThread(
            """
            .shared .align 4 .b8 tile[4096];
            mov.u32 %r1, tile;
            mad.lo.u32 %r2, %t, 4, %r1;
            st.shared.u32 [%r2], %t;
            bar.sync 0;
            mov.u32 %r3, %ntid.x;
            sub.u32 %r3, %r3, %t;
            mad.lo.u32 %r4, %r3, 4, %r1;
            ld.shared.u32 %r5, [%r4+-4];
            st.u32 [%a], %r5;
            """)
        var values = [UInt32](repeating: 0, count: 1000)
        #expect(try harness.run(block: 1000, on: &values) == .completed)
        #expect(values == (0..<1000).map { 999 - $0 })
    }

    @Test func barrierCountsOnlyLivingThreads() throws {
        let harness = try perThread(
            "setp.gt.u32 %q1, %t, 70; @%q1 exit; bar.sync 0; bar.sync 1; mov.u32 %r1, 7; st.u32 [%a], %r1;")
        var values = [UInt32](repeating: 0, count: 128)
        #expect(try harness.run(block: 128, on: &values) == .completed)
        #expect(values == (0..<128).map { $0 > 70 ? 0 : 7 })
    }

    /// Half of the warps only announce themselves; the other half waits for them.
    @Test func arriveDoesNotWait() throws {
        let harness = try perThread(
            """
            .shared .u32 flag;
            mov.u32 %r1, flag;
            setp.ge.u32 %q1, %t, 32;
            @%q1 bra WAIT;
            mov.u32 %r2, 42;
            st.shared.u32 [%r1], %r2;
            bar.arrive 3, 64;
            bra DONE;
            WAIT:
            bar.sync 3, 64;
            ld.shared.u32 %r3, [%r1];
            st.u32 [%a], %r3;
            DONE:
            """)
        var values = [UInt32](repeating: 0, count: 64)
        #expect(try harness.run(block: 64, on: &values) == .completed)
        #expect(values == (0..<64).map { $0 >= 32 ? 42 : 0 })
    }

    @Test func barrierReducesPredicates() throws {
        let harness = try perThread(
            """
            setp.lt.u32 %q1, %t, 10;
            bar.red.popc.u32 %r1, 0, %q1;
            bar.red.and.pred %q2, 0, %q1;
            bar.red.or.pred %q3, 0, %q1;
            selp.u32 %r2, 1000, 0, %q2;
            selp.u32 %r3, 100, 0, %q3;
            add.u32 %r4, %r1, %r2;
            add.u32 %r4, %r4, %r3;
            st.u32 [%a], %r4;
            """)
        var values = [UInt32](repeating: 0, count: 96)
        #expect(try harness.run(block: 96, on: &values) == .completed)
        #expect(values.allSatisfy { $0 == 110 })
    }

    @Test func aBarrierThatNobodyCompletesIsReported() throws {
        let harness = try perThread("setp.eq.u32 %q1, %t, 0; @%q1 bar.sync 0, 64;")
        var values: [UInt32] = [0]
        #expect(try harness.run(block: 32, on: &values) == .trapped)
    }

    @Test(arguments: ["up", "down", "bfly", "idx"])
    func shufflesLikeTheDefinition(_ mode: String) throws {
        let distances: [UInt32] = [0, 1, 5, 16, 31]
        let clamps: [UInt32] = [0x1F, 0x0, 0x181F, 0x1F07, 0x1000]
        for distance in distances {
            for clamp in clamps {
                let harness = try perThread(
                    """
                    add.u32 %r1, %t, 100;
                    shfl.sync.\(mode).b32 %r2|%q1, %r1, \(distance), \(clamp), -1;
                    @!%q1 add.u32 %r2, %r2, 1000;
                    st.u32 [%a], %r2;
                    """)
                var values = [UInt32](repeating: 0, count: 32)
                #expect(try harness.run(block: 32, on: &values) == .completed)
                #expect(values == (0..<32).map { shuffled(mode, $0, Int(distance), Int(clamp)) })
            }
        }
    }

    /// The pseudo-code of PTX ISA, "shfl".
    private func shuffled(_ mode: String, _ lane: Int, _ distance: Int, _ c: Int) -> UInt32 {
        let segment = c >> 8 & 31, clamp = c & 31
        let highest = (lane & segment) | (clamp & ~segment & 31)
        let lowest = lane & segment
        var source: Int
        let inside: Bool
        switch mode {
        case "up":
            source = lane - distance
            inside = source >= highest
        case "down":
            source = lane + distance
            inside = source <= highest
        case "bfly":
            source = lane ^ distance
            inside = source <= highest
        default:
            source = lowest | (distance & ~segment & 31)
            inside = source <= highest
        }
        if !inside { source = lane }
        return UInt32(source + 100 + (inside ? 0 : 1000))
    }

    /// Each half of the warp takes its own path, with its own members.
    @Test func divergedLanesShuffleAmongThemselves() throws {
        let harness = try perThread(
            """
            and.b32 %r1, %t, 1;
            setp.eq.u32 %q1, %r1, 0;
            @%q1 bra EVEN;
            shfl.sync.idx.b32 %r2, %t, 3, 31, 0xAAAAAAAA;
            bra DONE;
            EVEN:
            shfl.sync.idx.b32 %r2, %t, 4, 31, 0x55555555;
            DONE:
            bar.warp.sync -1;
            st.u32 [%a], %r2;
            """)
        var values = [UInt32](repeating: 0, count: 32)
        #expect(try harness.run(block: 32, on: &values) == .completed)
        #expect(values == (0..<32).map { $0 % 2 == 0 ? 4 : 3 })
    }

    @Test func votesAndBallots() throws {
        let harness = try perThread(
            """
            setp.lt.u32 %q1, %t, 5;
            vote.sync.ballot.b32 %r1, %q1, -1;
            vote.sync.any.pred %q2, %q1, -1;
            vote.sync.all.pred %q3, %q1, -1;
            vote.sync.uni.pred %q4, !%q1, -1;
            @%q2 or.b32 %r1, %r1, 256;
            @%q3 or.b32 %r1, %r1, 512;
            @%q4 or.b32 %r1, %r1, 1024;
            activemask.b32 %r2;
            popc.b32 %r3, %r2;
            shl.b32 %r3, %r3, 16;
            or.b32 %r1, %r1, %r3;
            st.u32 [%a], %r1;
            """)
        var values = [UInt32](repeating: 0, count: 20)
        #expect(try harness.run(block: 20, on: &values) == .completed)
        #expect(values.allSatisfy { $0 == 31 | 256 | 20 << 16 })
    }

    @Test func matchesAndReduces() throws {
        let harness = try perThread(
            """
            and.b32 %r1, %t, 3;
            match.any.sync.b32 %r2, %r1, -1;
            match.all.sync.b32 %r3|%q1, %r1, -1;
            @%q1 trap;
            redux.sync.add.s32 %r4, %t, -1;
            redux.sync.max.u32 %r5, %t, -1;
            redux.sync.xor.b32 %r6, %t, -1;
            add.u32 %r4, %r4, %r5;
            add.u32 %r4, %r4, %r6;
            add.u32 %r4, %r4, %r3;
            xor.b32 %r2, %r2, %r4;
            st.u32 [%a], %r2;
            """)
        var values = [UInt32](repeating: 0, count: 32)
        #expect(try harness.run(block: 32, on: &values) == .completed)
        let expected = (0..<32).map { lane -> UInt32 in (0x1111_1111 << UInt32(lane & 3)) ^ (496 + 31) }
        #expect(values == expected)
    }

    /// Lanes of one warp take a lock in turns: whoever spins must let the owner run.
    @Test func lanesOfAWarpCanWaitForEachOther() throws {
        let harness = try KernelHarness(
            KernelHarness.kernel(
                """
                add.u64 %a, %p, 4;
                LOCK:
                atom.global.cas.b32 %r1, [%p], 0, 1;
                setp.ne.u32 %q1, %r1, 0;
                @%q1 bra LOCK;
                ld.volatile.global.u32 %r2, [%a];
                add.u32 %r2, %r2, 1;
                st.volatile.global.u32 [%a], %r2;
                membar.gl;
                atom.global.exch.b32 %r3, [%p], 0;
                """))
        var values: [UInt32] = [0, 0]
        #expect(try harness.run(grid: 40, block: 64, on: &values) == .completed)
        #expect(values == [0, 2560])
    }

    /// A thread waits for a flag that a later thread of its block sets, without an atomic on the way.
    @Test func aThreadCanWaitForALaterOne() throws {
        let harness = try KernelHarness(
            KernelHarness.kernel(
                """
                setp.eq.u32 %q1, %t, 63;
                @%q1 bra SET;
                WAIT:
                ld.volatile.global.u32 %r1, [%p];
                setp.eq.u32 %q2, %r1, 0;
                @%q2 bra WAIT;
                bra DONE;
                SET:
                mov.u32 %r2, 1;
                st.volatile.global.u32 [%p], %r2;
                DONE:
                atom.global.add.u32 %r3, [%p+4], 1;
                """))
        var values: [UInt32] = [0, 0]
        #expect(try harness.run(block: 64, on: &values) == .completed)
        #expect(values == [1, 64])
    }

    /// A barrier across the grid, of blocks that have to run at the same time.
    @Test func blocksOfACooperativeGridMeet() throws {
        let harness = try KernelHarness(
            KernelHarness.kernel(
                """
                setp.ne.u32 %q1, %t, 0;
                @%q1 bra JOIN;
                atom.global.add.u32 %r1, [%p], 1;
                mov.u32 %r2, %nctaid.x;
                WAIT:
                ld.acquire.gpu.global.u32 %r3, [%p];
                setp.lt.u32 %q2, %r3, %r2;
                @%q2 bra WAIT;
                JOIN:
                bar.sync 0;
                ld.global.u32 %r4, [%p];
                mov.u32 %r5, %ctaid.x;
                mad.wide.u32 %a, %r5, 4, %p;
                @!%q1 st.global.u32 [%a+4], %r4;
                """))
        var values = [UInt32](repeating: 0, count: 51)
        #expect(try harness.run(grid: 50, block: 33, cooperative: true, on: &values) == .completed)
        #expect(values.allSatisfy { $0 == 50 })
    }

    /// The grid barrier of CUDA's device runtime, which a program leaves open.
    @Test func gridsSynchronise() throws {
        let declarations = """
            .extern .func (.param .b64 r) cudaCGGetIntrinsicHandle(.param .b32 s);
            .extern .func (.param .b32 r) cudaCGSynchronize(.param .b64 h, .param .b32 f);
            """
        let sync = """
            { .param .b64 h; st.param.b64 [h], %d1; .param .b32 f; st.param.b32 [f], 0; .param .b32 r;
              call.uni (r), cudaCGSynchronize, (h, f); ld.param.b32 %r9, [r]; }
            """
        let harness = try KernelHarness(
            KernelHarness.kernel(
                """
                { .param .b32 s; st.param.b32 [s], 1; .param .b64 h;
                  call.uni (h), cudaCGGetIntrinsicHandle, (s); ld.param.b64 %d1, [h]; }
                atom.global.add.u32 %r1, [%p], 1;
                \(sync)
                ld.volatile.global.u32 %r2, [%p];
                \(sync)
                atom.global.add.u32 %r1, [%p], 1;
                \(sync)
                ld.volatile.global.u32 %r3, [%p];
                mov.u32 %r4, %ctaid.x; mov.u32 %r5, %ntid.x; mad.lo.u32 %r4, %r4, %r5, %t;
                mad.wide.u32 %a, %r4, 8, %p;
                st.global.u32 [%a+8], %r2; st.global.u32 [%a+12], %r3;
                """, extra: declarations))
        var values = [UInt32](repeating: 0, count: 2 + 2 * 12 * 40)
        #expect(try harness.run(grid: 12, block: 40, cooperative: true, on: &values) == .completed)
        #expect((0..<480).allSatisfy { values[2 + 2 * $0] == 480 && values[3 + 2 * $0] == 960 })
    }

    /// The grid barrier as nvcc writes it: a word of the workspace whose top bit flips when all blocks have come.
    @Test func gridsSynchroniseAsCompiledInline() throws {
        let harness = try KernelHarness(
            KernelHarness.kernel(
                """
                mov.u32 %r1, %envreg2; cvt.u64.u32 %d1, %r1;
                mov.u32 %r2, %envreg1; cvt.u64.u32 %d2, %r2;
                bfi.b64 %d3, %d2, %d1, 32, 32;
                setp.eq.u64 %q1, %d3, 0;
                @%q1 trap;
                atom.global.add.u32 %r3, [%p], 1;
                barrier.sync 0;
                setp.ne.u32 %q2, %t, 0;
                @%q2 bra MEET;
                mov.u32 %r4, %nctaid.x; mov.u32 %r5, %ctaid.x;
                setp.eq.u32 %q3, %r5, 0;
                sub.u32 %r6, -2147483647, %r4;
                selp.b32 %r7, %r6, 1, %q3;
                atom.add.release.gpu.u32 %r8, [%d3+4], %r7;
                WAIT:
                ld.acquire.gpu.u32 %r9, [%d3+4];
                xor.b32 %r10, %r9, %r8;
                setp.gt.s32 %q4, %r10, -1;
                @%q4 bra WAIT;
                MEET:
                barrier.sync 0;
                ld.global.u32 %r11, [%p];
                setp.ne.u32 %q5, %r11, 630;
                @%q5 trap;
                """))
        var values: [UInt32] = [0]
        #expect(try harness.run(grid: 9, block: 70, cooperative: true, on: &values) == .completed)
        #expect(try harness.run(grid: 9, block: 70, on: &values) == .trapped)
    }

    @Test func localVariablesKeepTheirAlignment() throws {
        let harness = try perThread(
            """
            .local .align 256 .b8 space[40];
            mov.u64 %d1, space;
            st.local.u32 [space], %t;
            bar.sync 0;
            ld.volatile.local.u32 %r2, [space];
            cvt.u32.u64 %r1, %d1;
            and.b32 %r1, %r1, 255;
            shl.b32 %r1, %r1, 16;
            or.b32 %r1, %r1, %r2;
            st.u32 [%a], %r1;
            """)
        var values = [UInt32](repeating: 0, count: 70)
        #expect(try harness.run(block: 70, on: &values) == .completed)
        #expect(values == (0..<70).map { $0 })
    }

    static let atomics: [(instruction: String, start: UInt64, operand: UInt64, threads: UInt32, result: UInt64)] = [
        ("add.u32", 5, 3, 100, 305), ("add.u64", .max, 1, 64, 63), ("add.s32", 0, 0xFFFF_FFFF, 10, 0xFFFF_FFF6),
        ("min.s32", 7, 0xFFFF_FFFF, 3, 0xFFFF_FFFF), ("min.u32", 7, 0xFFFF_FFFF, 3, 7),
        ("max.s64", 7, .max, 3, 7), ("max.u64", 7, .max, 3, .max), ("and.b32", 0xFF, 0x0F, 4, 0x0F),
        ("or.b64", 1, 1 << 40, 4, 1 | 1 << 40), ("xor.b32", 0, 5, 3, 5), ("exch.b32", 1, 9, 5, 9),
        ("inc.u32", 0, 4, 7, 2), ("dec.u32", 2, 9, 4, 8), ("inc.u32", 100, 4, 1, 0), ("dec.u32", 100, 4, 1, 4),
        ("add.f32", UInt64(Float(1).bitPattern), UInt64(Float(0.5).bitPattern), 100, UInt64(Float(51).bitPattern)),
        ("add.f64", 1.0.bitPattern, 0.5.bitPattern, 100, 51.0.bitPattern),
        ("add.noftz.f16", 0x3C00, 0x3C00, 3, 0x4400), ("add.noftz.f16x2", 0x3C00_0000, 0x3C00_4000, 2, 0x4200_4400),
        ("add.noftz.bf16", 0x3F80, 0x3F80, 3, 0x4080),
    ]

    @Test(arguments: ["global", "shared", ""], atomics.indices)
    func atomicsAddUp(_ space: String, _ index: Int) throws {
        let test = Self.atomics[index]
        let isWide = test.instruction.hasSuffix("64"), isHalf = test.instruction.hasSuffix("f16")
        let register = isWide ? "%d1" : isHalf ? "%h1" : "%r1"
        let type = isWide ? "u64" : isHalf ? "u16" : "u32"
        let place = space == "shared" ? "[%d9]" : "[%p]"
        let dotted = space.isEmpty ? "" : ".\(space)"
        let instruction = test.instruction.split(separator: ".", maxSplits: 1)
        let harness = try KernelHarness(
            KernelHarness.kernel(
                """
                .shared .align 8 .b8 cell[8];
                mov.u64 %d9, cell;
                ld.\(type) \(register), [%p];
                setp.ne.u32 %q1, %t, 0;
                @!%q1 st.shared.\(type) [%d9], \(register);
                bar.sync 0;
                ld.\(type) \(register), [%p+8];
                red\(dotted).\(instruction[0]).\(instruction[1]) \(place), \(register);
                bar.sync 0;
                @%q1 exit;
                ld\(space == "shared" ? ".shared" : "").\(type) \(register), \(place);
                st.\(type) [%p], \(register);
                """))
        var values = [test.start, test.operand]
        #expect(try harness.run(block: test.threads, on: &values) == .completed)
        #expect(values[0] == test.result, "\(test.instruction)")
    }

    @Test func compareAndSwapReturnsWhatWasThere() throws {
        let harness = try KernelHarness(
            KernelHarness.kernel(
                """
                atom.cas.b64 %d1, [%p], 5, 6;
                atom.global.acq_rel.gpu.cas.b64 %d2, [%p], 5, 7;
                atom.global.cas.b32 %r1, [%p+8], 1, 2;
                mov.u16 %h1, 3; mov.u16 %h2, 4;
                atom.cas.b16 %h3, [%p+16], %h1, %h2;
                st.u64 [%p+24], %d1; st.u64 [%p+32], %d2; st.u32 [%p+40], %r1; st.u16 [%p+48], %h3;
                """))
        var values: [UInt64] = [5, 1, 3, 0, 0, 0, 0]
        #expect(try harness.run(on: &values) == .completed)
        #expect(values == [6, 2, 4, 5, 6, 1, 3])
    }

    @Test func blocksRunOnAllCoresAndAllOfThem() throws {
        let harness = try KernelHarness(
            KernelHarness.kernel("mov.u32 %r1, %ctaid.x; mad.wide.u32 %a, %r1, 4, %p; atom.add.u32 %r2, [%a], 1;"))
        var values = [UInt32](repeating: 0, count: 20_000)
        #expect(try harness.run(grid: 20_000, block: 3, on: &values) == .completed)
        #expect(values.allSatisfy { $0 == 3 })
    }
}
