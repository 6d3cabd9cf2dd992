#!/bin/sh
# Fetches the vendored browser libraries again, each in one fixed version, with its licence and those of what is bundled in it.
# Run it after changing a version below; what it writes is committed, so building needs no network.
set -eu
cd "$(dirname "$0")/vendor"

# unpack PACKAGE VERSION DIR: the files of an npm package, in DIR/package.
unpack() {
	mkdir -p "$3"
	(cd "$3" && npm pack --silent "$1@$2" >/dev/null && tar xzf ./*.tgz)
}

# fetch PACKAGE VERSION FILE...: keeps only the named files of an npm package, its licence as LICENSE.md.
fetch() {
	name=$1 version=$2
	shift 2
	tmp=$(mktemp -d)
	unpack "$name" "$version" "$tmp"
	rm -rf "$name"
	mkdir -p "$name"
	for file in "$@"; do
		cp "$tmp/package/$file" "$name/"
	done
	cp "$tmp"/package/LICENSE* "$name/LICENSE.md"
	printf '%s %s\n' "$name" "$version" >"$name/VERSION"
	chmod 644 "$name"/*
	rm -rf "$tmp"
	echo "$name $version"
}

# bundled LIBRARY PACKAGE VERSION: adds the licence of a package that LIBRARY's file contains.
bundled() {
	tmp=$(mktemp -d)
	unpack "$2" "$3" "$tmp"
	{
		printf '\n---\n\nContains %s %s:\n\n' "$2" "$3"
		cat "$tmp"/package/[Ll][Ii][Cc][Ee][Nn][SsCc][Ee]*
	} >>"$1/LICENSE.md"
	rm -rf "$tmp"
}

fetch chart.js 4.6.1 dist/chart.umd.min.js

fetch tus-js-client 4.3.1 dist/tus.min.js
bundled tus-js-client js-base64 3.7.7
bundled tus-js-client url-parse 1.5.10
bundled tus-js-client querystringify 2.2.0
bundled tus-js-client requires-port 1.0.0
bundled tus-js-client buffer 5.2.1
bundled tus-js-client base64-js 1.5.1
bundled tus-js-client ieee754 1.2.1
