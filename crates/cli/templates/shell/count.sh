#!/bin/sh
# Counts words line by line. After every line a checkpoint holds how far it is and the words so far.
set -eu
checkpoints=$PRUNELLA_CHECKPOINT_DIR
line=0
: >words.tmp
newest=$(ls "$checkpoints" | sort | tail -n 1)
if [ -n "$newest" ]; then
    line=$(sed -n 1p "$checkpoints/$newest")
    sed 1d "$checkpoints/$newest" >words.tmp
    echo "back at line $line"
fi
total=$(wc -l <"$PRUNELLA_INPUT_TEXT")
while [ "$line" -lt "$total" ]; do
    line=$((line + 1))
    sed -n "${line}p" "$PRUNELLA_INPUT_TEXT" | tr 'A-Z' 'a-z' | tr -cs 'a-z' '\n' | sed '/^$/d' >>words.tmp
    # Written under a hidden name, then renamed: whoever sees it sees it whole.
    { echo "$line" && cat words.tmp; } >"$checkpoints/.next"
    mv "$checkpoints/.next" "$checkpoints/$(printf '%06d' "$line")"
    echo "line $line"
done
sort words.tmp | uniq -c | sort -k1,1nr -k2 >"$PRUNELLA_OUTPUT_COUNTS"
