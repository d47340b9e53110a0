# SPDX-License-Identifier: Apache-2.0
"""NVLinks between GPUs, as an allocation sees them.

No machine with NVLinks runs these tests: a library that is made here adds them to those of the software GPU. What it
says goes the whole way, from the server's library to the tools of the client.
"""
import json
import re

import pytest
from conftest import PYTHON, Manager, driver_with_library
from test_management import NVIDIA_SMI, needs_nvidia_smi


@pytest.fixture(scope="module")
def linked_server(tmp_path_factory):
    """A server with four GPUs that are linked with each other; see nvlink.c."""
    driver = driver_with_library("nvlink.c", tmp_path_factory.mktemp("nvlink"))
    daemon = Manager("4x1024", options=("--driver", driver))
    yield daemon
    daemon.stop()


LINKS = """
import json, pynvml
pynvml.nvmlInit()
devices = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
buses = [pynvml.nvmlDeviceGetPciInfo(device).busId for device in devices]

def ask(function, *arguments):
    try:
        return function(*arguments)
    except pynvml.NVMLError as error:
        return type(error).__name__

def link(device, number):
    remote = ask(pynvml.nvmlDeviceGetNvLinkRemotePciInfo, device, number)
    return {
        "state": ask(pynvml.nvmlDeviceGetNvLinkState, device, number),
        "remote": remote if isinstance(remote, str) else remote.busId,
        "version": ask(pynvml.nvmlDeviceGetNvLinkVersion, device, number),
        "p2p": ask(pynvml.nvmlDeviceGetNvLinkCapability, device, number, 0),
    }

print(json.dumps({"buses": buses, "links": [[link(device, number) for number in range(7)] for device in devices],
                  "p2p": [[pynvml.nvmlDeviceGetP2PStatus(one, other, 4) for other in devices] for one in devices]}))
"""

NOWHERE = {"state": 0, "remote": "NVMLError_NotSupported", "version": "NVMLError_NotSupported",
           "p2p": "NVMLError_NotSupported"}
SWITCH = "00000000:C0:00.0"


def seen(server, count):
    finished = server.run([PYTHON, "-c", LINKS], "-n", count)
    assert finished.returncode == 0, str(finished)
    return json.loads(finished.stdout)


def test_links_to_gpus_of_the_allocation_have_their_addresses(linked_server):
    everything = seen(linked_server, 4)
    buses = everything["buses"]
    assert len(set(buses)) == 4
    for own, links in enumerate(everything["links"]):
        ends = [link["remote"] for link in links]
        assert ends[:3] == [buses[(own + 1 + link) % 4] for link in range(3)], everything
        assert ends[4] == SWITCH and all(link["state"] == 1 for link in links[:3]), everything
        assert links[5] == NOWHERE
        # What the library does not know as a link stays its error.
        assert links[6]["state"] == "NVMLError_InvalidArgument"
    assert everything["p2p"] == [[0] * 4] * 4


def test_links_to_other_gpus_lead_nowhere(linked_server):
    """Neither the state nor the address of GPUs outside of the allocation is told."""
    part = seen(linked_server, 2)
    own = set(part["buses"])
    for links in part["links"]:
        peers = [link for link in links[:4] if link != NOWHERE]
        assert peers and all(link["remote"] in own for link in peers), part
        assert any(link == NOWHERE for link in links[:3]), part
        assert links[4]["remote"] == SWITCH and links[4]["state"] == 1, part
    alone = seen(linked_server, 1)
    assert alone["links"][0][:4] == [NOWHERE] * 4 and alone["links"][0][4]["remote"] == SWITCH, alone


@needs_nvidia_smi
def test_the_matrix_of_connections_shows_them(linked_server):
    """`topo -m`: the number of links between each two GPUs of the allocation."""
    def matrix(count):
        finished = linked_server.run([NVIDIA_SMI, "topo", "-m"], "-n", count)
        assert finished.returncode == 0, str(finished)
        return [line.split()[1:count + 1] for line in finished.stdout.splitlines() if re.match(r"GPU\d", line)]

    assert matrix(4) == [["X", "NV2", "NV1", "NV1"], ["NV2", "X", "NV1", "NV1"], ["NV1", "NV1", "X", "NV1"],
                         ["NV1", "NV1", "NV1", "X"]]
    two = matrix(2)
    assert two in ([["X", "NV2"], ["NV2", "X"]], [["X", "NV1"], ["NV1", "X"]])
