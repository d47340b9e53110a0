# SPDX-License-Identifier: Apache-2.0
"""What Numba's own tests expect of the repository they come from, and their wheel does not carry: a fixture, and that
test modules are known by the names they have in the package."""
import importlib
import pathlib

import pytest


@pytest.fixture(scope="class")
def initialize_from_pytest_config(request):
    request.cls._dump_failed_filechecks = False


class PackagedModule(pytest.Module):
    """A test module imported as numba.cuda.tests.*, so that processes it starts find it by that name."""

    def _getobj(self):
        parts = pathlib.Path(self.path).with_suffix("").parts
        start = len(parts) - 1 - parts[::-1].index("tests")
        return importlib.import_module(".".join(("numba", "cuda", *parts[start:])))


def pytest_pycollect_makemodule(module_path, parent):
    return PackagedModule.from_parent(parent, path=module_path)
