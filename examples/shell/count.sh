#!/bin/sh
# Counts words, a few lines at a time, and can be killed at any moment.
#
# After every batch a checkpoint holds the number of lines done and the counts so far: one file,
# renamed into place. Started again, it goes on behind the newest of them.
# usage: count.sh [PACE]   PACE: seconds to wait after every batch, so that there is time to kill it
set -eu
pace=${1:-0}
batch=8
words=${PRUNELLA_INPUT_WORDS:-words.txt}
counts=${PRUNELLA_OUTPUT_COUNTS:-counts.txt}
checkpoints=${PRUNELLA_CHECKPOINT_DIR:-checkpoints}
mkdir -p "$checkpoints"

stop_asked=no
trap 'stop_asked=yes' TERM

# Takes a checkpoint as the newest and removes all but it and the one before.
newest= before=
take() {
    if [ -n "$before" ]; then rm "$before"; fi
    before=$newest newest=$1
}

# Succeeds if the counts in a checkpoint add up to the lines it says are done.
whole() {
    awk 'NR == 1 { lines = $2; next } { sum += $2 } END { exit sum != lines }' "$1"
}

# The shell sorts what a pattern matches; equally long numbers sort as numbers.
for file in "$checkpoints"/lines-*; do
    if [ -f "$file" ]; then take "$file"; fi
done
done_lines=0
if [ -n "$newest" ]; then
    done_lines=$(sed -n '1s/^lines //p' "$newest")
    echo "restored line $done_lines"
fi

total=$(wc -l <"$words" | tr -d ' ')
while [ "$done_lines" -lt "$total" ]; do
    next=$((done_lines + batch))
    if [ "$next" -gt "$total" ]; then next=$total; fi
    hidden=$checkpoints/.next.tmp
    {
        echo "lines $next"
        {
            if [ -n "$newest" ]; then sed 1d "$newest"; fi
            sed -n "$((done_lines + 1)),${next}s/\$/ 1/p" "$words"
        } | awk '{ sum[$1] += $2 } END { for (word in sum) print word, sum[word] }' | sort
    } >"$hidden"
    # A signal to the whole group ends the programs above, too, and leaves this file short.
    if ! whole "$hidden"; then
        echo "the batch up to line $next was cut short" >&2
        exit 143
    fi
    file=$checkpoints/$(printf 'lines-%06d' "$next")
    mv "$hidden" "$file"
    take "$file"
    done_lines=$next
    echo "line $done_lines/$total"
    if [ "$pace" != 0 ]; then sleep "$pace" || :; fi
    if [ "$stop_asked" = yes ] && [ "$done_lines" -lt "$total" ]; then
        echo "asked to stop: line $done_lines is in a checkpoint"
        exit 143
    fi
done

sed 1d "$newest" >"$counts.tmp"
mv "$counts.tmp" "$counts"
