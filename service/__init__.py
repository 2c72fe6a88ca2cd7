"""historical-sync: brings an agency's past Ultravox calls into its own Postgres."""

from flask import Flask

from service.database import Database
from service.processor import commands as cli
from service.settings import Settings
from service.web import http, metrics, openapi, start_sync, sync_jobs
from service.web.auth import Authenticator

# A proxy may strip Supabase's prefix.
PREFIXES = ("/functions/v1", "")


def create_app(settings: Settings, database: Database) -> Flask:
    """Wire the application; opens no connection."""
    app = Flask(__name__, static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the default provider has it
    app.extensions["settings"] = settings
    app.extensions["database"] = database
    app.extensions["authenticator"] = Authenticator(settings.supabase_url, settings.supabase_jwt_secret)
    http.init_app(app, settings)
    for blueprint in (http.health, metrics.blueprint, openapi.blueprint):
        app.register_blueprint(blueprint)
    for blueprint in (start_sync.blueprint, sync_jobs.blueprint):
        for prefix in PREFIXES:
            name = blueprint.name + prefix.replace("/", "_")
            app.register_blueprint(blueprint, url_prefix=prefix, name=name)
    cli.init_app(app)
    return app
