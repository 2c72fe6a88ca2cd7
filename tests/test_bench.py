"""The benchmarks are run by hand, so that what stops them is not seen otherwise."""

import sys
from importlib.metadata import packages_distributions

from bench.process import ROWS
from service.local.checkout import ROOT

BENCH = ROOT / "bench"


def test_no_module_of_the_benchmarks_hides_a_library_from_a_script_beside_it() -> None:
    modules = {path.stem for path in BENCH.glob("*.py")}
    assert not modules & {*sys.stdlib_module_names, *packages_distributions()}


def test_the_documentation_names_every_row_of_the_imports() -> None:
    text = (BENCH / "README.md").read_text()
    assert [row for row in ROWS if f"`{row}`" not in text] == []
