#!/usr/bin/env bash
# The whole life of a file with nothing but bash and curl:
#
#   examples/rest/lifecycle.sh [URL-OF-A-NODE]        (default http://localhost:8000)
#
# Makes an account of its own, uploads a sound, reads a part of it, converts it, shares it, opens the share without an account, and
# deletes everything again. Prints each step; ends with 0 only if every check held. The node must let people sign up,
# or be told an account: MALLA_USER and MALLA_PASSWORD.
set -euo pipefail

node=${1:-http://localhost:8000}
node=${node%/}
user=${MALLA_USER:-}
password=${MALLA_PASSWORD:-}

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

step() { printf '\n== %s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

# call CURL-ARGUMENTS... prints the answer's body, and fails with the problem's detail unless the status is 2xx.
call() {
    local status
    status=$(curl -sS -o "$dir/answer" -w '%{http_code}' --max-time 60 "$@") || fail "no answer from $node"
    case "$status" in
    2*) cat "$dir/answer" ;;
    *) fail "HTTP $status: $(field detail <"$dir/answer")" ;;
    esac
}
# field NAME prints the first string or number of that name in the JSON on its input. (Use jq where you have it.)
field() { tr -d '\n' | grep -o '"'"$1"'" *: *\("[^"]*"\|[^",}]*\)' | head -n 1 | sed 's/^[^:]*: *//; s/^"//; s/"$//' || true; }

# A second of noise as a WAV file: other bytes each time, and no program needed to make it.
wav() {
    local bytes=88200
    printf 'RIFF\xac\x58\x01\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x44\xac\x00\x00\x88\x58\x01\x00\x02\x00\x10\x00data\x88\x58\x01\x00'
    head -c "$bytes" /dev/urandom
}

step "make a sound to upload"
wav >"$dir/noise.wav"
size=$(wc -c <"$dir/noise.wav" | tr -d ' ')
echo "noise.wav, $size bytes"

if [ -z "$user" ]; then
    user="rest-$(od -An -N4 -tx1 /dev/urandom | tr -d ' \n')"
    password="$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')"
    step "sign up as $user"
    call -X POST "$node/auth/signup" -H 'Content-Type: application/json' \
        -d "{\"username\": \"$user\", \"password\": \"$password\"}" >/dev/null
    echo "done"
fi

step "log in"
token=$(call -X POST "$node/auth/login" --data-urlencode "username=$user" --data-urlencode "password=$password" | field access_token)
[ -n "$token" ] || fail "no access_token in the answer"
echo "token of ${#token} characters"
auth=(-H "Authorization: Bearer $token")

step "upload it"
name=$(call -X POST "$node/upload" "${auth[@]}" -F "file=@$dir/noise.wav;type=audio/wav" | field name)
[ "$name" = noise.wav ] || fail "stored as '$name'"
echo "stored as $name"

step "list the library"
list=$(call "$node/media" "${auth[@]}")
grep -q '"noise.wav"' <<<"$list" || fail "noise.wav is not in the list: $list"
echo "noise.wav is there"

step "read a part of it: 100 bytes from the 1000th"
call "$node/media/noise.wav" "${auth[@]}" -r 1000-1099 >"$dir/part"
cmp -s <(tail -c +1001 "$dir/noise.wav" | head -c 100) "$dir/part" || fail "other bytes than uploaded"
echo "the same bytes as uploaded"

step "convert it to mp3"
job=$(call -X POST "$node/convert" "${auth[@]}" -H 'Content-Type: application/json' \
    -d '{"input_file": "noise.wav", "output_format": "mp3", "options": {"bitrate": "128k"}}' | field job_id)
[ -n "$job" ] || fail "no job_id in the answer"
echo "job $job"

step "wait until it has ended"
status=pending
for _ in $(seq 1 120); do
    answer=$(call "$node/jobs/$job" "${auth[@]}")
    status=$(field status <<<"$answer")
    printf '%s %s %%\n' "$status" "$(field progress <<<"$answer")"
    case "$status" in
    completed | failed | canceled) break ;;
    esac
    sleep 0.5
done
[ "$status" = completed ] || fail "the job ended as $status: $(field error <<<"$answer")"
out=$(field output_file <<<"$answer")
[ "$out" = noise_converted.mp3 ] || fail "the output is called '$out'"

step "download the result"
call "$node/media/$out" "${auth[@]}" >"$dir/$out"
got=$(wc -c <"$dir/$out" | tr -d ' ')
[ "$got" -gt 1000 ] || fail "only $got bytes"
echo "$out, $got bytes"

step "share it for ten minutes"
url=$(call -X POST "$node/share/$out?minutes=10" "${auth[@]}" | field url)
[ -n "$url" ] || fail "no url in the answer"
echo "$url"

step "open the share without an account"
call "$url" >"$dir/shared"
cmp -s "$dir/$out" "$dir/shared" || fail "other bytes than the file"
echo "the same bytes"

step "without an account the library itself stays closed"
closed=$(curl -sS -o /dev/null -w '%{http_code}' "$node/media/$out")
[ "$closed" = 401 ] || fail "HTTP $closed instead of 401"
echo "HTTP 401"

step "delete both"
for f in noise.wav "$out"; do
    call -X DELETE "$node/media/$f" "${auth[@]}" >/dev/null
    gone=$(curl -sS -o /dev/null -w '%{http_code}' "${auth[@]}" "$node/media/$f")
    [ "$gone" = 404 ] || fail "$f still answers $gone"
    echo "$f is gone"
done
gone=$(curl -sS -o /dev/null -w '%{http_code}' "$url")
[ "$gone" = 404 ] || fail "the share of a deleted file still answers $gone"
echo "and so is the share"

printf '\nall checks held\n'
