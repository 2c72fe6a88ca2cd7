#!/bin/sh
# Before anything else starts: production insists on its secrets, development makes up those that it lacks.
set -eu
case ${APP_ENV:-development} in
    production) exec python -m deploy.production_secrets ;;
    development) exec python -m service.local.compose secrets ;;
    *) echo "APP_ENV is '$APP_ENV': it must be development or production" >&2; exit 1 ;;
esac
