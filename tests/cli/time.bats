# ddpm train --time: as many steps as fit.
load "$DDPM_SUPPORT"

setup() {
    cd "$BATS_TEST_TMPDIR"
    make_pictures pictures
}

small=(--image-size 16 --dim 4 --dim-mults 1,2 --batch-size 4 --timesteps 20 --schedule cosine --sample-every 0 --threads 1)

@test "the number of steps is chosen, and the run equals one with --steps, bit for bit" {
    local seconds=$((${DDPM_TEST_WAIT:-60} / 10)) # 6; more with an emulator
    run "$DDPM" train --data pictures --out timed --time "${seconds}s" --lr-schedule cosine "${small[@]}"
    succeeds
    says "time      " " fit into $(printf %02d:%02d $((seconds / 60)) $((seconds % 60)))" "their number is now fixed" \
        "done, newest checkpoint"
    steps=$(sed -n 's/.*"train_num_steps": \([0-9]*\).*/\1/p' timed/config.json)
    [ "$steps" -ge 10 ]
    [ "$(rows timed)" -eq "$steps" ]
    "$DDPM" train --data pictures --out counted --steps "$steps" --lr-schedule cosine "${small[@]}" 2> said
    for file in model ema optimizer; do
        cmp timed/checkpoints/latest/$file.safetensors counted/checkpoints/latest/$file.safetensors
    done
    "$DDPM" train --resume timed --steps $((steps + 2)) 2> said
    [ "$(rows timed)" -eq $((steps + 2)) ]
}

@test "invalid times and combinations are errors that leave no folder" {
    for time in 5 0m 10x -3m 1m1h 1e3s inf 1.5.5m 'm'; do
        run "$DDPM" train --data pictures --out refused --time "$time" "${small[@]}"
        fails 2
        says "option --time: got \"$time\", want a time such as 90s, 10m, 2h or 1h30m"
    done
    run "$DDPM" train --data pictures --out refused --time "" "${small[@]}"
    fails 2 "option --time: got an empty value"
    run "$DDPM" train --data pictures --out refused --time 5m --steps 4 "${small[@]}"
    fails 2
    says "options --time and --steps: want one of them"
    run "$DDPM" train --data pictures --out refused --time 0.001s "${small[@]}"
    fails 2
    says "option --time: a step takes " " s passed before the first, so 0 fit; want time for 10 at least"
    [ ! -e refused ]
    "$DDPM" train --data pictures --out run --steps 1 "${small[@]}" 2> said
    run "$DDPM" train --resume run --time 5m
    fails 2
    says "option --time: is for new runs"
}
