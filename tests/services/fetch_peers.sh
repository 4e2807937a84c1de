#!/usr/bin/env bash
# The newest restic (0.19 or later), unpacked below a folder from Debian's unstable suite, from the mirror that this machine's
# own apt configuration names. That configuration stays as it is: package lists and archives are kept in the folder.
# usage: fetch_peers.sh DIR  ->  DIR/usr/bin/restic
set -euo pipefail
mkdir -p "$1"
folder=$(realpath "$1")
suite=sid
oldest=0.19
binary=$folder/usr/bin/restic

new_enough() {
    local version
    [ -x "$binary" ] && version=$("$binary" version | awk '{print $2}') &&
        [ "$(printf '%s\n' "$oldest" "$version" | sort -V | head -n 1)" = "$oldest" ]
}

# The main archive of Debian, not the security one, which has no unstable suite.
debian_mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Codename: '"$1" 2> /dev/null | sort -u | head -n 1
}

if new_enough; then exit 0; fi
command -v apt-get > /dev/null || { echo "no restic $oldest: it is taken from Debian's unstable suite, and there is no apt-get here" >&2; exit 1; }
codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
as_root=()
[ "$(id -u)" -eq 0 ] || ! command -v sudo > /dev/null || as_root=(sudo)
mirror=$(debian_mirror "$codename")
if [ -z "$mirror" ]; then
    # apt tells of a mirror only once it has its lists
    "${as_root[@]}" apt-get -qq update || true
    mirror=$(debian_mirror "$codename")
fi
[ -n "$mirror" ] || { echo "no restic $oldest: it is taken from Debian's unstable suite, and no Debian mirror is configured here" >&2; exit 1; }

echo "== restic from Debian's suite $suite into $folder"
apt=$folder/.apt
mkdir -p "$apt/lists/partial" "$apt/archives/partial"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" > "$apt/sources.list"
# Valid-Until is not looked at: a frozen mirror is good enough, the signature and the version are what count.
options=(-qq -o Acquire::Check-Valid-Until=false -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::Etc::Preferences=/dev/null
    -o Dir::Etc::PreferencesParts=/dev/null -o Dir::State::Lists="$apt/lists" -o Dir::Cache="$apt" -o Dir::Cache::Archives="$apt/archives"
    -o Acquire::Retries=3 -o Acquire::Languages=none -o APT::Sandbox::User=root)
for attempt in 1 2 3; do
    if (cd "$apt/archives" && apt-get "${options[@]}" update && apt-get "${options[@]}" download restic); then break; fi
    [ "$attempt" -lt 3 ] || { echo "no restic $oldest: apt-get could not fetch it, its messages are above" >&2; exit 1; }
    sleep $((attempt * 5))
done
dpkg -x "$(ls -t "$apt"/archives/restic_*.deb | head -n 1)" "$folder"
rm -rf "$apt"
new_enough || { echo "the restic in Debian's suite $suite is not $oldest or newer: $("$binary" version)" >&2; exit 1; }
"$binary" version
