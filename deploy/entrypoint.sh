#!/bin/sh
# Runs a command with the development secrets that SECRETS names, except those that the environment sets already.
# In production the environment alone counts.
set -eu
if [ "${APP_ENV:-development}" != production ]; then
    for name in ${SECRETS:-}; do
        eval "given=\${$name:-}"
        file=/run/secrets-volume/$name
        if [ -z "$given" ] && [ -f "$file" ]; then
            export "$name=$(cat "$file")"
        fi
    done
fi
exec "$@"
