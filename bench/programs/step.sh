# Counts on from its checkpoint, says when it began and what it knew, and saves one MiB again and again.
dir=$PRUNELLA_CHECKPOINT_DIR
n=0
if [ "$PRUNELLA_RESTORED" = 1 ]; then
  read -r n < "$dir/state"
  cat "$dir/state" > /dev/null
fi
echo "start $(date +%s%N) $$ $n $PRUNELLA_STEP_KEY $PRUNELLA_ATTEMPT" >> "$BENCH_SAID"
while [ ! -e "$BENCH_STOP" ]; do
  n=$((n + 1))
  { echo "$n"; head -c 1048000 /dev/zero; } > "$dir/.state"
  mv "$dir/.state" "$dir/state"
  echo "made $n" >> "$BENCH_SAID"
  sleep 0.05
done
echo "$n" > "$PRUNELLA_OUTPUT_COUNT"
