#!/bin/sh
# Keeps nginx's upstream at the addresses that the name `service` has: a container that was recreated, or one more of
# them, is found within a second. nginx itself looks a name up once, unless it gives up its idle connections to gunicorn.
set -eu
upstream=/etc/nginx/conf.d/upstream.conf

addresses() {
    getent ahostsv4 service | awk '{print $1}' | sort -u
}

write_upstream() {
    {
        echo 'upstream service {'
        # Nobody there is a refused connection, and so a 502 at once. A failed server is tried again after a second.
        for address in ${1:-127.0.0.1}; do echo "    server $address:8000 fail_timeout=1s;"; done
        echo '    keepalive 32;'
        echo '    keepalive_timeout 60s;' # gunicorn keeps them for 75
        echo '}'
        echo "$spare"
    } >"$upstream.new"
    mv "$upstream.new" "$upstream"
}

follow() {
    known=$1
    while sleep 1; do
        found=$(addresses || true)
        if [ "$found" != "$known" ]; then
            write_upstream "$found"
            nginx -s reload && known=$found
        fi
    done
}

# A reload closes the idle connections of clients, and can cross a request on one. nginx can spare them since 1.27.4.
spare=
version=$(nginx -v 2>&1 | sed 's#.*/\([0-9.]*\).*#\1#')
if [ "$(printf '%s\n' 1.27.4 "$version" | sort -V | head -n 1)" = 1.27.4 ]; then
    spare='keepalive_min_timeout 5s;'
fi

now=$(addresses || true)
write_upstream "$now"
follow "$now" &
exec /docker-entrypoint.sh "$@"
