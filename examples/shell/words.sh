#!/bin/sh
# Lays the words of a text out one a line, in lower case.
set -eu
text=${PRUNELLA_INPUT_TEXT:-data/gettysburg.txt}
words=${PRUNELLA_OUTPUT_WORDS:-words.txt}

tr 'A-Z' 'a-z' <"$text" | tr -cs 'a-z' '\n' | sed '/^$/d' >"$words.tmp"
mv "$words.tmp" "$words"
echo "$(wc -l <"$words" | tr -d ' ') words"
