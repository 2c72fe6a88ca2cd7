"""historical-sync: brings an agency's past Ultravox calls into its own Postgres."""

from flask import Flask

from service import http, start_sync
from service.auth import Authenticator
from service.db import Database
from service.settings import Settings

# A proxy may strip Supabase's prefix.
PREFIXES = ("/functions/v1", "")


def create_app(settings: Settings, database: Database) -> Flask:
    """Wire the application; opens no connection."""
    app = Flask(__name__, static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the default provider has it
    app.extensions["database"] = database
    app.extensions["authenticator"] = Authenticator(settings.supabase_url, settings.supabase_jwt_secret)
    http.init_app(app, settings)
    app.register_blueprint(http.health)
    for prefix in PREFIXES:
        app.register_blueprint(start_sync.blueprint, url_prefix=prefix, name=f"start_sync{prefix.replace('/', '_')}")
    return app
