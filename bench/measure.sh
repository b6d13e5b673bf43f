#!/bin/bash
# Measures a node of this tree with `imsafe bench`: what a scenario costs, over which transport, what a registered user takes of memory, and
# whether the cost stays the same with many users. The node runs on one processor, the load on another; the store is on a real disk.
#
#   bench/measure.sh [-u USERS] [-r RATE] [-t TIME] [-d DIRECTORY] STEP...
#
# Steps: memory (register everybody; without a transport over UDP), memory-esp, udp, tls, esp (each scenario), mix, search. It ends what it started.
set -eu -o pipefail
users=20000 rate=2000 time=10s dir=
while getopts u:r:t:d: flag; do
	case $flag in
	u) users=$OPTARG ;; r) rate=$OPTARG ;; t) time=$OPTARG ;; d) dir=$OPTARG ;; *) exit 2 ;;
	esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 2; }
cd "$(dirname "$0")/.."
own=
[ -n "$dir" ] || { dir=$(mktemp -d); own=1; }
imsafe=$dir/imsafe node=
trap '[ -z "$node" ] || { kill "$node"; wait "$node" || :; }; [ -z "$own" ] || rm -rf "$dir"' EXIT
CGO_ENABLED=0 go build -trimpath -o "$imsafe" ./cmd/imsafe

domain=ims.mnc001.mcc001.3gppnetwork.org seed=5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e
umask 077
cat >"$dir/imsafe.toml" <<END
[node]
lab = true
data_dir = "$dir/store"
shards = 1
[ims]
domain = "$domain"
[ci.tls]
listen = ["127.0.0.1:25061"]
certificate_file = "$dir/pcscf.crt"
key_file = "$dir/pcscf.key"
[ci.lab_udp]
listen = ["127.0.0.1:25060"]
[ci.ipsec]
listen = ["127.0.0.1:25062"]
esp = "off"
nat_port = 25063
[hss]
sealing_key_file = "$dir/sealing.key"
[metrics]
listen = "127.0.0.1:25064"
[log]
level = "error"
[budget]
calls = 0
messages = 0
subscriptions = 0
transfers = 0
notifications = 0
others = 0
END
for b in source network connection client challenge resync unproven; do
	printf '[ci.budget.%s]\nlimit = 1000000\nper = "1s"\nburst = 1000000\n' $b >>"$dir/imsafe.toml"
done
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=pcscf.$domain" -addext "subjectAltName=DNS:pcscf.$domain" \
	-keyout "$dir/pcscf.key" -out "$dir/pcscf.crt" 2>/dev/null

# target NAME TRANSPORT PORT PREFIX SCHEME MORE: each has subscribers of its own.
target() {
	printf '{"domain":"%s","proxies":["127.0.0.1:%s"],"transport":"%s",%s"clients":{"addresses":"%s"},"subscribers":{"range":{"prefix":"%s","count":%s,"scheme":"%s","seed":"%s"}}}\n' \
		$domain "$3" "$2" "$6" "$7" "$4" "$users" "$5" $seed >"$dir/$1.json"
	[ -f "$dir/$1.csv" ] || "$imsafe" bench users "$dir/$1.json" "$dir/$1.csv" >/dev/null
}
target udp udp 25060 u AKAv1-MD5 "" 127.32.0.0/11
target tls tls 25061 t AKAv2-SHA-256 "\"tls\":{\"authority\":\"$dir/pcscf.crt\",\"name\":\"pcscf.$domain\"}," 127.64.0.0/11
target esp esp 25062 e AKAv1-MD5 '"esp":{"port":25063},' 127.96.0.0/11
[ -f "$dir/sealing.key" ] || "$imsafe" key new "$dir/sealing.key" >/dev/null
for s in udp tls esp; do
	case " $* " in
	*" $s "* | *"-$s "*) ;;
	*" memory "* | *" mix "* | *" search "*) [ $s = udp ] || continue ;;
	*) continue ;;
	esac
	[ -f "$dir/$s.there" ] || { "$imsafe" user import -c "$dir/imsafe.toml" "$dir/$s.csv"; touch "$dir/$s.there"; }
done

node_on= load_on= # a processor each, where there are two
[ "$(nproc)" -lt 2 ] || { node_on="taskset -c 0" load_on="taskset -c 1"; }
start() {
	[ -z "$node" ] || { kill "$node"; wait "$node" || :; }
	$node_on "$imsafe" run -c "$dir/imsafe.toml" &
	node=$!
	until ss -Hlnu 'sport = :25060' | grep -q .; do kill -0 "$node"; sleep 0.1; done
}
load() { # TARGET SCENARIO MORE...
	echo "== $1, $2"
	$load_on "$imsafe" bench run "$dir/$1.json" --scenario "$2" --rate "$rate" --time "$time" --hold 1s --pid "$node" --out "$dir/$1-$2.json" "${@:3}" || :
}
for step; do
	start
	case $step in
	memory) load udp message --prepare --settle 150s ;;
	memory-esp) load esp message --prepare --settle 150s ;;
	udp | tls | esp) for scenario in re-registration call message; do load "$step" $scenario; done ;;
	mix) load udp mix ;;
	search) load udp mix --search ;;
	*) echo "no step $step" >&2; exit 2 ;;
	esac
done
