#!/bin/sh
# Advances a number epoch by epoch and checkpoints every epoch; the same bytes come out however often it is killed.
# usage: train.sh SEED EPOCHS PACE file|tree
set -eu
state=$1 epochs=$2 pace=$3 form=$4
checkpoints=$PRUNELLA_CHECKPOINT_DIR
epoch=0
for entry in "$checkpoints"/epoch-*; do
    if [ -d "$entry" ]; then entry=$entry/state; fi
    if [ -f "$entry" ]; then read -r epoch state <"$entry"; fi
done
echo "$PRUNELLA_STEP $PRUNELLA_ATTEMPT $PRUNELLA_RESTORED $epoch" >>"$KILLS_LOG"
# Daemons: a session of its own, and one more whose parent is gone. Both keep the output open.
setsid sleep 600 &
(setsid sh -c 'sleep 600 & sleep 600' &)
while [ "$epoch" -lt "$epochs" ]; do
    epoch=$((epoch + 1))
    state=$(((state * 1103515245 + 12345) % 2147483648))
    if [ "$form" = tree ]; then
        rm -rf "$checkpoints/.next"
        mkdir "$checkpoints/.next"
        head -c 100000 /dev/zero >"$checkpoints/.next/weights"
        echo "$epoch $state" >"$checkpoints/.next/state"
    else
        echo "$epoch $state" >"$checkpoints/.next"
    fi
    mv "$checkpoints/.next" "$checkpoints/epoch-$epoch"
    if [ "$pace" != 0 ]; then sleep "$pace"; fi
done
if [ "$form" = tree ]; then
    mkdir -p "$PRUNELLA_OUTPUT_MODEL/deep"
    head -c 300000 /dev/zero >"$PRUNELLA_OUTPUT_MODEL/weights"
    echo "$state" >>"$PRUNELLA_OUTPUT_MODEL/weights"
    echo "$epoch $state" >"$PRUNELLA_OUTPUT_MODEL/deep/state"
else
    echo "$epoch $state" >"$PRUNELLA_OUTPUT_MODEL"
fi
