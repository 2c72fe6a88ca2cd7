"""`python -m deploy.production_secrets`: names every secret that production must bring and does not; makes up none."""

import os
import sys

NEEDED = ("POSTGRES_PASSWORD", "OWNER_DATABASE_URL", "DATABASE_URL", "PROCESSOR_DATABASE_URL", "CREDENTIALS_KEY")


def missing_secrets() -> list[str]:
    missing = [name for name in NEEDED if not os.environ.get(name)]
    if not os.environ.get("SUPABASE_URL") and not os.environ.get("SUPABASE_JWT_SECRET"):
        missing.append("SUPABASE_URL or SUPABASE_JWT_SECRET")
    return missing


def main() -> None:
    if missing := missing_secrets():
        sys.exit(f"APP_ENV is production, so no secret is generated. Set {', '.join(missing)}")


if __name__ == "__main__":
    main()
