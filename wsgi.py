"""The WSGI application: settings, pool, app. Imported in each gunicorn worker, so the pool opens after the fork."""

from service import create_app
from service.db import Database
from service.logs import configure_logs
from service.settings import load_settings

settings = load_settings()
configure_logs(settings)
database = Database(settings)
database.open()
app = create_app(settings, database)
