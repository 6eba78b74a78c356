# For the servers that are built with Go. Each has a folder in tests/servers whose go.mod pins it and
# whose go.sum holds the digests of all its modules. Several programs may share one folder.

# go_version FOLDER MODULE: the version that tests/servers/FOLDER/go.mod pins.
go_version() {
    awk -v module="$2" '$1 == "require" {$1 = ""; $0 = $0}
        $1 == module {sub(/^v/, "", $2); print $2; exit}' "tests/servers/$1/go.mod"
}

# go_program FOLDER PACKAGE FILE: builds a program that tests/servers/FOLDER pins. The build cache
# lies beside FILE and is removed (gigabytes); the modules stay in Go's own cache. Further arguments
# are for the compiler.
go_program() {
    local module=tests/servers/$1 package=$2 file=$3 needed
    shift 3
    needed=$(awk '$1 == "go" {print $2}' "$module/go.mod")
    command -v go >/dev/null ||
        die "Go is missing: $needed or newer, or 1.21 and newer, which fetches it (https://go.dev/dl)"
    (cd "$module" && go version) ||
        die "Go $needed or newer is needed, or 1.21 and newer with GOTOOLCHAIN=auto, which fetches it"
    (cd "$module" && GOCACHE="$file.cache" GOFLAGS="-mod=readonly ${GOFLAGS:-}" \
        go build -v -trimpath -buildvcs=false -ldflags '-s -w' -o "$file" "$@" "$package" 2>&1) |
        count_packages
    rm -rf "$file.cache"
}

# go_module FOLDER MODULE: where the sources of MODULE lie: templates, charts, custom resources.
go_module() { (cd "tests/servers/$1" && go list -m -f '{{.Dir}}' "$2"); }

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
