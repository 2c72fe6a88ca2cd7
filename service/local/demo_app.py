"""What the local stacks serve in the place of `wsgi:app`: the same, and the demo's sign-in."""

import os

if os.environ.get("APP_ENV") == "production":
    # No exit, after which gunicorn would start the worker again.
    raise RuntimeError("this is for development: production has no demo user")

from service.local import demo_session
from wsgi import app, settings

demo_session.init_app(app, settings)
