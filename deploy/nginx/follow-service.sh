#!/bin/sh
# Keeps nginx's upstreams at the addresses that their names have: a container that was recreated, or one more of them, is
# found within a second. nginx itself looks a name up once, unless it gives up its idle connections to gunicorn.
set -eu
upstream=/etc/nginx/conf.d/upstream.conf

# Prints a line for each upstream: its name and its addresses. The sync page is the demo's own where that runs.
addresses() {
    service=$(addresses_of service)
    page=
    if [ "${APP_ENV:-development}" != production ]; then page=$(addresses_of demo-page); fi
    echo "service $service"
    echo "page ${page:-$service}"
}

# A name that nobody has can take long to be looked up.
addresses_of() {
    { timeout 1 getent ahostsv4 "$1" || true; } | awk '{print $1}' | sort -u | tr '\n' ' '
}

write_upstreams() {
    echo "$1" | while read -r name found; do
        echo "upstream $name {"
        # Nobody there is a refused connection, and so a 502 at once. A failed server is tried again after a second.
        for address in ${found:-127.0.0.1}; do echo "    server $address:8000 fail_timeout=1s;"; done
        echo '    keepalive 32;'
        echo '    keepalive_timeout 60s;' # gunicorn keeps them for 75
        echo '}'
    done >"$upstream.new"
    echo "$spare" >>"$upstream.new"
    mv "$upstream.new" "$upstream"
}

follow() {
    known=$1
    while sleep 1; do
        found=$(addresses)
        if [ "$found" != "$known" ]; then
            write_upstreams "$found"
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

now=$(addresses)
write_upstreams "$now"
follow "$now" &
exec /docker-entrypoint.sh "$@"
