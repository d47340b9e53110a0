# SPDX-License-Identifier: Apache-2.0
"""A program that keeps GPU 0 busy: `keep_busy.py MILLISECONDS STOP`, with the driver API alone.

It runs kernels of about so long one after the other, with some always waiting for their turn, until the file STOP
exists; then it keeps a context that does nothing until the file STOP.end exists. It prints `busy` when the first kernels have run, and
`idle` when the last one has.
"""
import ctypes
import os
import sys
import time

cuda = ctypes.CDLL("libcuda.so.1")
# Steps of a generator of random numbers, which no compiler does without doing them.
SOURCE = b"""
.version 7.0
.target sm_75
.address_size 64
.visible .entry spin(.param .u64 place, .param .u32 steps)
{
    .reg .u64 %address;
    .reg .u32 %left, %value;
    .reg .pred %again;
    ld.param.u64 %address, [place];
    ld.param.u32 %left, [steps];
    ld.global.u32 %value, [%address];
next:
    mad.lo.u32 %value, %value, 1664525, 1013904223;
    st.volatile.global.u32 [%address], %value;
    sub.u32 %left, %left, 1;
    setp.ne.u32 %again, %left, 0;
    @%again bra next;
    ret;
}
\0"""


def call(name, *arguments):
    status = getattr(cuda, name)(*arguments)
    if status:
        sys.exit(f"{name}: CUDA error {status}")


def main(milliseconds, stop):
    context, module, function, memory = (ctypes.c_void_p() for _ in range(4))
    call("cuInit", 0)
    call("cuDevicePrimaryCtxRetain", ctypes.byref(context), 0)
    call("cuCtxSetCurrent", context)
    call("cuModuleLoadData", ctypes.byref(module), SOURCE)
    call("cuModuleGetFunction", ctypes.byref(function), module, b"spin")
    call("cuMemAlloc_v2", ctypes.byref(memory), ctypes.c_size_t(4))

    def launch(steps):
        values = [memory, ctypes.c_uint32(steps)]
        pointers = (ctypes.c_void_p * 2)(*(ctypes.addressof(value) for value in values))
        call("cuLaunchKernel", function, 1, 1, 1, 1, 1, 1, 0, None, pointers, None)

    launch(1)
    call("cuCtxSynchronize")
    steps, seconds = 1 << 16, 0.0
    while seconds < milliseconds / 2000:
        steps = min(steps * 2, 1 << 31)
        start = time.monotonic()
        launch(steps)
        call("cuCtxSynchronize")
        seconds = time.monotonic() - start
    print("busy", flush=True)
    done = [ctypes.c_void_p(), ctypes.c_void_p()]
    for event in done:
        call("cuEventCreate", ctypes.byref(event), 0)
    # An event that was never recorded is no wait.
    while not os.path.exists(stop):
        for event in done:
            call("cuEventSynchronize", event)
            for _ in range(3):
                launch(steps)
            call("cuEventRecord", event, None)
    call("cuCtxSynchronize")
    print("idle", flush=True)
    while not os.path.exists(stop + ".end"):
        time.sleep(0.02)


main(float(sys.argv[1]), sys.argv[2])
