// SPDX-License-Identifier: Apache-2.0
import KernelCompiler
import Testing

/// One instruction at a time, with values at the edges.
///
/// The expected results are computed here, or are facts of PTX.
@Suite struct InstructionTests {
    /// An instruction with `d` as its target and `a`, `b`, `c` as its sources.
    struct Case: CustomTestStringConvertible, Sendable {
        let instruction: String
        let types: [Character]
        let inputs: [UInt64]
        let expected: UInt64

        /// The types are of the target and each source: `h` 16 bits, `r` 32, `d` 64, `f` float, `g` double, `q`
        /// predicate.
        init(_ instruction: String, _ types: String, _ inputs: [UInt64], _ expected: UInt64) {
            self.instruction = instruction
            self.types = Array(types)
            self.inputs = inputs
            self.expected = expected
        }

        var testDescription: String { "\(instruction) \(inputs.map { String($0, radix: 16) })" }
    }

    static func bits(_ value: Float) -> UInt64 { UInt64(value.bitPattern) }
    static func bits(_ value: Double) -> UInt64 { value.bitPattern }
    static func s32(_ value: Int32) -> UInt64 { UInt64(UInt32(bitPattern: value)) }
    static func s64(_ value: Int64) -> UInt64 { UInt64(bitPattern: value) }

    static let integer: [Case] = [
        Case("add.s32", "rrr", [s32(.max), 1], s32(.min)),
        Case("add.sat.s32", "rrr", [s32(.max), 1], s32(.max)),
        Case("sub.sat.s32", "rrr", [s32(.min), 1], s32(.min)),
        Case("sub.u64", "ddd", [0, 1], .max),
        Case("add.u16", "hhh", [0xFFFF, 2], 1),
        Case("mul.lo.s32", "rrr", [s32(-3), 7], s32(-21)),
        Case("mul.hi.s32", "rrr", [s32(.min), 2], s32(-1)),
        Case("mul.hi.u32", "rrr", [0xFFFF_FFFF, 0xFFFF_FFFF], 0xFFFF_FFFE),
        Case("mul.hi.s64", "ddd", [s64(-1), 5], s64(-1)),
        Case("mul.hi.u64", "ddd", [.max, .max], .max - 1),
        Case("mul.wide.s16", "rhh", [0x8000, 0x8000], 0x4000_0000),
        Case("mul.wide.s32", "drr", [s32(-2), 3], s64(-6)),
        Case("mul.wide.u32", "drr", [0xFFFF_FFFF, 0xFFFF_FFFF], 0xFFFF_FFFE_0000_0001),
        Case("mul24.lo.s32", "rrr", [0x00FF_FFFF, 2], s32(-2)),
        Case("mul24.hi.u32", "rrr", [0x00FF_FFFF, 0x00FF_FFFF], 0xFFFF_FE00),
        Case("mad.lo.u32", "rrrr", [3, 4, 5], 17),
        Case("mad.hi.s32", "rrrr", [s32(.min), 2, 1], 0),
        Case("mad.wide.s32", "drrd", [s32(-1), 1, 10], 9),
        Case("mad.hi.sat.s32", "rrrr", [s32(.max), s32(.max), s32(.max)], s32(.max)),
        Case("sad.s32", "rrrr", [s32(-5), 5, 1], 11),
        Case("sad.u32", "rrrr", [5, 0xFFFF_FFFF, 0], 0xFFFF_FFFA),
        Case("div.s32", "rrr", [s32(-7), 2], s32(-3)),
        Case("div.s32", "rrr", [s32(.min), s32(-1)], s32(.min)),
        Case("div.u32", "rrr", [7, 0], 0xFFFF_FFFF),
        Case("div.s64", "ddd", [s64(.min), s64(-1)], s64(.min)),
        Case("rem.s32", "rrr", [s32(-7), 2], s32(-1)),
        Case("rem.s32", "rrr", [s32(.min), s32(-1)], 0),
        Case("rem.u64", "ddd", [17, 5], 2),
        Case("div.s16", "hhh", [0x8000, 2], 0xC000),
        Case("abs.s32", "rr", [s32(-9)], 9),
        Case("abs.s64", "dd", [s64(.min)], s64(.min)),
        Case("neg.s32", "rr", [1], s32(-1)),
        Case("min.s32", "rrr", [s32(-1), 1], s32(-1)),
        Case("min.u32", "rrr", [s32(-1), 1], 1),
        Case("max.s64", "ddd", [s64(-1), 1], 1),
        Case("max.u64", "ddd", [s64(-1), 1], .max),
        Case("min.s16", "hhh", [0x8000, 1], 0x8000),
        Case("dp4a.s32.s32", "rrrr", [0x01FF_7F80, 0x0202_0202, 10], s32(10 + 2 * (1 - 1 + 127 - 128))),
        Case("dp4a.u32.u32", "rrrr", [0xFFFF_FFFF, 0x0101_0101, 1], 1021),
        Case("dp4a.s32.u32", "rrrr", [0xFF00_0000, 0xFF00_0000, 0], s32(-255)),
        Case("dp2a.lo.s32.s32", "rrrr", [0xFFFF_0002, 0x0000_03FE, 0], s32(-3 - 4)),
        Case("dp2a.hi.u32.u32", "rrrr", [0x0001_0002, 0x0304_0000, 0], 3 + 8),
    ]

