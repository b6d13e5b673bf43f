#!/usr/bin/env bash
# Runs every fuzz target of the tree for FUZZTIME (default 10s), within FUZZBUDGET seconds in all
# (default 300). When the budget is too small for all of them, the first target is another one at
# each commit, so that over time all of them run. A crasher is written to the package's
# testdata/fuzz: commit it as a seed together with the fix.
set -euo pipefail
cd "$(dirname "$0")/.."
time="${FUZZTIME:-10s}" budget="${FUZZBUDGET:-300}" go="${GO:-go}"

mapfile -t targets < <(git ls-files -co --exclude-standard '*_test.go' |
	xargs -r grep -HoE '^func Fuzz[A-Za-z0-9_]+\(' |
	sed -E 's#/[^/:]+:func #\t#; s#\($##' | sort)
total=${#targets[@]} ran=0 failed=0
if [ "$total" = 0 ]; then
	echo "fuzz: no targets"
	exit 0
fi
out="$(mktemp)"
trap 'rm -f "$out"' EXIT
run() {
	"$go" test -run '^$' -fuzz "^$name\$" -fuzztime "$time" -fuzzminimizetime 5s "./$dir" 2>&1 | tee "$out"
}
first=$(($(git rev-list --count HEAD) * 7 % total))
for ((i = 0; i < total && SECONDS < budget; i++)); do
	IFS=$'\t' read -r dir name <<<"${targets[(first + i) % total]}"
	echo "fuzz: $dir $name"
	if ! run; then
		# At the end of its time the runner may take its own deadline for a hang of the target. It has then written no
		# crasher, and the target gets a second chance; what it finds there counts.
		if grep -q 'context deadline exceeded' "$out" && ! grep -q 'Failing input written' "$out"; then
			echo "fuzz: $dir $name: the runner's own deadline, once more"
			run || failed=$((failed + 1))
		else
			failed=$((failed + 1))
		fi
	fi
	ran=$((ran + 1))
done
echo "fuzz: $ran of $total targets ran for $time each, $failed failed, $((total - ran)) left for the next run"
[ "$failed" = 0 ]
