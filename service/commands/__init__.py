"""The flask commands: what operators and cron run. Each loads the settings when it runs, and those that it needs."""

from flask import Flask

from service.commands.agencies import list_agencies, start_historical_sync
from service.commands.doctor import doctor
from service.commands.keys import rotate_ultravox_keys, set_ultravox_key
from service.commands.process import process_historical_sync

COMMANDS = (
    process_historical_sync,
    start_historical_sync,
    list_agencies,
    set_ultravox_key,
    rotate_ultravox_keys,
    doctor,
)


def init_app(app: Flask) -> None:
    for command in COMMANDS:
        app.cli.add_command(command)
