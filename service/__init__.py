"""historical-sync: brings an agency's past Ultravox calls into its own Postgres."""

from flask import Flask

from service.database import Database
from service.settings import Settings
from service.web import cors, health, metrics, openapi, requests, responses, start_sync, sync_jobs, sync_page
from service.web.auth import Authenticator

# A proxy may strip Supabase's prefix.
PREFIXES = ("/functions/v1", "")


def create_app(settings: Settings, database: Database) -> Flask:
    """Wire the application; opens no connection."""
    app = Flask(__name__, static_folder=None)
    app.extensions["settings"] = settings
    app.extensions["database"] = database
    app.extensions["authenticator"] = Authenticator(settings.supabase_url, settings.supabase_jwt_secret)
    requests.init_app(app)
    responses.init_app(app)
    cors.init_app(app, settings)
    for blueprint in (health.blueprint, metrics.blueprint, openapi.blueprint):
        app.register_blueprint(blueprint)
    for blueprint in (start_sync.blueprint, sync_jobs.blueprint):
        for prefix in PREFIXES:
            name = blueprint.name + prefix.replace("/", "_")
            app.register_blueprint(blueprint, url_prefix=prefix, name=name)
    if settings.sync_page == "on":
        sync_page.init_app(app)
    return app