    static let logic: [Case] = [
        Case("and.b32", "rrr", [0xF0F0, 0xFF00], 0xF000),
        Case("or.b64", "ddd", [1, 1 << 63], 1 | 1 << 63),
        Case("xor.b16", "hhh", [0xFFFF, 0x0F0F], 0xF0F0),
        Case("not.b32", "rr", [0], 0xFFFF_FFFF),
        Case("cnot.b32", "rr", [0], 1),
        Case("cnot.b32", "rr", [7], 0),
        Case("shl.b32", "rrr", [1, 31], 0x8000_0000),
        Case("shl.b32", "rrr", [1, 32], 0),
        Case("shl.b64", "ddr", [1, 200], 0),
        Case("shr.u32", "rrr", [0x8000_0000, 31], 1),
        Case("shr.s32", "rrr", [0x8000_0000, 99], 0xFFFF_FFFF),
        Case("shr.s16", "hhr", [0x8000, 15], 0xFFFF),
        Case("shr.b64", "ddr", [.max, 64], 0),
        Case("shf.l.wrap.b32", "rrrr", [0x8000_0001, 0x0000_0001, 33], 3),
        Case("shf.l.clamp.b32", "rrrr", [0xAAAA_AAAA, 0x1234_5678, 40], 0xAAAA_AAAA),
        Case("shf.r.wrap.b32", "rrrr", [0x8000_0000, 1, 1], 0xC000_0000),
        Case("shf.r.clamp.b32", "rrrr", [0x1, 0x1234_5678, 32], 0x1234_5678),
        Case("prmt.b32", "rrrr", [0x3322_1100, 0x7766_5544, 0x7531], 0x7755_3311),
        Case("prmt.b32", "rrrr", [0x0000_0080, 0, 0x8888], 0xFFFF_FFFF),
        Case("prmt.b32.f4e", "rrrr", [0x3322_1100, 0x7766_5544, 1], 0x4433_2211),
        Case("prmt.b32.rc16", "rrrr", [0x3322_1100, 0, 1], 0x3322_3322),
        Case("popc.b32", "rr", [0xFFFF_0001], 17),
        Case("popc.b64", "rd", [.max], 64),
        Case("clz.b32", "rr", [0], 32),
        Case("clz.b64", "rd", [1], 63),
        Case("brev.b32", "rr", [1], 0x8000_0000),
        Case("brev.b64", "dd", [1], 1 << 63),
        Case("bfind.u32", "rr", [0x0001_0000], 16),
        Case("bfind.u32", "rr", [0], 0xFFFF_FFFF),
        Case("bfind.s32", "rr", [s32(-1)], 0xFFFF_FFFF),
        Case("bfind.s32", "rr", [s32(-256)], 7),
        Case("bfind.shiftamt.u32", "rr", [0x0001_0000], 15),
        Case("bfind.s64", "rd", [s64(.min)], 62),
        Case("bfe.u32", "rrrr", [0xABCD_EF12, 8, 8], 0xEF),
        Case("bfe.s32", "rrrr", [0xABCD_EF12, 8, 8], s32(-17)),
        Case("bfe.s32", "rrrr", [0x8000_0000, 28, 16], s32(-8)),
        Case("bfe.u32", "rrrr", [0x8000_0000, 28, 16], 8),
        Case("bfe.s32", "rrrr", [0x8000_0000, 77, 3], s32(-1)),
        Case("bfe.u32", "rrrr", [0xFFFF_FFFF, 77, 3], 0),
        Case("bfe.s32", "rrrr", [0xFFFF_FFFF, 0, 0], 0),
        Case("bfe.u64", "ddrr", [.max, 60, 64], 15),
        Case("bfe.s64", "ddrr", [1 << 63, 63, 1], .max),
        Case("bfi.b32", "rrrrr", [0xFF, 0, 4, 4], 0xF0),
        Case("bfi.b32", "rrrrr", [0xFFFF_FFFF, 0, 28, 28], 0xF000_0000),
        Case("bfi.b32", "rrrrr", [0xFF, 0x1234, 40, 8], 0x1234),
        Case("bfi.b64", "dddrr", [0x5, 0, 61, 3], 5 << 61),
        Case("bmsk.clamp.b32", "rrr", [4, 8], 0xFF0),
        Case("bmsk.clamp.b32", "rrr", [28, 99], 0xF000_0000),
        Case("bmsk.wrap.b32", "rrr", [36, 33], 0x10),
        Case("szext.clamp.s32", "rrr", [0x80, 8], 0xFFFF_FF80),
        Case("szext.clamp.u32", "rrr", [0xFFFF, 8], 0xFF),
        Case("szext.wrap.s32", "rrr", [1, 33], 0xFFFF_FFFF),
        Case("fns.b32", "rrrr", [0b1011_0000, 0, 2], 5),
        Case("fns.b32", "rrrr", [0b1011_0000, 7, s32(-2)], 5),
    ]

