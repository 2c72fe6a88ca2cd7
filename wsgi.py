"""The WSGI application: settings, pool, app. The pool opens when a worker first uses it."""

import gc
import sys

from service import create_app
from service.database import Database
from service.logs import configure_logs
from service.settings import SettingsError, load_settings

try:
    settings = load_settings()
except SettingsError as error:
    sys.exit(str(error))
configure_logs(settings)
app = create_app(settings, Database.of_service(settings))
# What is loaded now stays to the end: no collection of garbage need look through it, the one at the exit neither.
gc.freeze()
