#!/usr/bin/env bash
# The newest restic, rest-server and rclone, unpacked below a folder from Debian's unstable suite, from the mirror that this
# machine's own apt configuration names. That configuration stays as it is: package lists and archives are kept in the folder.
# usage: fetch_peers.sh DIR  ->  DIR/usr/bin/{restic,restic-rest-server,rclone}
set -euo pipefail
mkdir -p "$1"
folder=$(realpath "$1")
suite=sid
programs=$folder/usr/bin
# package (its program has the same name), the oldest version that will do, what prints the version
peers=(
    'restic 0.19 version'
    'restic-rest-server 0.14 --version'
    'rclone 1.70 version'
)

# The first version number in what the program prints.
version_of() {
    "$1" "$2" 2> /dev/null | grep -oE '[0-9]+\.[0-9]+(\.[0-9]+)*' | head -n 1
}

# new_enough NAME OLDEST ARGUMENT
new_enough() {
    local version
    [ -x "$programs/$1" ] && version=$(version_of "$programs/$1" "$3") && [ -n "$version" ] &&
        [ "$(printf '%s\n' "$version" "$2" | sort -V | head -n 1)" = "$2" ]
}

missing() {
    local name oldest argument
    for peer in "${peers[@]}"; do
        read -r name oldest argument <<< "$peer"
        new_enough "$name" "$oldest" "$argument" || echo "$name"
    done
}

# The main archive of Debian, not the security one, which has no unstable suite.
debian_mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Codename: '"$1" 2> /dev/null | sort -u | head -n 1
}

mapfile -t wanted < <(missing)
[ "${#wanted[@]}" -gt 0 ] || exit 0
command -v apt-get > /dev/null || { echo "no new ${wanted[*]}: taken from Debian's unstable suite, and there is no apt-get here" >&2; exit 1; }
codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
as_root=()
[ "$(id -u)" -eq 0 ] || ! command -v sudo > /dev/null || as_root=(sudo)
mirror=$(debian_mirror "$codename")
if [ -z "$mirror" ]; then
    # apt tells of a mirror only once it has its lists
    "${as_root[@]}" apt-get -qq update || true
    mirror=$(debian_mirror "$codename")
fi
[ -n "$mirror" ] || { echo "no new ${wanted[*]}: taken from Debian's unstable suite, and no Debian mirror is configured here" >&2; exit 1; }

echo "== ${wanted[*]} from Debian's suite $suite into $folder"
apt=$folder/.apt
mkdir -p "$apt/lists/partial" "$apt/archives/partial"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" > "$apt/sources.list"
# Valid-Until is not looked at: a frozen mirror is good enough, the signature and the version are what count.
options=(-qq -o Acquire::Check-Valid-Until=false -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::Etc::Preferences=/dev/null
    -o Dir::Etc::PreferencesParts=/dev/null -o Dir::State::Lists="$apt/lists" -o Dir::Cache="$apt" -o Dir::Cache::Archives="$apt/archives"
    -o Acquire::Retries=3 -o Acquire::Languages=none -o APT::Sandbox::User=root)
for attempt in 1 2 3; do
    if (cd "$apt/archives" && apt-get "${options[@]}" update && apt-get "${options[@]}" download "${wanted[@]}"); then break; fi
    [ "$attempt" -lt 3 ] || { echo "no new ${wanted[*]}: apt-get could not fetch them, its messages are above" >&2; exit 1; }
    sleep $((attempt * 5))
done
for name in "${wanted[@]}"; do
    dpkg -x "$(ls -t "$apt/archives/$name"_*.deb | head -n 1)" "$folder"
done
rm -rf "$apt"
mapfile -t wanted < <(missing)
[ "${#wanted[@]}" -eq 0 ] || { echo "what Debian's suite $suite has of ${wanted[*]} is too old or does not run here" >&2; exit 1; }
for peer in "${peers[@]}"; do
    read -r name _ argument <<< "$peer"
    echo "$name $(version_of "$programs/$name" "$argument")"
done
