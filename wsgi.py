"""The one entry: gunicorn serves `wsgi:app`, and `flask --app wsgi` looks here for the commands.

The commands load the settings that they need themselves, so that --help works without any. The application has all
that it needs when it is there; its pool opens when a worker first uses it.
"""

import gc
import sys

import click
from flask import Flask
from flask.cli import FlaskGroup

from service import commands, create_app
from service.database import Database
from service.logs import configure_logs
from service.settings import SettingsError, load_settings

context = click.get_current_context(silent=True)
if context is not None and isinstance(context.command, FlaskGroup):  # flask, before it runs a command
    app = Flask(__name__, static_folder=None)
    commands.init_app(app)
else:
    try:
        settings = load_settings()
    except SettingsError as error:
        sys.exit(str(error))
    configure_logs(settings)
    app = create_app(settings, Database.of_service(settings))
# What is loaded now stays to the end: no collection of garbage need look through it, the one at the exit neither.
gc.freeze()
