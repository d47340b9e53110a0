# SPDX-License-Identifier: Apache-2.0
"""Events of the server's GPUs, such as an Xid, as the management library of an allocation tells them.

To a software GPU nothing happens: a library that is made here lets something happen when a file appears.
"""
import pytest
from conftest import PYTHON, SOFT, Manager, driver_with_library, environment, run

EVENTS = """
import ctypes, os, pynvml, sys, threading, time
folder = sys.argv[1]
pynvml.nvmlInit()
device = pynvml.nvmlDeviceGetHandleByIndex(0)
# Software GPUs have the addresses 10, 11, ... in their order on the server.
number = int(pynvml.nvmlDeviceGetPciInfo(device).busId.split(b":" if isinstance(
    pynvml.nvmlDeviceGetPciInfo(device).busId, bytes) else ":")[1], 16) - 0x10
assert number in (0, 1)

def happens(number, xid):
    # All at once, as the other side looks at any time.
    with open(f"{folder}/new", "w") as file:
        file.write(str(xid))
    os.rename(f"{folder}/new", f"{folder}/{number}")

def outcome(function, *arguments):
    try:
        return function(*arguments)
    except pynvml.NVMLError as error:
        return type(error).__name__

def wait(events, milliseconds):
    found = outcome(pynvml.nvmlEventSetWait_v2, events, milliseconds)
    if isinstance(found, str):
        return found
    return (pynvml.nvmlDeviceGetIndex(found.device), found.eventType, found.eventData)

assert pynvml.nvmlDeviceGetSupportedEventTypes(device) == 9
events = pynvml.nvmlEventSetCreate()
assert wait(events, 100) == "NVMLError_Timeout"
assert outcome(pynvml.nvmlDeviceRegisterEvents, device, 1 << 40, events) == "NVMLError_NotSupported"
pynvml.nvmlDeviceRegisterEvents(device, pynvml.nvmlEventTypeXidCriticalError, events)

start = time.monotonic()
assert wait(events, 300) == "NVMLError_Timeout" and 0.25 < time.monotonic() - start < 5

# What has happened already.
happens(number, 79)
assert wait(events, 5000) == (0, 8, 79)
assert wait(events, 0) == "NVMLError_Timeout"

# The first form of the function writes no more than it had then.
happens(number, 13)
data = (ctypes.c_ubyte * 32)(*[0xEE] * 32)
assert pynvml.nvmlLib.nvmlEventSetWait(events, data, 5000) == 0
assert bytes(data)[16:] == (13).to_bytes(8, "little") + b"\\xEE" * 8, bytes(data)

# What happens during a wait, while other threads ask other things.
seen = []
waiter = threading.Thread(target=lambda: seen.append(wait(events, 30000)))
waiter.start()
asked = 0
start = time.monotonic()
while time.monotonic() - start < 0.5:
    pynvml.nvmlDeviceGetMemoryInfo(device)
    asked += 1
assert asked > 20, asked
assert not seen
happens(number, 48)
waiter.join(10)
assert seen == [(0, 8, 48)], seen

# What happens to a GPU that others have.
happens(1 - number, 31)
assert wait(events, 300) == "NVMLError_Timeout"

# A child has another worker, where the events are registered anew.
child = os.fork()
if child == 0:
    first = wait(events, 100)
    happens(number, 62)
    os._exit(0 if first == "NVMLError_Timeout" and wait(events, 5000) == (0, 8, 62) else 1)
assert os.waitpid(child, 0)[1] == 0

pynvml.nvmlEventSetFree(events)
assert outcome(pynvml.nvmlEventSetFree, events) == "NVMLError_InvalidArgument"
assert wait(events, 0) == "NVMLError_InvalidArgument"
print("told")
"""


@pytest.fixture
def eventful_server(tmp_path):
    """A server with two GPUs to which something happens when a file appears; see events.c."""
    library, folder = tmp_path / "library", tmp_path / "events"
    library.mkdir()
    folder.mkdir()
    driver = driver_with_library("events.c", library)
    daemon = Manager("2x1024", options=("--driver", driver), env=environment(TEST_EVENTS=folder))
    yield daemon, folder
    daemon.stop()


def test_events_of_the_allocations_gpus_are_told(eventful_server):
    """And those only; a wait keeps nobody else waiting."""
    server, folder = eventful_server
    finished = server.run([PYTHON, "-W", "ignore::DeprecationWarning", "-c", EVENTS, folder], "-n", 1)
    assert finished.returncode == 0 and finished.stdout == "told\n", str(finished)


def test_software_gpus_have_no_events():
    script = """
import pynvml
pynvml.nvmlInit()
device = pynvml.nvmlDeviceGetHandleByIndex(0)
assert pynvml.nvmlDeviceGetSupportedEventTypes(device) == 0
for _ in range(5):
    events = pynvml.nvmlEventSetCreate()
    try:
        pynvml.nvmlDeviceRegisterEvents(device, 8, events)
    except pynvml.NVMLError_NotSupported:
        print("refused")
"""
    finished = run([PYTHON, "-c", script], environment(LD_LIBRARY_PATH=SOFT, BITFUSION_SOFT_GPU="1x64"))
    assert finished.stdout == "refused\n" * 5, str(finished)
