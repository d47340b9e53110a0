// SPDX-License-Identifier: Apache-2.0
import Glibc
import KernelCompiler
import Synchronization
import Testing

/// Blocks that work together, on one core and on several: grid barriers, fences, and waits for each other.
@Suite struct GridTests {
    /// Round after round, each block adds what it reads of its neighbour's last round: wrong as soon as one of them is
    /// ahead or behind.
    private static let rounds = KernelHarness.kernel(
        """
        { .param .b32 s; st.param.b32 [s], 1; .param .b64 h;
          call.uni (h), cudaCGGetIntrinsicHandle, (s); ld.param.b64 %d1, [h]; }
        mov.u32 %r1, %ctaid.x; mov.u32 %r2, %nctaid.x; mov.u32 %r9, 0;
        add.u32 %r3, %r1, 1; setp.eq.u32 %q1, %r3, %r2; selp.u32 %r3, 0, %r3, %q1;
        mad.wide.u32 %d2, %r1, 4, %p; mad.wide.u32 %d3, %r3, 4, %p;
        setp.ne.u32 %q2, %t, 0;
        ROUND:
        ld.volatile.global.u32 %r4, [%d3];
        { .param .b64 h; st.param.b64 [h], %d1; .param .b32 f; st.param.b32 [f], 0; .param .b32 r;
          call.uni (r), cudaCGSynchronize, (h, f); ld.param.b32 %r8, [r]; }
        setp.ne.u32 %q3, %r8, 0;
        @%q3 trap;
        add.u32 %r4, %r4, 1;
        @!%q2 st.volatile.global.u32 [%d2], %r4;
        { .param .b64 h; st.param.b64 [h], %d1; .param .b32 f; st.param.b32 [f], 0; .param .b32 r;
          call.uni (r), cudaCGSynchronizeGrid, (h, f); ld.param.b32 %r8, [r]; }
        add.u32 %r9, %r9, 1; setp.lt.u32 %q4, %r9, 20;
        @%q4 bra ROUND;
        """,
        extra: """
            .extern .func (.param .b64 r) cudaCGGetIntrinsicHandle(.param .b32 s);
            .extern .func (.param .b32 r) cudaCGSynchronize(.param .b64 h, .param .b32 f);
            .extern .func (.param .b32 r) cudaCGSynchronizeGrid(.param .b64 h, .param .b32 f);
            """)

    private func runRounds(_ executor: KernelExecutor, blocks: UInt32, threads: UInt32) throws -> Bool {
        let harness = try KernelHarness(Self.rounds)
        let kernel = try harness.program.kernel(0)
        let start = (0..<blocks).map { $0 * 100 }
        var values = start
        let outcome = values.withUnsafeMutableBytes { bytes in
            let parameters = [UInt64(UInt(bitPattern: bytes.baseAddress))]
            let shape = LaunchShape(
                grid: (blocks, 1, 1), block: (threads, 1, 1), dynamicSharedBytes: 0, isCooperative: true)
            return parameters.withUnsafeBytes {
                executor.run(kernel, shape, parameters: $0, services: KernelServices())
            }
        }
        let count = Int(blocks)
        return outcome == .completed && values == (0..<count).map { start[($0 + 20) % count] + 20 }
    }

    /// One core holds all blocks of the grid, however many.
    @Test(arguments: [(1, 200, 40), (2, 33, 64), (2, 2, 1024), (8, 64, 5)])
    func roundsOfAGridStayInStep(_ threads: Int, _ blocks: UInt32, _ blockThreads: UInt32) throws {
        #expect(try runRounds(KernelExecutor(threads: threads), blocks: blocks, threads: blockThreads))
    }

    /// Each grid needs the cores that the others keep.
    @Test func severalCooperativeGridsRunAtOnce() throws {
        let executor = KernelExecutor(threads: 2)
        let passed = Atomic(0)
        try withThreads(4) { if try runRounds(executor, blocks: 32, threads: 32) { passed.add(1, ordering: .relaxed) } }
        #expect(passed.load(ordering: .relaxed) == 4)
    }

