"""The demo's sign-in: a route that gives the sync page an access token of the demo user. Only a local stack has it."""

from datetime import UTC, datetime

from flask import Blueprint, Flask, Response, current_app, jsonify, request
from flask_cors import cross_origin

from service.local.demo import DEMO_EMAIL, TOKEN_LIFETIME, demo_token
from service.settings import Settings
from service.web.errors import ApiError, ErrorCode

blueprint = Blueprint("demo_session", __name__)


def init_app(app: Flask, settings: Settings) -> None:
    """Let the sync page of `app` sign in as the demo user; it finds the extension and asks the route."""
    secret = settings.supabase_jwt_secret
    if secret is None:
        raise ValueError("the demo's tokens are signed with SUPABASE_JWT_SECRET")
    issuer = settings.supabase_url and f"{settings.supabase_url}/auth/v1"

    def demo_session() -> dict[str, str | int]:
        expires_at = int((datetime.now(UTC) + TOKEN_LIFETIME).timestamp())
        token = demo_token(secret.get_secret_value(), issuer=issuer)
        return {"access_token": token, "expires_at": expires_at, "email": DEMO_EMAIL}

    app.extensions["demo_session"] = demo_session
    app.register_blueprint(blueprint)


@blueprint.post("/sync-page/demo-session")
@cross_origin(origins=[], automatic_options=False)  # instead of those that may call the functions
def sign_in() -> Response:
    # Whoever reaches this signs in, so a page from elsewhere in the visitor's browser must not. A browser sends this
    # header, which no page can set, to loopback and over https only: a foreign name that is made to lead here has none.
    if request.headers.get("Sec-Fetch-Site") != "same-origin":
        raise ApiError(ErrorCode.NOT_FOUND, reason="not asked by the page itself")
    response = jsonify(current_app.extensions["demo_session"]())
    response.cache_control.no_store = True
    return response
