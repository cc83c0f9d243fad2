# ddpm train --patches: first on patches, then on whole pictures.
load "$DDPM_SUPPORT"

setup_file() {
    make_pictures "$BATS_FILE_TMPDIR/pictures" 40
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    ln -s "$BATS_FILE_TMPDIR/pictures" .
}

small=(--image-size 16 --dim 4 --dim-mults 1,2 --batch-size 4 --timesteps 20 --schedule cosine --sample-every 0 --threads 1)

@test "the run says what it trains on, and a resumed run has the same bits" {
    run "$DDPM" train --data pictures --out straight --patches 2 --patch-share 0.5 --steps 8 --save-every 3 "${small[@]}"
    succeeds
    says "patches   of 8x8 in the first 4 steps" "done, newest checkpoint of step 8"
    for stop in 3 4 5; do
        "$DDPM" train --data pictures --out "stopped$stop" --patches 2 --patch-share 0.5 --steps 8 --save-every "$stop" --keep 0 \
            "${small[@]}" 2> said
        find "stopped$stop"/checkpoints -name 'step-*' ! -name "step-00000$stop" -exec rm -r {} +
        ln -sfn "step-00000$stop" "stopped$stop/checkpoints/latest"
        "$DDPM" train --resume "stopped$stop" 2> said
        for file in model ema optimizer; do
            cmp {straight,stopped$stop}/checkpoints/step-000008/$file.safetensors
        done
    done
}

@test "a run resumes with its own patches only" {
    "$DDPM" train --data pictures --out run --patches 2 --steps 4 "${small[@]}" 2> said
    run "$DDPM" train --resume run --steps 8 --patches 4
    fails 1 "cannot resume: patches is 2"
    run "$DDPM" train --resume run --steps 8 --patches 2
    succeeds
    says "patches   of 8x8 in the first 6 steps"
}

@test "pictures that cannot be made smaller train without patches" {
    run "$DDPM" train --data pictures --out run --patches 2 --steps 4 "${small[@]}" --image-size 2
    succeeds
    ! [[ $output == *"patches "* ]]
    grep -q '"patches": 1' run/config.json
}

@test "bad values are errors that leave no folder" {
    run "$DDPM" train --data pictures --out refused --patches 0 "${small[@]}"
    fails 2 "option patches: got \"0\", want an integer in [1, 64]"
    run "$DDPM" train --data pictures --out refused --patches 2 --patch-share 1 "${small[@]}"
    fails 2 "option patch-share: got \"1\", want a number in [0.01, 0.99]"
    [ ! -e refused ]
}

@test "with --time both kinds of steps are timed, and the run equals one with --steps" {
    run "$DDPM" train --data pictures --out timed --patches 2 --time "$((${DDPM_TEST_WAIT:-60} / 10))s" "${small[@]}"
    succeeds
    says " s on patches and" " s on whole pictures fit into "
    steps=$(sed -n 's/.*"train_num_steps": \([0-9]*\).*/\1/p' timed/config.json)
    "$DDPM" train --data pictures --out counted --patches 2 --steps "$steps" "${small[@]}" 2> said
    for file in model ema optimizer; do
        cmp {timed,counted}/checkpoints/latest/$file.safetensors
    done
}

@test "a validated, distilled and averaged run with patches" {
    "$DDPM" train --data pictures --out run --patches 2 --steps 40 --save-every 10 --keep 0 --validation 0.2 \
        --validate-every 10 --ema power --objective v "${small[@]}" 2> said
    [ "$(wc -l < run/validation.csv)" -ge 5 ]
    run "$DDPM" ema run --length 0.15 --out averaged
    succeeds
    says "from 1 checkpoint" # the others are of patches
    run "$DDPM" distill run --out few # 3/16 of 10 steps on whole pictures and 30 on patches of a quarter of the area
    succeeds
    says "few, step 0 of 3"
    ! [[ $output == *"patches "* ]]
    run "$DDPM" sample few --out drawn --count 1
    succeeds
    run "$DDPM" bench --config run/config.json --repeats 1
    succeeds
}

@test "runs from before there were patches have none" {
    "$DDPM" train --data pictures --out run --recipe fast --steps 4 --save-every 2 --keep 0 "${small[@]}" 2> said
    "$DDPM" train --resume run --steps 6 2> said
    "$DDPM" train --data pictures --out old --recipe fast --steps 4 --save-every 2 --keep 0 "${small[@]}" 2> said
    sed -i '/"patch/d' old/config.json old/checkpoints/*/config.json
    sed -i -E 's/ *"patches": "1",?//' old/checkpoints/*/state.json
    ! grep -rq '"patch' old
    run "$DDPM" train --resume old --steps 6
    succeeds
    ! [[ $output == *"patches "* ]]
    cmp {run,old}/checkpoints/latest/model.safetensors
    run "$DDPM" ema old --length 0.1 --out averaged
    succeeds
    says "from 3 checkpoints"
}

@test "a run that raises its steps goes back to patches until the new change" {
    "$DDPM" train --data pictures --out run --patches 2 --patch-share 0.5 --steps 4 --save-every 4 "${small[@]}" 2> said
    run "$DDPM" train --resume run --steps 12
    succeeds
    says "patches   of 8x8 in the first 6 steps" "step 5/12" "done, newest checkpoint of step 12"
    run "$DDPM" info run
    succeeds
}

@test "a run with coordinates keeps them when it is resumed, drawn from and distilled" {
    "$DDPM" train --data pictures --out run --patches 2 --coordinates on --rotate on --steps 4 "${small[@]}" 2> said
    grep -q '"coordinates": true' run/config.json
    run "$DDPM" train --resume run --steps 8 --coordinates off
    fails 1 "cannot resume: coordinates is on in the checkpoint"
    run "$DDPM" train --resume run --steps 8
    succeeds
    run "$DDPM" sample run --out large --count 1 --image-size 16x24
    succeeds
    run "$DDPM" distill run --out few
    succeeds
    grep -q '"coordinates": true' few/config.json
}