    private func withThreads(_ count: Int, _ body: @Sendable @escaping () throws -> Void) throws {
        final class Job: Sendable {
            let body: @Sendable () throws -> Void
            init(_ body: @escaping @Sendable () throws -> Void) { self.body = body }
        }
        var threads: [pthread_t] = []
        for _ in 0..<count {
            var thread = pthread_t()
            let job = Unmanaged.passRetained(Job(body)).toOpaque()
            let status = pthread_create(
                &thread, nil,
                { job in
                    if let job { try? Unmanaged<Job>.fromOpaque(job).takeRetainedValue().body() }
                    return nil
                }, job)
            try #require(status == 0)
            threads.append(thread)
        }
        for thread in threads { pthread_join(thread, nil) }
    }

    /// Whoever spins for another block ends with the launch.
    @Test func aGridThatWaitsForeverIsCancelled() throws {
        let harness = try KernelHarness(
            KernelHarness.kernel(
                """
                WAIT:
                ld.acquire.gpu.global.u32 %r1, [%p];
                setp.eq.u32 %q1, %r1, 0;
                @%q1 bra WAIT;
                """))
        var word: UInt32 = 0
        let kernel = try harness.program.kernel(0)
        let cancellation = KernelCancellation()
        let outcome = Mutex<KernelOutcome?>(nil)
        let address = withUnsafeMutableBytes(of: &word) { UInt64(UInt(bitPattern: $0.baseAddress)) }
        try withThreads(2) {
            if outcome.withLock({ outcome in
                defer { if outcome == nil { outcome = .completed } }
                return outcome == nil
            }) {
                let shape = LaunchShape(
                    grid: (4, 1, 1), block: (32, 1, 1), dynamicSharedBytes: 0, isCooperative: true)
                let result = [address].withUnsafeBytes {
                    KernelHarness.executor.run(
                        kernel, shape, parameters: $0, services: KernelServices(), cancellation: cancellation)
                }
                outcome.withLock { $0 = result }
            } else {
                usleep(300_000)
                cancellation.cancel()
            }
        }
        #expect(outcome.withLock { $0 } == .cancelled)
    }

    /// The last block to arrive adds up what all have written, as CUDA's threadFenceReduction sample does.
    @Test func theLastBlockSeesWhatTheOthersWrote() throws {
        let harness = try KernelHarness(
            KernelHarness.kernel(
                """
                mov.u32 %r1, %ctaid.x; mov.u32 %r2, %nctaid.x;
                add.u32 %r3, %r1, 7;
                mad.wide.u32 %a, %r1, 4, %p;
                st.global.u32 [%a+8], %r3;
                membar.gl;
                atom.global.inc.u32 %r4, [%p], %r2;
                sub.u32 %r5, %r2, 1;
                setp.ne.u32 %q1, %r4, %r5;
                @%q1 bra DONE;
                membar.gl;
                mov.u32 %r6, 0; mov.u32 %r7, 0; mov.u64 %d1, %p;
                NEXT:
                ld.global.u32 %r8, [%d1+8];
                add.u32 %r7, %r7, %r8;
                add.u64 %d1, %d1, 4;
                add.u32 %r6, %r6, 1;
                setp.lt.u32 %q2, %r6, %r2;
                @%q2 bra NEXT;
                st.global.u32 [%p+4], %r7;
                DONE:
                """))
        let blocks: UInt32 = 30_000
        for _ in 0..<5 {
            var values = [UInt32](repeating: 0, count: Int(blocks) + 2)
            #expect(try harness.run(grid: blocks, block: 1, on: &values) == .completed)
            #expect(values[1] == (0..<blocks).reduce(0) { $0 &+ $1 &+ 7 })
        }
    }

    /// A block waits for a flag that a later block sets, sleeping in between, in an ordinary launch.
    @Test func aBlockCanWaitForALaterOne() throws {
        let harness = try KernelHarness(
            KernelHarness.kernel(
                """
                mov.u32 %r1, %ctaid.x; mov.u32 %r2, %nctaid.x;
                sub.u32 %r2, %r2, 1;
                setp.eq.u32 %q1, %r1, %r2;
                @%q1 bra SET;
                WAIT:
                nanosleep.u32 50;
                ld.relaxed.gpu.global.u32 %r3, [%p];
                setp.eq.u32 %q2, %r3, 0;
                @%q2 bra WAIT;
                fence.acq_rel.gpu;
                bra DONE;
                SET:
                fence.acq_rel.gpu;
                mov.u32 %r3, 1;
                st.relaxed.gpu.global.u32 [%p], %r3;
                DONE:
                atom.global.add.u32 %r4, [%p+4], 1;
                """))
        var values: [UInt32] = [0, 0]
        #expect(try harness.run(grid: 100, block: 33, on: &values) == .completed)
        #expect(values == [1, 3300])
    }

