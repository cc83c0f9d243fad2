# ddpm info: what it makes of runs that lack something, of models from ddpm ema, and of odd files.
load "$DDPM_SUPPORT"

setup_file() {
    make_pictures "$BATS_FILE_TMPDIR/pictures"
    make_run "$BATS_FILE_TMPDIR/run" "$BATS_FILE_TMPDIR/pictures" 8 --save-every 2 --keep 0 --ema power
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    cp -r "$BATS_FILE_TMPDIR/run" run
}

@test "a model that ddpm ema made" {
    "$DDPM" ema run --length 0.15 --out averaged
    run "$DDPM" info averaged
    succeeds
    says "model of ddpm ema" "EMA weights" "every value is finite" "dim                 8"
    [[ "$output" != *"model weights"* && "$output" != *checksums* ]]
}

@test "ddpm ema wants a whole run" {
    run "$DDPM" ema run/checkpoints/latest --length 0.15 --out averaged
    fails 2 "run/checkpoints/latest: got no run, want one"
    run "$DDPM" ema rum --length 0.15 --out averaged
    fails 1 'rum: no such run; the nearest is "run"'
}

@test "a checkpoint without state.json is one all the same, but a run's own is damaged without it" {
    cp -r run/checkpoints/step-000004 copy
    rm copy/state.json
    run "$DDPM" info copy
    succeeds
    says "checkpoint of ddpm train" "model weights" "EMA weights"
    rm run/checkpoints/step-000008/state.json
    run "$DDPM" info run
    fails 1 state.json
    says "model weights"
}

@test "how far a run is, whatever latest is" {
    run "$DDPM" info run
    says "saved       step 8 of 8, finished"
    rm run/checkpoints/latest
    run "$DDPM" info run
    says "saved       step 8 of 8, finished"
    echo step-000006 > run/checkpoints/latest # as on file systems without links
    run "$DDPM" info run
    says "saved       step 6 of 8"
    rm -r run/checkpoints/*
    run "$DDPM" info run
    succeeds
    says "saved       step 0 of 8" "checkpoints none"
}

@test "a damaged config.json comes after all the rest" {
    echo '{' > run/config.json
    run "$DDPM" info run
    fails 1 config.json
    says "log         8 steps" "checkpoints step-000002" "step        8" "all files are as state.json says"
}

@test "a configuration may begin with empty lines; a pipe is an error and does not block" {
    { echo && echo && cat run/config.json; } > padded.json
    run "$DDPM" info padded.json
    succeeds
    says "network     TwoResUNet"
    mkfifo pipe
    run timeout 20 "$DDPM" info pipe
    fails 1 "pipe: got a device or pipe, want "
}
