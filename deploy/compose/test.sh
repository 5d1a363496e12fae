#!/usr/bin/env bash
# Starts the three regions in containers, queries each, stops one region and shows that the others go on.
# Without a Docker daemon it says so and succeeds: there is nothing to test on.
set -eu
cd "$(dirname "$0")/.."
if ! docker info >/dev/null 2>&1; then
	echo "SKIP: no Docker daemon"
	exit 0
fi
compose() { docker-compose -p meridian-test -f docker-compose.yml "$@"; }
command -v docker-compose >/dev/null || compose() { docker compose -p meridian-test -f docker-compose.yml "$@"; }

url() { echo "postgres://postgres@127.0.0.1:$1/postgres?sslmode=disable&connect_timeout=3"; }
ask() { PGOPTIONS='-c statement_timeout=15s' psql "$(url "$1")" -v ON_ERROR_STOP=1 -Atqc "$2"; }
eventually() { # SECONDS COMMAND...
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || { echo "FAIL: $*"; "$@" || true; compose logs --tail 40; exit 1; }
		sleep 0.3
	done
}
expect() { # WANT PORT SQL
	local got
	got=$(ask "$2" "$3")
	[ "$got" = "$1" ] || { echo "FAIL: $3 on port $2: got '$got', want '$1'"; compose logs --tail 40; exit 1; }
}

compose down -v >/dev/null 2>&1 || true
trap 'compose down -v -t 5 >/dev/null 2>&1' EXIT
compose up -d
for port in 5441 5442 5443; do eventually 60 ask $port 'select 1'; done
echo "ok: three regions answer"

ask 5441 'create table t (id int primary key, v text)'
ask 5442 "insert into t values (1, 'from eu-west')"
ask 5443 "insert into t values (2, 'from ap-south')"
for port in 5441 5442 5443; do expect 2 $port 'select count(*) from t'; done
echo "ok: a row written in any region is read in every region"

three_nodes() { [ "$(ask 5441 'select count(*) from meridian.nodes where live')" = 3 ]; }
replicated() { [ "$(ask 5441 'select min(cardinality(replicas)) from meridian.ranges')" = 3 ]; }
eventually 30 three_nodes
eventually 30 replicated
compose stop -t 20 ap-south
for port in 5441 5442; do eventually 20 ask $port "select count(*) from t"; done
ask 5442 "insert into t values (3, 'while ap-south is away')"
expect 3 5441 'select count(*) from t'
echo "ok: two regions go on without the third"

compose start ap-south
eventually 60 ask 5443 'select 1'
expect "while ap-south is away" 5443 'select v from t where id = 3'
echo "ok: the region came back and caught up"

compose kill -s KILL us-east
for port in 5442 5443; do eventually 30 ask $port "select count(*) from t"; done
ask 5443 "insert into t values (4, 'us-east was killed')"
expect 4 5442 'select count(*) from t'
echo "ok: a killed region does not stop the others"
echo "5 passed, 0 failed"