    @Test(arguments: integer + logic)
    func computesIntegers(_ test: Case) throws { try check(test) }

    static let floats: [Case] = [
        Case("add.f32", "fff", [bits(Float(1)), bits(Float(0x1p-24))], bits(Float(1))),
        Case("add.rp.f32", "fff", [bits(Float(1)), bits(Float(0x1p-30))], bits(Float(1).nextUp)),
        Case("add.rz.f32", "fff", [bits(Float(-1)), bits(Float(-0x1p-30))], bits(Float(-1))),
        Case("add.rm.f32", "fff", [bits(Float(-1)), bits(Float(-0x1p-30))], bits(Float(-1).nextDown)),
        Case("sub.rp.f64", "ggg", [bits(1.0), bits(-0x1p-80)], bits(1.0.nextUp)),
        Case("mul.ftz.f32", "fff", [bits(Float(0x1p-100)), bits(Float(-0x1p-40))], bits(-Float(0))),
        Case("mul.f32", "fff", [bits(Float(0x1p-100)), bits(Float(0x1p-40))], bits(Float(0x1p-140))),
        Case("add.ftz.f32", "fff", [1, bits(Float(1))], bits(Float(1))),
        Case("add.sat.f32", "fff", [bits(Float(2)), bits(Float(1))], bits(Float(1))),
        Case("add.sat.f32", "fff", [bits(Float.nan), bits(Float(1))], 0),
        Case(
            "fma.rn.f32", "ffff", [bits(Float(1.1)), bits(Float(1.1)), bits(Float(-1.21))],
            bits(Float(-1.21).addingProduct(Float(1.1), Float(1.1)))),
        Case("fma.rz.f32", "ffff", [bits(Float(1)), bits(Float(1)), bits(Float(-0x1p-30))], bits(Float(1).nextDown)),
        Case("fma.rn.f64", "gggg", [bits(1.1), bits(1.1), bits(-1.21)], bits((-1.21).addingProduct(1.1, 1.1))),
        Case("div.rn.f32", "fff", [bits(Float(1)), bits(Float(3))], bits(Float(1) / 3)),
        Case("div.rp.f32", "fff", [bits(Float(1)), bits(Float(3))], bits(Float(1) / 3)),
        Case("div.rz.f32", "fff", [bits(Float(1)), bits(Float(3))], bits((Float(1) / 3).nextDown)),
        Case("div.rn.f64", "ggg", [bits(1.0), bits(0.0)], bits(Double.infinity)),
        Case("rcp.rn.f32", "ff", [bits(Float(3))], bits(Float(1) / 3)),
        Case("sqrt.rn.f32", "ff", [bits(Float(2))], bits(Float(2).squareRoot())),
        Case("sqrt.rn.f64", "gg", [bits(2.0)], bits(2.0.squareRoot())),
        Case("rsqrt.approx.f32", "ff", [bits(Float(4))], bits(Float(0.5))),
        Case("ex2.approx.f32", "ff", [bits(Float(10))], bits(Float(1024))),
        Case("lg2.approx.f32", "ff", [bits(Float(1024))], bits(Float(10))),
        Case("sin.approx.f32", "ff", [0], 0),
        Case("cos.approx.f32", "ff", [0], bits(Float(1))),
        Case("abs.f32", "ff", [bits(Float(-2))], bits(Float(2))),
        Case("neg.f64", "gg", [bits(0.0)], bits(-0.0)),
        Case("min.f32", "fff", [bits(Float.nan), bits(Float(1))], bits(Float(1))),
        Case("max.f32", "fff", [bits(Float(1)), bits(Float.nan)], bits(Float(1))),
        Case("min.f32", "fff", [bits(Float(0)), bits(-Float(0))], bits(-Float(0))),
        Case("max.f64", "ggg", [bits(-0.0), bits(0.0)], bits(0.0)),
        Case("copysign.f32", "fff", [bits(Float(-1)), bits(Float(5))], bits(Float(-5))),
        Case("mov.b32", "rf", [bits(Float(1))], bits(Float(1))),
        Case("add.f16", "hhh", [0x3C00, 0x3C00], 0x4000),
        Case("mul.f16", "hhh", [0x4200, 0x4400], 0x4A00),
        Case("fma.rn.f16", "hhhh", [0x3C01, 0x3C01, 0xBC02], 0x0010),
        Case("add.f16x2", "rrr", [0x3C00_4000, 0x3C00_3C00], 0x4000_4200),
        Case("fma.rn.f16x2", "rrrr", [0x4000_3C00, 0x4000_3C00, 0x3C00_3C00], 0x4500_4000),
        Case("add.bf16", "hhh", [0x3F80, 0x3F80], 0x4000),
        Case("fma.rn.bf16", "hhhh", [0x4000, 0x4040, 0x3F80], 0x40E0),
        Case("fma.rn.bf16x2", "rrrr", [0x4000_3F80, 0x4040_3F80, 0x3F80_0000], 0x40E0_3F80),
        Case("neg.f16", "hh", [0x3C00], 0xBC00),
        Case("min.f16", "hhh", [0x7E00, 0x3C00], 0x3C00),
    ]

