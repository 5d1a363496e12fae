#!/usr/bin/env bash
# Starts the three regions in containers and does to them what happens to regions: one is stopped, killed, cut off from
# the others, restarted after the others under load, and given time servers that vanish and that lie. Then nodes come and go: one
# is lost with its disk and replaced, one is decommissioned, all get another image under load, and the distances of the world.
# Without a Docker daemon it says so and succeeds: there is nothing to test on.
set -eu
cd "$(dirname "$0")/.."
if ! docker info >/dev/null 2>&1; then
	echo "SKIP: no Docker daemon"
	exit 0
fi
files=(-p meridian-test -f docker-compose.yml -f compose/clocks.yml -f compose/members.yml)
compose() { docker-compose "${files[@]}" "$@"; }
command -v docker-compose >/dev/null || compose() { docker compose "${files[@]}" "$@"; }
container() { compose ps -q "$1"; }

url() { echo "postgres://postgres@127.0.0.1:$1/postgres?sslmode=disable&connect_timeout=3"; }
ask() { PGOPTIONS='-c statement_timeout=15s' psql "$(url "$1")" -v ON_ERROR_STOP=1 -Atqc "$2"; }
fail() {
	echo "FAIL: $*"
	compose logs --tail 40
	exit 1
}
eventually() { # SECONDS COMMAND...
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || { "$@" || true; fail "$*"; }
		sleep 0.3
	done
}
expect() { # WANT PORT SQL
	local got
	got=$(ask "$2" "$3")
	[ "$got" = "$1" ] || fail "$3 on port $2: got '$got', want '$1'"
}
passed=0
ok() {
	passed=$((passed + 1))
	echo "ok: $*"
}
replicated() { [ "$(ask "$1" 'select min(cardinality(replicas)) from meridian.ranges')" = 3 ]; }
ready() { curl -sf "http://127.0.0.1:$1/readyz"; }
all_ready() { for http in 8081 8082 8083; do eventually 60 ready $http; done; }

work=$(mktemp -d)
compose down -v >/dev/null 2>&1 || true
trap 'compose down -v -t 5 >/dev/null 2>&1; rm -rf "$work"' EXIT
compose up -d us-east eu-west ap-south time-ap-1 time-ap-2 time-ap-3
for port in 5441 5442 5443; do eventually 60 ask $port 'select 1'; done
ok "three regions answer"

ask 5441 'create table t (id int primary key, v text)'
ask 5442 "insert into t values (1, 'from eu-west')"
ask 5443 "insert into t values (2, 'from ap-south')"
for port in 5441 5442 5443; do expect 2 $port 'select count(*) from t'; done
ok "a row written in any region is read in every region"

three_nodes() { [ "$(ask 5441 'select count(*) from meridian.nodes where live')" = 3 ]; }
eventually 30 three_nodes
eventually 30 replicated 5441
compose stop -t 20 ap-south
for port in 5441 5442; do eventually 20 ask $port "select count(*) from t"; done
ask 5442 "insert into t values (3, 'while ap-south is away')"
expect 3 5441 'select count(*) from t'
ok "two regions go on without the third"

compose start ap-south
eventually 60 ask 5443 'select 1'
expect "while ap-south is away" 5443 'select v from t where id = 3'
ok "the region came back and caught up"

compose kill -s KILL us-east
for port in 5442 5443; do eventually 30 ask $port "select count(*) from t"; done
ask 5443 "insert into t values (4, 'us-east was killed')"
expect 4 5442 'select count(*) from t'
compose start us-east
all_ready
eventually 30 replicated 5442
ok "a killed region does not stop the others"

