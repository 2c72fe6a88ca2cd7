"""The WSGI application: settings, pool, app. The pool opens when a worker first uses it."""

from service import create_app
from service.db import Database
from service.logs import configure_logs
from service.settings import load_settings

settings = load_settings()
configure_logs(settings)
app = create_app(settings, Database.of_service(settings))