    static let conversions: [Case] = [
        Case("cvt.s64.s32", "dr", [s32(-1)], .max),
        Case("cvt.u64.u32", "dr", [s32(-1)], 0xFFFF_FFFF),
        Case("cvt.u16.u32", "hr", [0x12345], 0x2345),
        Case("cvt.s32.s8", "rr", [0x80], s32(-128)),
        Case("cvt.u32.u8", "rr", [0x1FF], 0xFF),
        Case("cvt.sat.u8.s32", "rr", [s32(-5)], 0),
        Case("cvt.sat.s8.s32", "rr", [1000], 127),
        Case("cvt.sat.s32.u32", "rr", [0xFFFF_FFFF], s32(.max)),
        Case("cvt.sat.u32.s64", "rd", [s64(-1)], 0),
        Case("cvt.rzi.s32.f32", "rf", [bits(Float(-2.7))], s32(-2)),
        Case("cvt.rni.s32.f32", "rf", [bits(Float(2.5))], 2),
        Case("cvt.rmi.s32.f32", "rf", [bits(Float(-2.1))], s32(-3)),
        Case("cvt.rpi.s32.f32", "rf", [bits(Float(2.1))], 3),
        Case("cvt.rzi.s32.f32", "rf", [bits(Float.nan)], 0),
        Case("cvt.rzi.s32.f32", "rf", [bits(Float(1e30))], s32(.max)),
        Case("cvt.rzi.u32.f32", "rf", [bits(Float(-1))], 0),
        Case("cvt.rzi.s64.f64", "dg", [bits(Double.nan)], 1 << 63),
        Case("cvt.rzi.s64.f64", "dg", [bits(-1e30)], 1 << 63),
        Case("cvt.rzi.u64.f32", "df", [bits(Float(1e30))], .max),
        Case("cvt.rzi.u8.f32", "rf", [bits(Float(300))], 255),
        Case("cvt.rn.f32.s32", "fr", [s32(-7)], bits(Float(-7))),
        Case("cvt.rn.f32.u32", "fr", [0xFFFF_FFFF], bits(Float(4294967296))),
        Case("cvt.rz.f32.u32", "fr", [0xFFFF_FFFF], bits(Float(4294967040))),
        Case("cvt.rn.f32.u64", "fd", [.max], bits(Float(0x1p64))),
        Case("cvt.rz.f32.u64", "fd", [.max], bits(Float(0x1p64).nextDown)),
        Case("cvt.rn.f64.s64", "gd", [s64(-5)], bits(-5.0)),
        Case("cvt.f64.f32", "gf", [bits(Float(1.5))], bits(1.5)),
        Case("cvt.rn.f32.f64", "fg", [bits(0.1)], bits(Float(0.1))),
        Case("cvt.rz.f32.f64", "fg", [bits(0.1)], bits(Float(0.1).nextDown)),
        Case("cvt.rp.f32.f64", "fg", [bits(1 + 0x1p-40)], bits(Float(1).nextUp)),
        Case("cvt.rni.f32.f32", "ff", [bits(Float(3.5))], bits(Float(4))),
        Case("cvt.rmi.f64.f64", "gg", [bits(-0.5)], bits(-1.0)),
        Case("cvt.rzi.f32.f32", "ff", [bits(Float(-0.5))], bits(-Float(0))),
        Case("cvt.sat.f32.f32", "ff", [bits(Float(7))], bits(Float(1))),
        Case("cvt.ftz.f32.f32", "ff", [1], 0),
        Case("cvt.rn.f16.f32", "hf", [bits(Float(1))], 0x3C00),
        Case("cvt.rn.f16.f32", "hf", [bits(Float(65520))], 0x7C00),
        Case("cvt.rz.f16.f32", "hf", [bits(Float(65520))], 0x7BFF),
        Case("cvt.rn.f16.f32", "hf", [bits(Float(0x1p-25))], 0),
        Case("cvt.rp.f16.f32", "hf", [bits(Float(0x1p-30))], 1),
        Case("cvt.f32.f16", "fh", [0x3555], bits(Float(0.333251953125))),
        Case("cvt.f32.f16", "fh", [0x0001], bits(Float(0x1p-24))),
        Case("cvt.rn.f16.f64", "hg", [bits(1.0 + 0x1p-11 + 0x1p-40)], 0x3C01),
        Case("cvt.rn.f16.s32", "hr", [s32(-2)], 0xC000),
        Case("cvt.rn.f16.u64", "hd", [100_000], 0x7C00),
        Case("cvt.rzi.s32.f16", "rh", [0xC200], s32(-3)),
        Case("cvt.rn.bf16.f32", "hf", [bits(Float(1.00390625))], 0x3F80),
        Case("cvt.f32.bf16", "fh", [0x4049], bits(Float(3.140625))),
        Case("cvt.rn.f16x2.f32", "rff", [bits(Float(1)), bits(Float(2))], 0x3C00_4000),
        Case("cvt.rn.bf16x2.f32", "rff", [bits(Float(1)), bits(Float(2))], 0x3F80_4000),
        Case("cvt.rn.relu.f16x2.f32", "rff", [bits(Float(-1)), bits(Float(2))], 0x0000_4000),
        Case("cvt.pack.sat.u8.s32.b32", "rrrr", [300, s32(-1), 0xABCD], 0xABCD_FF00),
        Case("cvt.pack.sat.s16.s32", "rrr", [100_000, s32(-100_000)], 0x7FFF_8000),
    ]