    /// A ticket lock: each lane waits for its number, so that the lanes of a warp run in the order of their tickets.
    @Test func lanesPassATicketLockOn() throws {
        let harness = try KernelHarness(
            KernelHarness.kernel(
                """
                atom.global.add.u32 %r1, [%p], 1;
                WAIT:
                ld.acquire.gpu.global.u32 %r2, [%p+4];
                setp.ne.u32 %q1, %r1, %r2;
                @%q1 bra WAIT;
                ld.global.u32 %r3, [%p+8];
                mad.lo.u32 %r3, %r3, 3, %r1;
                st.global.u32 [%p+8], %r3;
                add.u32 %r2, %r2, 1;
                st.release.gpu.global.u32 [%p+4], %r2;
                """))
        var values: [UInt32] = [0, 0, 0]
        #expect(try harness.run(grid: 6, block: 96, on: &values) == .completed)
        #expect(values == [576, 576, (0..<576).reduce(0) { $0 &* 3 &+ $1 }])
    }

    /// The loop that waits is inside of one that counts, and in the second form both begin at the same place.
    @Test(arguments: [
        """
        ROUND:
        add.u32 %r1, %r1, 1;
        WAIT:
        ld.acquire.gpu.global.u32 %r2, [%p];
        setp.lt.u32 %q1, %r2, %r1;
        @%q1 bra WAIT;
        setp.lt.u32 %q2, %r1, 50;
        @%q2 bra ROUND;
        """,
        """
        WAIT:
        ld.acquire.gpu.global.u32 %r2, [%p];
        setp.le.u32 %q1, %r2, %r1;
        @%q1 bra WAIT;
        add.u32 %r1, %r1, 1;
        setp.lt.u32 %q2, %r1, 50;
        @%q2 bra WAIT;
        """,
    ])
    func aWaitInsideOfALoopLetsOthersRun(_ loop: String) throws {
        let harness = try KernelHarness(
            KernelHarness.kernel(
                """
                mov.u32 %r1, 0;
                setp.eq.u32 %q3, %t, 40;
                @%q3 bra COUNT;
                \(loop)
                bra DONE;
                COUNT:
                atom.global.add.u32 %r3, [%p], 1;
                add.u32 %r1, %r1, 1;
                setp.lt.u32 %q4, %r1, 50;
                @%q4 bra COUNT;
                DONE:
                """))
        var values: [UInt32] = [0]
        #expect(try harness.run(block: 64, on: &values) == .completed)
        #expect(values == [50])
    }

    @Test func clocksAdvance() throws {
        let harness = try KernelHarness(
            KernelHarness.kernel(
                """
                mov.u64 %d1, %clock64; mov.u32 %r1, %clock; mov.u64 %d2, %globaltimer;
                mov.u32 %r3, 0;
                NEXT:
                add.u32 %r3, %r3, 1;
                mov.u64 %d3, %globaltimer;
                sub.u64 %d4, %d3, %d2;
                setp.lt.u64 %q1, %d4, 1000000;
                @%q1 bra NEXT;
                mov.u64 %d5, %clock64; mov.u32 %r2, %clock;
                sub.u64 %d6, %d5, %d1; sub.u32 %r4, %r2, %r1;
                st.global.u64 [%p], %d6; st.global.u64 [%p+8], %d4;
                cvt.u64.u32 %d7, %r4; st.global.u64 [%p+16], %d7;
                """))
        var values: [UInt64] = [0, 0, 0]
        #expect(try harness.run(on: &values) == .completed)
        #expect(values[0] > 100_000 && values[1] >= 1_000_000 && values[2] > 100_000, "\(values)")
    }
}
