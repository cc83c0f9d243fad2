# Kills at random moments while checkpoints are being written.
load "$DDPM_SUPPORT"

@test "50 kills: the checkpoint that latest names is whole every time" {
    cd "$BATS_TEST_TMPDIR"
    make_pictures pictures
    make_run run pictures 1
    # How long this machine takes to start and save once: kills come from a little before that on.
    begin=$(date +%s%N)
    run "$DDPM" train --resume --out run --steps 2
    succeeds
    start=$((($(date +%s%N) - begin) / 1000000)) # ms
    last=2
    for k in $(seq 50); do
        # Nearly all of the time goes into checkpoints: a tiny step, then a save.
        "$DDPM" train --resume --out run --steps 100000000 --save-every 1 --keep 2 2> errors &
        pid=$!
        sleep "$(printf '%d.%03d' $((wait = start / 2 + RANDOM % (300 + start), wait / 1000)) $((wait % 1000)))"
        kill -KILL "$pid"
        wait "$pid" || true
        # Resuming checks every byte of every file against the sums of state.json.
        run "$DDPM" train --resume --out run --steps "$(newest run)"
        succeeds
        step=$(readlink run/checkpoints/latest)
        step=$((10#${step#step-}))
        [ "$step" -ge "$last" ]
        last=$step
    done
    echo "reached step $last"
    [ "$last" -gt 50 ]
    # What kills left behind goes with the next save.
    run "$DDPM" train --resume --out run --steps $((last + 1)) --keep 2
    succeeds
    [ "$(ls -A run/checkpoints | wc -l)" -le 3 ]
}