    @Test(arguments: floats + conversions)
    func computesFloats(_ test: Case) throws { try check(test) }

    static let comparisons: [Case] = [
        Case("setp.lt.s32", "qrr", [s32(-1), 0], 1),
        Case("setp.lt.u32", "qrr", [s32(-1), 0], 0),
        Case("setp.hs.u32", "qrr", [5, 5], 1),
        Case("setp.ne.f32", "qff", [bits(Float.nan), 0], 0),
        Case("setp.neu.f32", "qff", [bits(Float.nan), 0], 1),
        Case("setp.num.f64", "qgg", [bits(1.0), bits(Double.nan)], 0),
        Case("setp.nan.f64", "qgg", [bits(1.0), bits(Double.nan)], 1),
        Case("setp.gtu.f64", "qgg", [bits(1.0), bits(2.0)], 0),
        Case("setp.eq.f16", "qhh", [0x8000, 0x0000], 1),
        Case("setp.gt.bf16", "qhh", [0x4000, 0x3F80], 1),
        Case("setp.ge.and.s32", "qrrq", [1, 1, 0], 0),
        Case("setp.ge.xor.s32", "qrrq", [1, 1, 0], 1),
        Case("set.lt.u32.s32", "rrr", [s32(-1), 0], 0xFFFF_FFFF),
        Case("set.lt.f32.f32", "fff", [0, bits(Float(1))], bits(Float(1))),
        Case("set.gt.f16x2.f16x2", "rrr", [0x4000_0000, 0x3C00_3C00], 0x3C00_0000),
        Case("selp.b32", "rrrq", [1, 2, 1], 1),
        Case("selp.f64", "gggq", [1, 2, 0], 2),
        Case("slct.s32.s32", "rrrr", [1, 2, s32(-1)], 2),
        Case("slct.u64.f32", "dddf", [1, 2, bits(-Float(0))], 1),
        Case("testp.infinite.f32", "qf", [bits(Float.infinity)], 1),
        Case("testp.subnormal.f64", "qg", [1], 1),
        Case("testp.normal.f32", "qf", [bits(Float.nan)], 0),
        Case("and.pred", "qqq", [1, 0], 0),
        Case("not.pred", "qq", [0], 1),
    ]

