#!/bin/sh
# Shows the most frequent words with a bar each.
set -eu
counts=${PRUNELLA_INPUT_COUNTS:-counts.txt}
page=${PRUNELLA_OUTPUT_PAGE:-report.txt}

sort -k2,2nr -k1,1 "$counts" | awk '
    NR <= 10 { bar = sprintf("%" $2 "s", ""); gsub(/ /, "#", bar); printf "%-12s %3d %s\n", $1, $2, bar }
    { words += $2 }
    END { printf "%d words, %d different\n", words, NR }
' >"$page.tmp"
mv "$page.tmp" "$page"
cat "$page"
