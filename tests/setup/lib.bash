# What the scripts in this folder share: once per machine, atomic, verified.
#
# Each script brings one tool and prints its path. If the tool is there, nothing else happens. What
# has to be downloaded or built lands in the cache folder, one folder per name and version. It is
# made in a scratch folder, tried there, and then moved into place, so a folder that exists is whole.
# A lock lets a second clone wait for the first one. Messages go to stderr.
#
# A script names its tool and says how to install it:
#
#     source "$(dirname "$0")/lib.bash"
#     install() { fetch or build into the folder "$1"; the last command proves that it works; }
#     once "tool-$version" bin/tool
#
# What a tool's own files or lock files decide belongs into its name: once "tool-$(digest FILE...)".
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

cache=${LOCKGATE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lockgate}

say() { printf 'set-up: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# once NAME FILE: prints $cache/NAME/FILE. If it is missing, "install SCRATCH" fills a scratch folder
# that becomes $cache/NAME.
once() {
    local folder="$cache/$1" file=$2 status
    if [[ ! -x $folder/$file ]]; then
        mkdir -p "$cache"
        exec 9>"$folder.lock"
        flock 9
    fi
    if [[ ! -x $folder/$file ]]; then
        rm -rf "$folder".?????? # what an interrupted installation left
        scratch=$(mktemp -d "$folder.XXXXXX")
        trap 'rm -rf "$scratch"' EXIT
        # Not in a condition: there bash would ignore "set -e" inside the function.
        set +e
        (set -e; install "$scratch") >&2
        status=$?
        set -e
        ((status == 0)) || die "$1: not installed, see the messages above"
        [[ -x $scratch/$file ]] || die "$1: the installation has no $file"
        chmod 755 "$scratch"
        rm -rf "$folder"
        mv -T "$scratch" "$folder"
        trap - EXIT
        say "$1 is in $folder"
    fi
    printf '%s\n' "$folder/$file"
}

# digest FILE...: 16 hexadecimal digits for the content of the files.
digest() { cat "$@" | sha256sum | cut -c1-16; }

# Debian packages. The package lists are fetched only when the first try fails.
packages() {
    local root=()
    [[ $(id -u) == 0 ]] || root=(sudo)
    local install=("${root[@]}" env DEBIAN_FRONTEND=noninteractive
        apt-get install -y -qq --no-remove --no-install-recommends "$@")
    say "Debian packages: $*"
    "${install[@]}" >&2 || { "${root[@]}" apt-get update -qq >&2 && "${install[@]}" >&2; } ||
        die "apt-get could not install: $*"
}

# python_folder FOLDER: a Python of its own, with pip.
python_folder() {
    python3 -m venv "$1" 2>/dev/null || { packages python3-venv && python3 -m venv --clear "$1"; }
}

# pip_install FOLDER FILE: wheels only, each checked against the digests in FILE.
pip_install() {
    "$1/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: \
        --no-deps --require-hashes -r "$2"
}

# npm_ci FOLDER LOCK: installs what LOCK and the package.json beside it say into FOLDER. npm checks
# each archive against the digests in LOCK.
npm_ci() {
    command -v npm >/dev/null || packages nodejs npm
    cp "${2%/*}/package.json" "$2" "$1"
    npm ci --prefix "$1" --omit=dev --ignore-scripts --no-audit --no-fund --loglevel error
}
