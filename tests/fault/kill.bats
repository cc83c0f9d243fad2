# Kills at random moments while checkpoints are being written.
load "$DDPM_SUPPORT"

@test "50 kills: the checkpoint that latest names is complete every time" {
    cd "$BATS_TEST_TMPDIR"
    make_pictures pictures
    make_run run pictures 1
    # Measure how long this machine takes to start and save once; kills start a little before that.
    begin=$(date +%s%N)
    run "$DDPM" train --resume --out run --steps 2
    succeeds
    start=$((($(date +%s%N) - begin) / 1000000)) # ms
    last=2
    for k in $(seq 50); do
        # Nearly all of the time is spent on checkpoints: a tiny step, then a save.
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
    # The next save removes what kills left behind.
    run "$DDPM" train --resume --out run --steps $((last + 1)) --keep 2
    succeeds
    [ "$(ls -A run/checkpoints | wc -l)" -le 3 ]
}

@test "20 kills: the checkpoint that best names is complete every time, and the curve equals that of an undisturbed run" {
    cd "$BATS_TEST_TMPDIR"
    make_pictures pictures 40
    options=(--validation 0.2 --validate-every 1 --save-every 3 --keep 2 --lr 1e-3)
    make_run run pictures 1 "${options[@]}"
    for k in $(seq 20); do
        rm -f errors
        "$DDPM" train --resume --out run --steps 100000000 2> errors &
        pid=$!
        wait_for grep -q "^run  *run" errors
        sleep "0.$(printf '%03d' $((RANDOM % 300)))"
        kill -KILL "$pid"
        wait "$pid" || true
        run "$DDPM" info run/checkpoints/best
        succeeds
        says "all files are as state.json says"
    done
    step=$(newest run)
    run "$DDPM" train --resume --out run --steps "$step"
    succeeds
    # The best row is the one that `best` points to, or a later one that the run will reach again.
    best=$(tail -n +2 run/validation.csv | sort -t, -k2,2g | head -1 | cut -d, -f1)
    named=$(readlink run/checkpoints/best)
    [ $((10#${named#step-})) -ge "$best" ]
    make_run straight pictures "$step" "${options[@]}"
    cmp straight/validation.csv run/validation.csv
}
