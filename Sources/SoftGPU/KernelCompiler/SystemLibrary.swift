// SPDX-License-Identifier: Apache-2.0
import PTX

/// Functions that programs expect from CUDA's device runtime library and that PTX itself can express.
///
/// The text is linked with a program that leaves one of them open.
enum SystemLibrary {
    private static let names: Set<String> = ["cudaCGGetIntrinsicHandle", "cudaCGSynchronize", "cudaCGSynchronizeGrid"]

    /// The library, if any of the texts needs it.
    static func module(for modules: [Module]) throws(PTXError) -> Module? {
        var open: Set<String> = []
        var defined: Set<String> = []
        for function in modules.lazy.flatMap(\.functions) where names.contains(function.name) {
            if function.isDeclaration { open.insert(function.name) } else { defined.insert(function.name) }
        }
        return open.subtracting(defined).isEmpty ? nil : try Parser.parse(Array(text.utf8))
    }

    /// Grids are the only groups that need the library; the handle of grids on several devices (scope 2) is 0, which
    /// says that they cannot wait for each other.
    ///
    /// A grid's handle is the address of its workspace, zeroed at launch, where the first threads of the blocks count
    /// their arrivals: round after round, so it is never set back.
    private static let text = """
        .version 8.0
        .target sm_75
        .address_size 64

        .weak .func (.param .b64 handle) cudaCGGetIntrinsicHandle(.param .b32 scope)
        {
            .reg .b32 %r<4>;
            .reg .b64 %h;
            .reg .pred %p;
            mov.u32 %r1, %envreg1;
            mov.u32 %r2, %envreg2;
            mov.b64 %h, {%r2, %r1};
            ld.param.u32 %r3, [scope];
            setp.eq.u32 %p, %r3, 2;
            selp.b64 %h, 0, %h, %p;
            st.param.b64 [handle], %h;
            ret;
        }

        .func (.param .b64 count) blocks_of_grid()
        {
            .reg .b32 %r<4>;
            .reg .b64 %d<4>;
            mov.u32 %r1, %nctaid.x;
            mov.u32 %r2, %nctaid.y;
            mov.u32 %r3, %nctaid.z;
            mul.wide.u32 %d1, %r1, %r2;
            cvt.u64.u32 %d2, %r3;
            mul.lo.u64 %d1, %d1, %d2;
            st.param.b64 [count], %d1;
            ret;
        }

        .weak .func (.param .b32 status) cudaCGSynchronize(.param .b64 handle, .param .b32 flags)
        {
            .reg .b32 %r<4>;
            .reg .b64 %d<8>;
            .reg .pred %p<4>;
            ld.param.u64 %d1, [handle];
            setp.eq.u64 %p1, %d1, 0;
            mov.u32 %r1, 1;
            @%p1 bra END;
            bar.sync 0;
            mov.u32 %r1, %tid.x;
            mov.u32 %r2, %tid.y;
            or.b32 %r1, %r1, %r2;
            mov.u32 %r2, %tid.z;
            or.b32 %r1, %r1, %r2;
            setp.ne.u32 %p2, %r1, 0;
            @%p2 bra MEET;
            { .param .b64 count; call.uni (count), blocks_of_grid, (); ld.param.b64 %d2, [count]; }
            atom.global.acq_rel.gpu.add.u64 %d3, [%d1+8], 1;
            div.u64 %d4, %d3, %d2;
            mad.lo.u64 %d4, %d4, %d2, %d2;
        WAIT:
            ld.acquire.gpu.global.u64 %d5, [%d1+8];
            setp.lt.u64 %p3, %d5, %d4;
            @%p3 bra WAIT;
        MEET:
            bar.sync 0;
            mov.u32 %r1, 0;
        END:
            st.param.b32 [status], %r1;
            ret;
        }

        .weak .func (.param .b32 status) cudaCGSynchronizeGrid(.param .b64 handle, .param .b32 flags)
        {
            .reg .b32 %r<4>;
            .reg .b64 %d<4>;
            ld.param.u64 %d1, [handle];
            ld.param.u32 %r1, [flags];
            { .param .b64 h; st.param.b64 [h], %d1; .param .b32 f; st.param.b32 [f], %r1; .param .b32 s;
              call.uni (s), cudaCGSynchronize, (h, f); ld.param.b32 %r2, [s]; }
            st.param.b32 [status], %r2;
            ret;
        }
        """
}
