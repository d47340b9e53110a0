# SPDX-License-Identifier: Apache-2.0
"""The software GPU's management library, as Python tools use it, and how it agrees with its libcuda."""
import ctypes

from conftest import PYTHON, SOFT, environment, run

SCRIPT = """
import ctypes, pynvml
pynvml.nvmlInit()
cuda = ctypes.CDLL("libcuda.so.1")
assert cuda.cuInit(0) == 0
count = ctypes.c_int()
assert cuda.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value == pynvml.nvmlDeviceGetCount() == 2
version = ctypes.c_int()
assert cuda.cuDriverGetVersion(ctypes.byref(version)) == 0
assert version.value == pynvml.nvmlSystemGetCudaDriverVersion()
for ordinal in range(2):
    device = pynvml.nvmlDeviceGetHandleByIndex(ordinal)
    name, uuid, bus = ctypes.create_string_buffer(64), (ctypes.c_ubyte * 16)(), ctypes.create_string_buffer(32)
    total = ctypes.c_size_t()
    assert cuda.cuDeviceGetName(name, 64, ordinal) == 0
    assert cuda.cuDeviceGetUuid(uuid, ordinal) == 0
    assert cuda.cuDeviceTotalMem_v2(ctypes.byref(total), ordinal) == 0
    assert cuda.cuDeviceGetPCIBusId(bus, 32, ordinal) == 0
    assert name.value.decode() == pynvml.nvmlDeviceGetName(device)
    assert bytes(uuid).hex() == pynvml.nvmlDeviceGetUUID(device)[4:].replace("-", "")
    assert total.value == pynvml.nvmlDeviceGetMemoryInfo(device).total
    assert bus.value.decode().lower() == pynvml.nvmlDeviceGetPciInfo(device).busIdLegacy.lower()
    assert pynvml.nvmlDeviceGetIndex(pynvml.nvmlDeviceGetHandleByPciBusId(bus.value.decode())) == ordinal
    try:
        pynvml.nvmlDeviceGetTemperature(device, 0)
        assert False
    except pynvml.NVMLError_NotSupported:
        pass
pynvml.nvmlShutdown()
print("agree")
"""


def test_libraries_agree():
    finished = run([PYTHON, "-c", SCRIPT], environment(LD_LIBRARY_PATH=SOFT, BITFUSION_SOFT_GPU="2x4096"))
    assert finished.stdout == "agree\n", str(finished)


def test_wrong_description_is_no_driver():
    script = "import pynvml\ntry: pynvml.nvmlInit()\nexcept pynvml.NVMLError_DriverNotLoaded: print('refused')"
    for text in ["", "2", "x", "0x64", "2x0", "-1x64", "2x64,colour=red", "99999999999999999999x1", "1x1x1"]:
        finished = run([PYTHON, "-c", script], environment(LD_LIBRARY_PATH=SOFT, BITFUSION_SOFT_GPU=text))
        assert finished.stdout == "refused\n", f"{text}: {finished}"


def test_exports_only_its_api():
    """Loading it must not add names that could collide with a program's own."""
    library = ctypes.CDLL(str(SOFT / "libnvidia-ml.so.1"))
    assert library.nvmlInit_v2
    assert not hasattr(library, "swift_retain")
