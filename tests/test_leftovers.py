"""The check that a run of the tests leaves nothing behind."""

import subprocess
import sys
import tempfile

from tests.support.leftovers import leftovers, own_temporary_folder


def test_a_file_and_a_process_that_are_left_are_named() -> None:
    with own_temporary_folder() as folder:
        assert leftovers(folder) == []
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
            assert [left for left in leftovers(folder) if left.endswith("-c input()")]
            process.communicate(b"\n")
        with tempfile.NamedTemporaryFile() as left:
            assert leftovers(folder) == [left.name]
        assert leftovers(folder) == []
