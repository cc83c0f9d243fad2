# Runs: contents of a run folder, invalid input, signals.
load "$DDPM_SUPPORT"

setup_file() {
    make_pictures "$BATS_FILE_TMPDIR/pictures"
    make_run "$BATS_FILE_TMPDIR/run" "$BATS_FILE_TMPDIR/pictures" 4 --save-every 2
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    pictures=$BATS_FILE_TMPDIR/pictures
}

@test "a run folder is complete" {
    run "$DDPM" train --data "$pictures" --out new "${TINY[@]}" --steps 6 --save-every 2 --sample-every 3 --keep 2
    succeeds
    says parameters planned "step 6/6"
    [ "$(rows new)" -eq 6 ]
    [ "$(head -1 new/log.csv)" = step,loss,lr,grad_norm,images_per_second,seconds ]
    [ "$(ls new/checkpoints | tr '\n' ' ')" = "latest step-000004 step-000006 " ]
    [ "$(ls new/checkpoints/latest/ | tr '\n' ' ')" = \
        "config.json ema.safetensors model.safetensors optimizer.safetensors state.json " ]
    [ "$(ls new/samples | tr '\n' ' ')" = "step-000003.png step-000006.png " ]
    grep -q '"data_fingerprint": "[0-9a-f]\{16\}"' new/config.json
    grep -q '"ddpm_version"' new/config.json
    run "$DDPM" info new
    says "last start  1 rank" "            rank 0 on $(hostname): CPU"
    run "$DDPM" info new/samples/step-000003.png
    says "ddpm:step: 3" "ddpm:pictures: 2"
}

@test "the same seed gives the same weights, another one does not" {
    make_run a "$pictures" 3
    make_run b "$pictures" 3 --threads 2
    make_run c "$pictures" 3 --seed 1
    cmp a/checkpoints/latest/model.safetensors b/checkpoints/latest/model.safetensors
    differ a/checkpoints/latest/model.safetensors c/checkpoints/latest/model.safetensors
}

@test "training works from a packed file, in grey, and with pictures that are not square" {
    "$DDPM" pack "$pictures" --out grey.npy --size 16x24 --channels 1
    run "$DDPM" train --data grey.npy --out new "${TINY[@]}" --image-size 16x24 --channels 1 --steps 2 --sample-every 2
    succeeds
    [ -e new/samples/step-000002.png ]
}

@test "a folder that is not empty is never written to" {
    cp -r "$BATS_FILE_TMPDIR/run" run
    find run -type f -exec cksum {} + | sort > before
    run "$DDPM" train --data "$pictures" --out run "${TINY[@]}" --steps 1
    fails 1 "run:" "--resume"
    find run -type f -exec cksum {} + | sort | cmp - before
    mkdir other && echo precious > other/file
    run "$DDPM" train --data "$pictures" --out other "${TINY[@]}" --steps 1
    fails 1 "not empty"
    [ "$(ls other)" = file ]
}

@test "an output folder that cannot be made" {
    echo text > file
    run "$DDPM" train --data "$pictures" --out file "${TINY[@]}" --steps 1
    fails 1 file
    run "$DDPM" train --data "$pictures" --out file/run "${TINY[@]}" --steps 1
    fails 1 file
    if [ "$(id -u)" -eq 0 ]; then
        run "$DDPM" train --data "$pictures" --out /proc/ddpm-run "${TINY[@]}" --steps 1
        fails 1 /proc/ddpm-run
    else
        mkdir closed && chmod 555 closed
        run "$DDPM" train --data "$pictures" --out closed/run "${TINY[@]}" --steps 1
        fails 1 closed
    fi
}

@test "no data, no such data" {
    run "$DDPM" train --out new "${TINY[@]}"
    fails 2 "no pictures given"
    run "$DDPM" train --data missing --out new "${TINY[@]}"
    fails 1 missing
    [ ! -e new ]
}

@test "a loss that is not finite stops the run and is not saved" {
    run "$DDPM" train --data "$pictures" --out new "${TINY[@]}" --steps 500 --sample-every 0 --save-every 1 --lr 100
    fails 1 "step " "first in" "hint:"
    if [ -e new/checkpoints/latest ]; then
        run "$DDPM" info new/checkpoints/latest
        succeeds
        [[ "$output" == *"every value is finite"* && "$output" != *"health    BAD"* ]]
    fi
}

@test "SIGINT and SIGTERM finish the step and save" {
    for signal in INT:130 TERM:143; do
        rm -rf new errors # of the signal before: the old lines must not be taken for new ones
        start_job "$DDPM" train --data "$pictures" --out new "${TINY[@]}" --steps 100000 --sample-every 0
        wait_for grep -q "^step 1/" errors
        kill -"${signal%:*}" "$pid"
        job_ends "${signal#*:}"
        step=$(readlink new/checkpoints/latest)
        [ "$(tail -1 new/log.csv | cut -d, -f1)" -eq "$((10#${step#step-}))" ]
    done
}

@test "a second signal ends the run at once, without a checkpoint" {
    start_job "$DDPM" train --data "$pictures" --out new "${TINY[@]}" --steps 10 --accumulate 30000 --prefetch 2 \
        --sample-every 0
    wait_for grep -q "^run " errors
    sleep 0.5
    kill -INT "$pid"
    sleep 0.3
    kill -INT "$pid"
    job_ends 130
    [ ! -e new/checkpoints/latest ]
}

@test "two processes cannot train into one run" {
    cp -r "$BATS_FILE_TMPDIR/run" run
    "$DDPM" train --resume --out run --steps 1000000 --save-every 0 2> errors &
    pid=$!
    wait_for grep -q "^step 5/" errors
    run "$DDPM" train --resume --out run
    kill -KILL "$pid"
    wait "$pid" || true
    fails 1 "another process"
}

@test "a run of six channels says that it draws no grids" {
    npy six.npy '|u1' '8, 16, 16, 6' 12288
    run "$DDPM" train --data six.npy --out new "${TINY[@]}" --channels 6 --steps 1 --sample-every 1
    succeeds
    says "samples   none: PNG has at most 4 channels; ddpm sample --array FILE.npy draws all 6"
    [ -z "$(ls new/samples)" ]
    run "$DDPM" train --data six.npy --out silent "${TINY[@]}" --channels 6 --steps 1 --sample-every 0
    succeeds
    [[ "$output" != *"samples   none"* ]]
}