    @Test(arguments: comparisons)
    func compares(_ test: Case) throws { try check(test) }

    @Test func lop3ComputesEveryTable() throws {
        let a: UInt32 = 0b1111_0000, b: UInt32 = 0b1100_1100, c: UInt32 = 0b1010_1010
        for table in stride(from: 0, through: 255, by: 17) + [0x96, 0xE8, 0xCA] {
            let text = KernelHarness.kernel(
                """
                mov.b32 %r1, \(a); mov.b32 %r2, \(b); mov.b32 %r3, \(c);
                lop3.b32 %r4, %r1, %r2, %r3, \(table);
                st.u32 [%p], %r4;
                """
            )
            var result: [UInt32] = [0]
            #expect(try KernelHarness(text).run(on: &result) == .completed)
            #expect(result[0] & 0xFF == UInt32(table))
        }
    }

    /// 128-bit addition, subtraction and multiplication by chains of instructions that pass the carry on.
    @Test func carriesRippleThroughChains() throws {
        let text = KernelHarness.kernel(
            """
            ld.u64 %d1, [%p]; ld.u64 %d2, [%p+8]; ld.u64 %d3, [%p+16]; ld.u64 %d4, [%p+24];
            add.cc.u64 %d5, %d1, %d3;
            addc.u64 %d6, %d2, %d4;
            sub.cc.u64 %d7, %d1, %d3;
            subc.cc.u64 %d8, %d2, %d4;
            subc.u64 %d9, 0, 0;
            mad.lo.cc.u64 %d10, %d1, %d3, %d2;
            madc.hi.u64 %d11, %d1, %d3, 0;
            st.u64 [%p], %d5; st.u64 [%p+8], %d6; st.u64 [%p+16], %d7; st.u64 [%p+24], %d8; st.u64 [%p+32], %d9;
            st.u64 [%p+40], %d10; st.u64 [%p+48], %d11;
            """)
        var numbers: [UInt64] = [.max, 5, .max - 1, 7, 0, 0, 0]
        let (a, b) = (UInt128(numbers[1]) << 64 | UInt128(numbers[0]), UInt128(numbers[3]) << 64 | UInt128(numbers[2]))
        let product = numbers[0].multipliedFullWidth(by: numbers[2])
        let low = product.low.addingReportingOverflow(numbers[1])
        #expect(try KernelHarness(text).run(on: &numbers) == .completed)
        let sum = a &+ b, difference = a &- b
        #expect(numbers[0] == UInt64(truncatingIfNeeded: sum) && numbers[1] == UInt64(truncatingIfNeeded: sum >> 64))
        #expect(numbers[2] == UInt64(truncatingIfNeeded: difference))
        #expect(numbers[3] == UInt64(truncatingIfNeeded: difference >> 64))
        #expect(numbers[4] == .max)
        #expect(numbers[5] == low.partialValue && numbers[6] == product.high + (low.overflow ? 1 : 0))
    }

