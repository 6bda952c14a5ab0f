"""What the end-to-end tests share: where the program under test is."""
import os
import pathlib

import pytest

SOURCE = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def program():
    """Path of my-llm: $MY_LLM, else build/my-llm."""
    path = pathlib.Path(os.environ.get("MY_LLM", SOURCE / "build" / "my-llm")).resolve()
    if not path.is_file():
        pytest.exit("%s is not there: build it first, or name the program in MY_LLM" % path, 2)
    return path
