#!/bin/sh
# Counts primes in batches. Ignores SIGTERM, like its children, one of which runs away into a session of its own.
set -eu
trap '' TERM
pace=${1:-0}
folder=${PRUNELLA_CHECKPOINT_DIR:-checkpoints}
output=${PRUNELLA_OUTPUT_TABLE:-table.txt}
batches=24
mkdir -p "$folder"

deaf='trap "" TERM; while :; do sleep 1; done'
sh -c "$deaf" >/dev/null 2>&1 &
child=$!
setsid sh -c "$deaf" >/dev/null 2>&1 &
# At its end it cleans up; when it is killed, somebody else has to.
trap 'kill -9 $child 2>/dev/null || true; pkill -9 -s "$!" 2>/dev/null || true' EXIT

# Go on behind the newest folder that was finished.
done=0
for marker in "$folder"/batch-*/DONE; do
  [ -e "$marker" ] || continue
  done=$(basename "$(dirname "$marker")" | sed 's/^batch-0*//')
  cp "$(dirname "$marker")/table" table.part
done
[ "$done" -gt 0 ] || : >table.part

while [ "$done" -lt "$batches" ]; do
  from=$((done * 500 + 1))
  done=$((done + 1))
  awk -v from="$from" -v to="$((done * 500))" 'BEGIN {
    for (n = from; n <= to; n++) {
      prime = n > 1
      for (d = 2; d * d <= n && prime; d++) if (n % d == 0) prime = 0
      count += prime
    }
    print from, to, count
  }' >>table.part
  # In place, file by file: only the marker says that it is whole.
  name=$folder/batch-$(printf '%04d' "$done")
  mkdir -p "$name"
  cp table.part "$name/table"
  : >"$name/DONE"
  sleep "$pace"
done
cp table.part "$output"