# The leader's region is cut off: its node keeps its clients, but must answer none of them with a commit.
leader=$(ask 5442 "select region from meridian.nodes join meridian.ranges on leader = node_id where start_key = '/table' limit 1")
case $leader in
us-east) cut=5441 rest=(5442 5443) ;;
eu-west) cut=5442 rest=(5441 5443) ;;
*) cut=5443 rest=(5441 5442) ;;
esac
# The node reaches its own clients from inside: what Docker publishes may go with the network.
inside() { docker exec "$(container "$leader")" /meridian sql -t -A -c "$1" "postgres://postgres@127.0.0.1:5432/postgres?sslmode=disable"; }
docker network disconnect meridian-test_wan "$(container "$leader")"
eventually 30 ask "${rest[0]}" "insert into t values (5, 'while $leader is cut off')"
if inside "set statement_timeout = '3s'; insert into t values (6, 'never')" >"$work/cut" 2>&1; then fail "$leader, cut off, has written: $(cat "$work/cut")"; fi
expect 5 "${rest[1]}" 'select count(*) from t'
docker network connect --alias "$leader" meridian-test_wan "$(container "$leader")"
healed() { [ "$(inside 'select count(*) from t')" = 5 ]; }
eventually 60 healed
for port in "${rest[@]}"; do expect 5 $port 'select count(*) from t'; done
ok "the region of the leader, cut off, refuses writes ($(tail -n 1 "$work/cut")), the others elect another; it comes back"
compose restart "$leader" >/dev/null 2>&1 # for its published ports
all_ready
eventually 30 replicated 5442

# Every region is restarted in turn under load. A client whose node goes away turns to the next one.
ask 5441 'create table load (id text primary key)'
load() { # CLIENT
	local i=0 port=$((5441 + $1)) id
	while [ ! -e "$work/stop" ]; do
		i=$((i + 1)) id="c$1-$i"
		if ask "$port" "insert into load values ('$id')" >/dev/null 2>>"$work/errors"; then
			echo "$id" >>"$work/acked"
		else
			port=$((5441 + (port - 5440) % 3))
		fi
	done
}
under_load() { # COMMAND..., for each region in turn; sets acked
	ask 5441 'truncate load'
	rm -f "$work/stop" "$work/acked" "$work/errors"
	for client in 0 1 2; do load $client & done
	local region lost
	for region in us-east eu-west ap-south; do
		"$@" $region >/dev/null 2>&1
		all_ready
		eventually 60 replicated 5442
	done
	touch "$work/stop"
	wait
	acked=$(sort -u "$work/acked" | wc -l)
	ask 5442 'select id from load' | sort >"$work/found"
	lost=$(sort -u "$work/acked" | comm -23 - "$work/found" | wc -l)
	[ "$lost" = 0 ] || fail "$lost of $acked acknowledged rows are lost"
	[ "$acked" -gt 20 ] || fail "only $acked rows were written meanwhile: $(tail -n 5 "$work/errors")"
	if grep 'ERROR:' "$work/errors"; then fail "errors other than lost connections"; fi
}
under_load compose restart -t 20
ok "a rolling restart under load loses nothing ($acked rows acknowledged)"

# Without a majority of its time servers ap-south does not know the time. It must say so and answer nothing; the rest go on.
fenced() { ! ready 8083 && ! ask 5443 "insert into t values (0, 'at no time')"; }
compose stop -t 1 time-ap-2 time-ap-3
eventually 60 fenced
ask 5443 'select 1 from t' 2>&1 | grep -q clock || fail "ap-south does not say that its clock is the reason"
for port in 5441 5442; do eventually 20 ask $port "select count(*) from t"; done
eventually 20 ask 5442 "insert into t values (7, 'ap-south has no time')"
compose start time-ap-2 time-ap-3
eventually 60 ready 8083
expect 6 5443 'select count(*) from t'
ok "a region whose time servers vanish fences itself and comes back, the rest go on"

AP_LIE=5s compose up -d --no-deps time-ap-2 time-ap-3
eventually 60 fenced
for port in 5441 5442; do eventually 20 ask $port "select count(*) from t"; done
eventually 20 ask 5442 "insert into t values (8, 'the clocks of ap-south lie')"
AP_LIE=0s compose up -d --no-deps time-ap-2 time-ap-3
eventually 60 ready 8083
expect 7 5443 'select count(*) from t'
expect 0 5443 "select count(*) from t where v = 'at no time'"
ok "a region whose time servers lie fences itself and comes back, the rest go on"

