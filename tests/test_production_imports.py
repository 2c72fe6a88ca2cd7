"""What production runs loads nothing of service.local, the stand-ins and generated secrets of development."""

import json
import os
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

PRODUCTION = {
    "the application with its commands": "import wsgi",
    "gunicorn's configuration and its worker": "runpy.run_path('gunicorn.conf.py'); import service.web.worker",
    "the migrations": "import service.migrate",
    **{path.name: f"import deploy.{path.stem}" for path in sorted((ROOT / "deploy").glob("*.py"))},
}
ENVIRONMENT = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "SUPABASE_JWT_SECRET": "only-for-tests-" * 3}


def modules_loaded_by(statement: str) -> set[str]:
    """The modules of ours that a fresh interpreter has after a statement."""
    script = f"import json, runpy, sys\n{statement}\nprint(json.dumps(list(sys.modules)))"
    environment = {"PATH": os.environ["PATH"], **ENVIRONMENT}
    command = [sys.executable, "-c", script]
    output = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout
    return {name for name in json.loads(output) if name.startswith(("service", "deploy", "wsgi"))}


@pytest.mark.parametrize("statement", PRODUCTION.values(), ids=PRODUCTION)
def test_production_loads_nothing_of_the_local_stack(statement: str) -> None:
    loaded = modules_loaded_by(statement)
    assert loaded
    assert not [name for name in loaded if name.startswith("service.local")]
