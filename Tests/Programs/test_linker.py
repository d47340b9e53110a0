# SPDX-License-Identifier: Apache-2.0
"""The device linker: what programs link that set the conditions of graphs.

ARC-09: the linker's work is the server's; the program's files are read here.
"""
import sys

import pytest
from conftest import ROOT, SOFT, environment, run

LIBRARY = ROOT / ".build" / "python" / "cuda" / "lib" / "libcudadevrt.a"

# Links a kernel that sets a condition, with the libraries that it is given, and launches it with a condition of a graph
# and with a number that is none.
PROGRAM = """
import ctypes, sys
cuda = ctypes.CDLL("libcuda.so.1")
KERNEL = b'''.version 7.0
.target sm_75
.address_size 64
.extern .func cudaGraphSetConditional(.param .b64 condition, .param .b32 value);
.visible .entry set(.param .u64 condition) {
    .reg .b64 %d<2>; .reg .b32 %r<2>;
    ld.param.u64 %d1, [condition]; mov.u32 %r1, 1;
    { .param .b64 c; st.param.b64 [c], %d1; .param .b32 v; st.param.b32 [v], %r1;
      call.uni cudaGraphSetConditional, (c, v); }
    ret;
}
'''
def check(code):
    if code:
        sys.exit(f"error {code}")
context, state, image, module, function, graph = (ctypes.c_void_p() for _ in range(6))
size, handle = ctypes.c_size_t(), ctypes.c_uint64()
check(cuda.cuInit(0))
check(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0))
check(cuda.cuCtxSetCurrent(context))
check(cuda.cuLinkCreate_v2(0, None, None, ctypes.byref(state)))
check(cuda.cuLinkAddData_v2(state, 1, KERNEL, ctypes.c_size_t(len(KERNEL) + 1), b"kernel.ptx", 0, None, None))
for library in sys.argv[1:]:
    check(cuda.cuLinkAddFile_v2(state, 4, library.encode(), 0, None, None))
check(cuda.cuLinkComplete(state, ctypes.byref(image), ctypes.byref(size)))
check(cuda.cuModuleLoadData(ctypes.byref(module), image))
check(cuda.cuLinkDestroy(state))
check(cuda.cuModuleGetFunction(ctypes.byref(function), module, b"set"))
check(cuda.cuGraphCreate(ctypes.byref(graph), 0))
check(cuda.cuGraphConditionalHandleCreate(ctypes.byref(handle), graph, None, 0, 0))
def launch(number):
    value = ctypes.c_uint64(number)
    parameters = (ctypes.c_void_p * 1)(ctypes.cast(ctypes.byref(value), ctypes.c_void_p))
    check(cuda.cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, None, parameters, None))
    return cuda.cuCtxSynchronize()
print(launch(handle.value), launch(handle.value + 1))
"""


@pytest.mark.parametrize("libraries", [[], [LIBRARY]], ids=["alone", "with libcudadevrt"])
@pytest.mark.parametrize("place", ["direct", "network"])
def test_a_kernel_that_sets_conditions_is_linked(libraries, place, request):
    """The function is the software GPU's own: the library has only machine code of other GPUs."""
    command = [sys.executable, "-c", PROGRAM, *libraries]
    if place == "direct":
        finished = run(command, environment(LD_LIBRARY_PATH=SOFT, BITFUSION_SOFT_GPU="1x256"))
    else:
        finished = request.getfixturevalue("manager").run(command)
    assert finished.stdout == "0 700\n", str(finished)