# A node is lost with its disk. The one that came to its region takes its replicas after --replace-after; it is written off.
rows=$(ask 5441 'select count(*) from t')
node() { ask 5441 "select node_id from meridian.nodes where address = '$1:7000' and state <> 'decommissioned'"; }
held() { ask 5441 "select count(*) from meridian.replicas where node_id = $1"; }
holds() { [ "$(held "$1")" -gt 0 ]; }
empty() { [ "$(held "$1")" = 0 ]; }
elsewhere() { [ "$(ask 5441 "select count(*) from meridian.ranges where $1 = any(replicas)")" = 0 ]; }
state() { [ "$(ask 5441 "select state from meridian.nodes where node_id = $1")" = "$2" ]; }
compose up -d eu-west-2
eventually 60 ready 8084
lost=$(node eu-west) fresh=$(node eu-west-2)
compose kill -s KILL eu-west
compose rm -f -v eu-west >/dev/null 2>&1
docker volume rm meridian-test_eu-west >/dev/null
eventually 120 elsewhere "$lost"
eventually 60 replicated 5441
ask 5441 "select meridian.decommission_node($lost)" >/dev/null
eventually 60 state "$lost" decommissioned
expect "$rows" 5444 'select count(*) from t'
ask 5441 "select count(*) > 0 from meridian.placement_log where reason like '%n$lost%'" | grep -q t || fail "the placement log does not tell of n$lost"
ok "a node that is lost with its disk is replaced by another one"

compose up -d eu-west
eventually 60 ready 8082
again=$(node eu-west)
[ "$again" != "$lost" ] || fail "a node with an empty disk has the id of the lost one"
ask 5441 "select meridian.decommission_node($fresh)" >/dev/null
eventually 180 state "$fresh" decommissioned
eventually 60 elsewhere "$fresh"
eventually 60 replicated 5441
compose stop -t 20 eu-west-2
for port in 5441 5442 5443; do expect "$rows" $port 'select count(*) from t'; done
ask 5442 "insert into t values (9, 'eu-west-2 is gone')"
ok "a node is decommissioned: another takes over what it holds, and nobody misses it"

# Other containers, of another image, with other addresses, on the same disks: one after the other, under load.
docker tag meridian:dev meridian:next
replace() { MERIDIAN_IMAGE=meridian:next compose up -d --no-deps -t 20 "$1"; }
under_load replace
[ "$(docker inspect -f '{{.Config.Image}}' "$(container eu-west)")" = meridian:next ] || fail "eu-west runs the old image"
ok "a rolling upgrade under load loses nothing ($acked rows acknowledged)"

# The whole cluster stops and comes back with the distances of the world: what has to cross them takes as long, a read of the
# past does not.
compose stop -t 20 us-east eu-west ap-south
LATENCY=world MERIDIAN_IMAGE=meridian:next compose up -d --no-deps us-east eu-west ap-south
all_ready
eventually 60 ask 5441 'select count(*) from t'
ask 5441 "create tablespace home location '' with (leaders='us-east')"
ask 5441 "create table far (id int primary key) tablespace home; insert into far values (1)"
led() { [ "$(ask 5441 "select bool_and(region = 'us-east')::text from meridian.replicas where tablespace = 'home' and role = 'leader'")" = true ]; }
eventually 120 led
fastest() { # PORT SETTING SQL: milliseconds of the fastest of seven
	for _ in 1 2 3 4 5 6 7; do echo "$3;"; done | PGOPTIONS="$2" psql "$(url "$1")" -v ON_ERROR_STOP=1 -Atq -c '\timing on' -f - |
		sed -n 's/^Time: \([0-9]*\).*/\1/p' | sort -n | head -n 1
}
sleep 11 # of the staleness below
write=$(fastest 5441 '' 'update far set id = id')
strong=$(fastest 5443 '' 'update far set id = id')
stale=$(fastest 5443 '-c meridian.exact_staleness=10s' 'select * from far')
[ "$write" -ge 79 ] || fail "a write in us-east took $write ms, and no quorum is nearer than 80 ms"
[ "$strong" -ge 219 ] || fail "a write of us-east's row in ap-south took $strong ms, which is 220 ms away"
[ "$stale" -lt 100 ] || fail "a read of the past in ap-south took $stale ms"
ok "with the distances of the world a write at home takes $write ms, from ap-south $strong ms, a read of the past there $stale ms"
docker rmi meridian:next >/dev/null 2>&1 || true
echo "$passed passed, 0 failed"
