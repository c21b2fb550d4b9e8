#!/bin/sh
# Shows the most frequent words.
set -eu
head -n "$1" "$PRUNELLA_INPUT_COUNTS" >"$PRUNELLA_OUTPUT_PAGE"
cat "$PRUNELLA_OUTPUT_PAGE"