    /// The special functions stay within two units in the last place of libm's, over the range programs use.
    @Test(arguments: ["sin", "cos", "ex2", "lg2", "rsqrt", "rcp", "sqrt", "tanh"])
    func approximates(_ name: String) throws {
        let text = KernelHarness.kernel(
            "mad.wide.u32 %a, %t, 4, %p; ld.f32 %f1, [%a]; \(name).approx.f32 %f2, %f1; st.f32 [%a], %f2;")
        let inputs = (0..<1024).map { Float($0) * 0.01 + 0.001 }
        var values = inputs
        #expect(try KernelHarness(text).run(block: 1024, on: &values) == .completed)
        for (input, value) in zip(inputs, values) {
            let exact = reference(name, Double(input))
            #expect(abs(Double(value) - exact) <= 2 * Double(Float(exact).ulp) + 0x1p-22, "\(name)(\(input))")
        }
    }

    private func check(_ test: Case) throws {
        var body = ""
        var operands: [String] = []
        for (position, type) in test.types.dropFirst().enumerated() {
            let (register, load) = Self.register(type, position + 1)
            operands.append(register)
            body +=
                load.map { "\($0) \(register), [%p+\(8 * position + 8)];\n" } ?? """
                    ld.u32 %r\(position + 20), [%p+\(8 * position + 8)];
                    setp.ne.u32 \(register), %r\(position + 20), 0;

                    """
        }
        let target = Self.register(test.types[0], 0).name
        body += "\(test.instruction) \(([target] + operands).joined(separator: ", "));\n"
        switch test.types[0] {
        case "h": body += "st.u16 [%p], \(target);"
        case "r": body += "st.u32 [%p], \(target);"
        case "d": body += "st.u64 [%p], \(target);"
        case "f": body += "st.f32 [%p], \(target);"
        case "g": body += "st.f64 [%p], \(target);"
        default: body += "selp.u32 %r30, 1, 0, \(target); st.u32 [%p], %r30;"
        }
        var memory = [0] + test.inputs
        #expect(try KernelHarness(KernelHarness.kernel(body)).run(on: &memory) == .completed)
        #expect(memory[0] == test.expected, "\(String(memory[0], radix: 16)), not \(String(test.expected, radix: 16))")
    }

    private static func register(_ type: Character, _ number: Int) -> (name: String, load: String?) {
        switch type {
        case "h": ("%h\(number)", "ld.u16")
        case "r": ("%r\(number)", "ld.u32")
        case "d": ("%d\(number)", "ld.u64")
        case "f": ("%f\(number)", "ld.f32")
        case "g": ("%g\(number)", "ld.f64")
        default: ("%q\(number)", nil)
        }
    }
}
