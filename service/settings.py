"""The service's configuration: one typed object, read once from the environment."""

import json
import re
from base64 import urlsafe_b64decode
from typing import Annotated, Literal
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

# RFC 7518, section 3.2: an HS256 key has at least the size of the hash.
MIN_HMAC_SECRET_BYTES = 32

# Exact origins only (RFC 6454): flask-cors reads anything with a wildcard or a bracket as a regular expression.
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[a-z0-9_.-]+(:\d{1,5})?", re.IGNORECASE | re.ASCII)


HOST = re.compile(r"[\w.:-]+")

# What pydantic begins its sentences with, for ours begin with the variable; and how it ends some.
PYDANTICS_OWN = re.compile("^(Value error,|Input) |, unable to parse .*$")


class SettingsError(Exception):
    """The environment is unusable; the message names every fault and no value, `sentence` does so in one line."""

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(["The configuration is unusable:", *(f"  {fault}" for fault in faults)]))
        self.faults = faults
        self.sentence = f"The configuration is unusable: {'; '.join(faults)}."


class Settings(BaseSettings):
    """What the environment configures. The upper-case field name is the variable's name.

    Nothing is required; the subclasses below say who needs what.
    """

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True)

    database_url: SecretStr | None = Field(
        None,
        validate_default=True,
        description="Postgres connection URL of the web service, role historical_sync_service",
    )
    database_pool_size: int = Field(8, ge=1, le=200, description="Connections per gunicorn worker, at most")
    database_pool_timeout: float = Field(
        2.0, gt=0, le=30, description="Seconds a request waits for a connection before it is a 503"
    )
    database_statement_timeout: float = Field(
        5.0,
        ge=0.1,
        le=60,
        description="Seconds a statement may take, where the database role sets no statement_timeout itself; half of it"
        " for a lock",
    )
    processor_database_url: SecretStr | None = Field(
        None,
        validate_default=True,
        description="Postgres connection URL of the processor and the other commands, role historical_sync_processor;"
        " DATABASE_URL if empty, whose role may not do what they need",
    )
    supabase_url: str | None = Field(
        None,
        description="URL of the Supabase project: its published keys verify ES256, RS256 and EdDSA tokens, and it is"
        " their issuer",
    )
    supabase_jwt_secret: SecretStr | None = Field(
        None,
        validate_default=True,
        description="The project's HS256 secret, 32 bytes or more",
    )
    supabase_publishable_key: str | None = Field(
        None,
        description="The project's publishable (or anon) key, with which the sync page signs in; everybody may see it",
    )
    cors_allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        ("*",), description="Origins of the dashboard, comma-separated, or *"
    )
    ultravox_api_url: str = Field(
        "https://api.ultravox.ai", description="Origin of the Ultravox API; a key goes nowhere else"
    )
    ultravox_api_key: SecretStr | None = Field(None, description="API key for agencies without one of their own")
    ultravox_timeout: float = Field(
        30.0,
        gt=0,
        le=300,
        description="Seconds a whole answer of the API may take, from the look-up of its name to the last byte",
    )
    ultravox_requests_per_second: float = Field(
        190.0,
        gt=0,
        le=1000,
        description="Requests per API key and processor; Ultravox allows 200, and some come late and so too close to"
        " the next ones",
    )
    credentials_key: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        description="Fernet keys that encrypt the agencies' own API keys, comma-separated, newest first;"
        " docs/configuration.md says how to make one",
    )
    lease_seconds: float = Field(60.0, ge=1, le=3600, description="Seconds after which a silent processor is replaced")
    processor_jobs: int = Field(4, ge=1, le=64, description="Jobs a processor works on at once")
    processor_windows: int = Field(
        96,
        ge=1,
        le=256,
        description="Windows of a job that page at once, at most: the requests per second times the seconds that a page"
        " takes is enough",
    )
    processor_max_failures: int = Field(
        10, ge=1, le=100, description="Failures in a row, without a page stored, after which a job fails"
    )
    sync_page: Literal["off", "on"] = Field("off", description="Whether the sync page is served at /: off or on")
    host: str = Field(
        "127.0.0.1",
        description="Address that the web service listens on; the image sets 0.0.0.0",
    )
    port: int = Field(8000, ge=1, le=65535, description="Port of the web service")
    web_workers: int = Field(
        2, ge=1, le=64, description="gunicorn processes, each with up to 768 connections of clients"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level that is logged: debug, info, warning or error"
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="json, console, or auto: console on a terminal and JSON elsewhere"
    )

    def service_url(self) -> SecretStr:
        """Return the web service's connection URL. Raises SettingsError where there is none."""
        if self.database_url is None:
            raise SettingsError("DATABASE_URL is missing")
        return self.database_url

    def processor_url(self) -> SecretStr:
        """Return the connection URL of the processor and the other commands. Raises SettingsError without one."""
        return self.processor_database_url or self.service_url()

    @field_validator("database_url", "processor_database_url")
    @classmethod
    def _is_a_postgres_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        if not is_postgres_url(value.get_secret_value()):
            raise ValueError("is not a postgresql:// URL")
        return value

    @field_validator("supabase_url", "ultravox_api_url")
    @classmethod
    def _is_an_http_url(cls, value: str | None) -> str | None:
        if value is not None and not _is_url(value):
            raise ValueError("is not an http:// or https:// URL")
        return value and value.rstrip("/")

    @field_validator("supabase_jwt_secret")
    @classmethod
    def _is_long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().encode()) < MIN_HMAC_SECRET_BYTES:
            raise ValueError(f"is shorter than {MIN_HMAC_SECRET_BYTES} bytes")
        return value

    @field_validator("supabase_publishable_key")
    @classmethod
    def _may_be_seen(cls, value: str | None) -> str | None:
        if value is not None and _is_secret_key(value):
            raise ValueError(
                "is a secret key, which the page would show to everybody: set the publishable (or anon) one"
            )
        return value

    @field_validator("credentials_key", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        keys = [key.strip() for key in value.split(",")] if isinstance(value, str) else value
        try:
            for key in keys if isinstance(keys, list) else ():
                Fernet(key)
        except ValueError:
            raise ValueError(
                "is not a comma-separated list of Fernet keys (docs/configuration.md says how to make one)"
            ) from None
        return keys

    @field_validator("host")
    @classmethod
    def _is_a_host(cls, value: str) -> str:
        if not HOST.fullmatch(value):
            raise ValueError("is no name or address of a host")
        return value

    @field_validator("cors_allowed_origins", mode="before")
    @classmethod
    def _split_origins(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        origins = tuple(part for item in value.split(",") if (part := item.strip().rstrip("/")))
        if not origins or not all(item == "*" or ORIGIN.fullmatch(item) for item in origins):
            raise ValueError("is not * or a comma-separated list of origins (scheme://host[:port])")
        return origins

    @field_validator("sync_page", "log_level", "log_format", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value


class ServiceSettings(Settings):
    """Those of the web service: it needs a database, and keys to verify tokens with."""

    @field_validator("database_url")
    @classmethod
    def _is_there(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            raise ValueError("is missing")
        return value

    @field_validator("supabase_jwt_secret")
    @classmethod
    def _is_a_key_source(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None and info.data.get("supabase_url", "malformed") is None:
            raise ValueError("and SUPABASE_URL are both missing: at least one must be set")
        return value


class ProcessorSettings(Settings):
    """Those of the processor and the other commands: they need a database, whichever variable names it."""

    @field_validator("processor_database_url")
    @classmethod
    def _is_there(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None and info.data.get("database_url", "malformed") is None:
            raise ValueError("is missing")
        return value


def is_postgres_url(url: str) -> bool:
    """Tell whether libpq can read a URL. Its own message can quote a part of it, and so of the password."""
    try:
        ports = str(conninfo_to_dict(url).get("port") or "5432").split(",")
    except ProgrammingError:
        return False
    return url.startswith(("postgresql://", "postgres://")) and all(map(_is_port, ports))


def _is_port(text: str) -> bool:
    return text.isdigit() and 1 <= int(text) <= 65535


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        usable = parts.hostname and (parts.port is None or parts.port > 0) and "@" not in parts.netloc
    except ValueError:
        return False
    return bool(usable and parts.scheme in ("http", "https") and not parts.query and not parts.fragment)


def _is_secret_key(key: str) -> bool:
    """Tell whether a key of a Supabase project is one of those that pass by row-level security."""
    try:
        claims = json.loads(urlsafe_b64decode(key.split(".")[1] + "=="))
        return key.startswith("sb_secret_") or claims.get("role") not in (None, "anon")
    except (IndexError, ValueError, AttributeError):
        return key.startswith("sb_secret_")


def load_settings(kind: type[Settings] = ServiceSettings) -> Settings:
    """Read the environment, as far as whoever reads it needs.

    Raises SettingsError, with every fault.
    """
    try:
        return kind()  # type: ignore[call-arg]  # the fields come from the environment
    except ValidationError as error:
        raise SettingsError(*_explain(error)) from None


def _explain(error: ValidationError) -> list[str]:
    faults = error.errors(include_input=False, include_url=False, include_context=False)
    return [f"{'_'.join(map(str, each['loc'])).upper()} {PYDANTICS_OWN.sub('', each['msg'])}" for each in faults]
