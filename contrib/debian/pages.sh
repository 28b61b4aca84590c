#!/bin/sh
# The manual pages and completions that the Debian package holds, made by the program: to be run before `cargo deb`.
set -eu
cd "$(dirname "$0")/../.."
program=target/release/potluck
pages=target/debian-pages
mkdir -p "$pages/man"
"$program" man > "$pages/man/potluck.1"
"$program" --help | sed -n 's/^  \([a-z][a-z-]*\)  .*/\1/p' | while read -r command; do
    "$program" man "$command" > "$pages/man/potluck-$command.1"
done
"$program" completions bash > "$pages/potluck.bash"
"$program" completions zsh > "$pages/_potluck"
