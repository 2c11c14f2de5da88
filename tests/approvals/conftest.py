"""What was told; and `drafts`, which the tests here share."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def told():
    """The events that were told."""
    return []
