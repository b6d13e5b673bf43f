#!/usr/bin/env bash
# Set-up for the tests: installs the foreign peers of test/peer/peers.tsv where it may (root on a
# system with apt), and otherwise says loudly what will be skipped. Running it again is cheap.
# What is missing in the end is written to .cache/missing, which test/summary counts as skipped;
# with CI=true a missing peer is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
mkdir -p .cache
: >.cache/missing

# missing prints the rows of the table whose program is not there.
missing() {
	while IFS=$'\t' read -r program packages use; do
		case "$program" in '' | '#'*) continue ;; esac
		command -v "$program" >/dev/null || [ -e ".cache/peers/$program" ] || printf '%s\t%s\t%s\n' "$program" "$packages" "$use"
	done <test/peer/peers.tsv
}

# unpack takes a kernel and some of its modules from the package that another one depends on: .cache/peers/PROGRAM leads to it.
unpack() {
	local dir=.cache/peers/$2 package
	rm -rf "$dir"
	mkdir -p "$dir"
	package="$(apt-cache depends "$2" | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)"
	(cd "$dir" && apt-get -q download "$package") || return
	dpkg-deb --fsys-tarfile "$dir"/*.deb | tar -x -C "$dir" --wildcards './boot/vmlinuz-*' './lib/modules/*/modules.*' \
		'./lib/modules/*/kernel/arch/*' './lib/modules/*/kernel/crypto/*' './lib/modules/*/kernel/lib/*' './lib/modules/*/kernel/net/*' \
		'./lib/modules/*/kernel/drivers/virtio/*' './lib/modules/*/kernel/drivers/net/virtio_net.ko' \
		'./lib/modules/*/kernel/drivers/net/net_failover.ko' || return
	rm -f "$dir"/*.deb
	ln -sf "$2/boot/$(basename "$dir"/boot/vmlinuz-*)" ".cache/peers/$1"
}

# install asks apt for each missing peer by itself, so that one that is not to be had stops no other.
install() {
	local todo program packages
	todo="$(missing)"
	[ -n "$todo" ] || return 0
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		echo "setup: not root, or no apt here: nothing is installed" >&2
		return 0
	fi
	# The tests run the peers themselves: no daemon of a package starts. invoke-rc.d asks this file.
	local policy=/usr/sbin/policy-rc.d
	if [ ! -e "$policy" ]; then
		trap 'rm -f /usr/sbin/policy-rc.d' EXIT
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod 755 "$policy"
	fi
	export DEBIAN_FRONTEND=noninteractive
	apt-get -qq -o DPkg::Lock::Timeout=120 update >.cache/apt.log 2>&1 || true
	while IFS=$'\t' read -r program packages _; do
		case "$packages" in linux-image-*)
			echo "setup: unpacking $packages"
			unpack "$program" "$packages" </dev/null >>.cache/apt.log 2>&1 ||
				echo "setup: $packages was not unpacked; why is in .cache/apt.log" >&2
			continue
			;;
		esac
		echo "setup: installing $packages"
		# shellcheck disable=SC2086 # one row may name several packages
		apt-get -qq -y -o DPkg::Lock::Timeout=120 --no-install-recommends \
			install $packages </dev/null >>.cache/apt.log 2>&1 ||
			echo "setup: apt did not install $packages; its words are in .cache/apt.log" >&2
	done <<<"$todo"
}

install
while IFS=$'\t' read -r program packages use; do
	echo "peer missing: $program (Debian: $packages): not tested here: $use" | tee -a .cache/missing >&2
done < <(missing)

if [ -s .cache/missing ] && [ "${CI:-}" = true ]; then
	echo "setup: with CI=true every peer must be there" >&2
	exit 1
fi
