# SPDX-License-Identifier: Apache-2.0
"""The one fixture Numba's own tests expect from their repository, which its wheel does not carry."""
import pytest


@pytest.fixture(scope="class")
def initialize_from_pytest_config(request):
    request.cls._dump_failed_filechecks = False
