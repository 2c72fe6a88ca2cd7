"""The operators' commands, run in the test's own process."""

from unittest.mock import patch

import click
from click.testing import CliRunner, Result
from structlog.testing import capture_logs

from service.commands import COMMANDS
from service.settings import Settings

FLASK = click.Group(commands={str(command.name): command for command in COMMANDS})


class Operator:
    """Runs commands in an environment of which everything is known."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment

    def run(self, *arguments: object, stdin: str = "", **changes: str | None) -> Result:
        """Run a command with this text on its standard input; None takes a variable away. Its log goes nowhere."""
        nothing = dict.fromkeys(map(str.upper, Settings.model_fields))
        environment = {**nothing, **self._environment, **changes}
        # Logs that are configured stay so for the process.
        with capture_logs(), patch("service.commands.common.configure_logs"):
            return CliRunner().invoke(FLASK, [*map(str, arguments)], stdin, environment, catch_exceptions=False)
