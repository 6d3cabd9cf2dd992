#!/bin/sh
# Fetches the vendored browser libraries again, each in one fixed version, with its licence.
# Run it after changing a version below; what it writes is committed, so building needs no network.
set -eu
cd "$(dirname "$0")/vendor"

# fetch PACKAGE VERSION FILE...: keeps only the named files of an npm package.
fetch() {
	name=$1 version=$2
	shift 2
	tmp=$(mktemp -d)
	(cd "$tmp" && npm pack --silent "$name@$version" >/dev/null && tar xzf ./*.tgz)
	rm -rf "$name"
	mkdir -p "$name"
	for file in "$@"; do
		cp "$tmp/package/$file" "$name/"
	done
	printf '%s %s\n' "$name" "$version" >"$name/VERSION"
	chmod 644 "$name"/*
	rm -rf "$tmp"
	echo "$name $version"
}

fetch chart.js 4.6.1 dist/chart.umd.min.js LICENSE.md
