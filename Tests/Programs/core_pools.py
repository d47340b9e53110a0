# SPDX-License-Identifier: Apache-2.0
"""Memory resources of cuda.core: a pool whose buffers a spawned process uses, and pools of the host and of managed memory.

It checks what it finds and prints `ok core_pools`.
"""
import ctypes
import multiprocessing
import sys

from cuda.bindings import driver
from cuda.core import (
    Buffer, Device, DeviceMemoryResource, DeviceMemoryResourceOptions, ManagedMemoryResource, PinnedMemoryResource,
)
from cuda.core._utils.cuda_utils import CUDAError

SIZE = 64


def expect(condition, what):
    if not condition:
        sys.exit(f"core_pools: {what}")


def ok(result):
    expect(result[0] == driver.CUresult.CUDA_SUCCESS, f"a call answered {result[0]!r}")


def use(inbox, outbox):
    """The other process: it has the pool and a buffer by what `pickle` makes of them."""
    device = Device()
    device.set_current()
    stream = device.create_stream()
    resource, buffer, descriptor, foreign = inbox.get(timeout=60)
    expect(resource.is_mapped and buffer.size == SIZE, "the pool is not that of the other process")
    again = Buffer.from_ipc_descriptor(resource, descriptor, stream=stream)
    expect(int(again.handle) == int(buffer.handle), "the same memory is at two addresses")
    try:
        resource.allocate(SIZE, stream=stream)
        sys.exit("core_pools: memory was allocated from another process's pool")
    except TypeError:
        pass
    try:
        Buffer.from_ipc_descriptor(resource, foreign, stream=stream)
        sys.exit("core_pools: a buffer of another pool was opened")
    except CUDAError as error:
        expect("CUDA_ERROR_INVALID_VALUE" in str(error), f"another pool's buffer: {error}")
    ok(driver.cuMemsetD8(int(buffer.handle), 7, SIZE))
    again.close()
    buffer.close(stream=stream)
    stream.sync()
    resource.close()
    outbox.put("done")


def share(device, stream):
    options = DeviceMemoryResourceOptions(max_size=2 << 20, ipc_enabled=True)
    resource, other = (DeviceMemoryResource(device, options=options) for _ in range(2))
    buffer, foreign = resource.allocate(SIZE, stream=stream), other.allocate(SIZE, stream=stream)
    stream.sync()
    inbox, outbox = multiprocessing.Queue(), multiprocessing.Queue()
    process = multiprocessing.Process(target=use, args=(inbox, outbox))
    process.start()
    inbox.put((resource, buffer, buffer.ipc_descriptor, foreign.ipc_descriptor))
    process.join(timeout=50)
    expect(process.exitcode == 0, f"the other process ended with {process.exitcode}")
    expect(outbox.get(timeout=10) == "done", "the other process did not say that it is done")
    host = bytearray(SIZE)
    ok(driver.cuMemcpyDtoH(host, int(buffer.handle), SIZE))
    expect(host == bytes([7] * SIZE), "what the other process wrote is not there")
    for closed in (buffer, foreign):
        closed.close(stream=stream)
    for closed in (resource, other):
        closed.close()


def use_on_the_host(resource, stream):
    buffer = resource.allocate(SIZE, stream=stream)
    stream.sync()
    expect(buffer.is_host_accessible, "the host cannot use it")
    ctypes.memset(int(buffer.handle), 1, SIZE)
    ok(driver.cuMemsetD8Async(int(buffer.handle) + 1, 9, 2, int(stream.handle)))
    stream.sync()
    expect(ctypes.string_at(int(buffer.handle), 4) == bytes([1, 9, 9, 1]), "what the device wrote is not there")
    buffer.close(stream=stream)
    stream.sync()
    resource.close()


def main():
    multiprocessing.set_start_method("spawn")
    device = Device()
    device.set_current()
    stream = device.create_stream()
    share(device, stream)
    use_on_the_host(PinnedMemoryResource(), stream)
    use_on_the_host(ManagedMemoryResource(), stream)
    print("ok core_pools")


if __name__ == "__main__":
    main()
