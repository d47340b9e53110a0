# SPDX-License-Identifier: Apache-2.0
"""A program that takes device memory in a chosen way: `device_memory.py WAY [ARGUMENT...]`, with the driver API alone.

It prints what it got in MiB, a line a number. Ways that end with `hold` then wait until standard input closes or the
file named last exists. `device_memory.py sizes` prints free and total memory in bytes.
"""
import ctypes
import os
import subprocess
import sys
import threading
import time

MEBIBYTE = 1 << 20
OUT_OF_MEMORY = 2
cuda = ctypes.CDLL("libcuda.so.1")


def call(name, *arguments, accept=(0,)):
    status = getattr(cuda, name)(*arguments)
    if status not in accept:
        sys.exit(f"{name}: CUDA error {status}")
    return status


def start():
    call("cuInit", 0)
    context = ctypes.c_void_p()
    call("cuDevicePrimaryCtxRetain", ctypes.byref(context), 0)
    call("cuCtxSetCurrent", context)
    return context


def sizes():
    free, total, device = ctypes.c_size_t(), ctypes.c_size_t(), ctypes.c_size_t()
    call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
    call("cuDeviceTotalMem_v2", ctypes.byref(device), 0)
    if device.value != total.value:
        sys.exit(f"cuDeviceTotalMem says {device.value}, cuMemGetInfo {total.value}")
    return free.value, total.value


def until_full(take):
    """Calls `take` until it says that there is no more; returns how often it did not."""
    count = 0
    while take() == 0:
        count += 1
    return count


def allocate(byte_count):
    address = ctypes.c_uint64()
    return call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(byte_count), accept=(0, OUT_OF_MEMORY))


def allocate_rows(byte_count):
    """Rows of a single value, whose pitch makes them as many bytes."""
    address, pitch = ctypes.c_uint64(), ctypes.c_size_t()
    status = call("cuMemAllocPitch_v2", ctypes.byref(address), ctypes.byref(pitch), ctypes.c_size_t(4),
                  ctypes.c_size_t(byte_count // 512), 4, accept=(0, OUT_OF_MEMORY))
    if status == 0 and pitch.value * (byte_count // 512) < byte_count:
        sys.exit(f"a pitch of {pitch.value} is not what this counts with")
    return status


def allocate_in_order(byte_count):
    address = ctypes.c_uint64()
    return call("cuMemAllocAsync", ctypes.byref(address), ctypes.c_size_t(byte_count), None, accept=(0, OUT_OF_MEMORY))


def make_pool_allocator():
    """From a pool that keeps everything it ever had."""
    pool = ctypes.c_void_p()
    call("cuDeviceGetDefaultMemPool", ctypes.byref(pool), 0)
    threshold = ctypes.c_uint64(2**64 - 1)
    call("cuMemPoolSetAttribute", pool, 4, ctypes.byref(threshold))
    return allocate_in_order


def load_variable(byte_count):
    text = f".version 7.0\n.target sm_75\n.address_size 64\n.visible .global .align 4 .b8 v[{byte_count}];\n\0"
    module = ctypes.c_void_p()
    return call("cuModuleLoadData", ctypes.byref(module), text.encode(), accept=(0, OUT_OF_MEMORY))


WAYS = {"alloc": allocate, "pitch": allocate_rows, "async": allocate_in_order, "globals": load_variable}


def fill(way, mebibytes):
    return until_full(lambda: WAYS[way](mebibytes * MEBIBYTE)) * mebibytes


def hold(stop=None):
    sys.stdout.flush()
    if stop is None:
        sys.stdin.read()
    while stop is not None and not os.path.exists(stop):
        time.sleep(0.01)


def from_threads(context, count):
    totals = [0] * count

    def work(index):
        call("cuCtxSetCurrent", context)
        totals[index] = until_full(lambda: allocate(MEBIBYTE))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(totals)


def from_children(count):
    """All at once; each keeps what it has until all have had enough."""
    children = [subprocess.Popen([sys.executable, __file__, "alloc", "1", "hold"], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, text=True) for _ in range(count)]
    totals = [int(child.stdout.readline()) for child in children]
    for child in children:
        child.stdin.close()
    if any(child.wait() != 0 for child in children):
        sys.exit("a child failed")
    return sum(totals)


def exchange_in_order(mebibytes, rounds):
    """Half of the memory and more, freed and had again in the order of the stream."""
    for _ in range(rounds):
        address = ctypes.c_uint64()
        call("cuMemAllocAsync", ctypes.byref(address), ctypes.c_size_t(mebibytes * MEBIBYTE), None)
        call("cuMemsetD8Async", address, 1, ctypes.c_size_t(1000), None)
        call("cuMemFreeAsync", address, None)


def churn(seconds):
    """Takes and gives back for a while, in all ways; at the end everything has been given back."""
    context = start()
    free, _ = sizes()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        address = ctypes.c_uint64()
        if call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(3 * MEBIBYTE + 1), accept=(0, OUT_OF_MEMORY)) == 0:
            call("cuMemFree_v2", address)
        load_variable(200 * MEBIBYTE)
        exchange_in_order(2, 3)
    call("cuCtxSynchronize")
    call("cuDevicePrimaryCtxReset_v2", 0)
    call("cuCtxSetCurrent", context)
    return free


def main(way, *rest):
    if way == "churn":
        return churn(float(rest[0]))
    context = start()
    if way == "sizes":
        print(*sizes())
    elif way == "threads":
        print(from_threads(context, int(rest[0])))
    elif way == "children":
        print(from_children(int(rest[0])))
    elif way == "take":
        print(int(rest[0]) if allocate(int(rest[0]) * MEBIBYTE) == 0 else 0)
    elif way == "exchange":
        exchange_in_order(int(rest[0]), int(rest[1]))
        print("done")
    elif way == "keep":
        make_pool_allocator()
        exchange_in_order(int(rest[0]), 1)
        call("cuCtxSynchronize")
        print(fill("alloc", 1))
    elif way == "heap":
        status = call("cuCtxSetLimit", 2, ctypes.c_size_t(int(rest[0]) * MEBIBYTE), accept=(0, OUT_OF_MEMORY))
        print("refused" if status else "set")
    else:
        print(fill(way, int(rest[0])))
    if "hold" in rest:
        hold(*rest[rest.index("hold") + 1:])


main(*sys.argv[1:])
