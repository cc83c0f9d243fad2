# What a network learns to predict (--objective): training, drawing, resuming, and options that do not fit.
load "$DDPM_SUPPORT"

setup_file() {
    make_pictures "$BATS_FILE_TMPDIR/pictures"
    for objective in noise x0 v flow edm; do
        make_run "$BATS_FILE_TMPDIR/$objective" "$BATS_FILE_TMPDIR/pictures" 3 --objective $objective
    done
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    pictures=$BATS_FILE_TMPDIR/pictures
    runs=$BATS_FILE_TMPDIR
}

# train OPTION…: a run `new` of one step.
train() {
    run "$DDPM" train --data "$pictures" --out new "${TINY[@]}" --steps 1 --sample-every 0 "$@"
}

@test "every objective trains, is reported, and draws" {
    for objective in noise x0 v flow edm; do
        grep -q "\"objective\": \"$objective\"" "$runs/$objective/config.json"
        [ "$(rows "$runs/$objective")" -eq 3 ]
        run "$DDPM" info "$runs/$objective" --verbose
        succeeds
        says "memory      " " to train on CPU"
        grep -Eq "^ +objective +$objective$" <<<"$output"
        run "$DDPM" sample "$runs/$objective" --out $objective -n 2
        succeeds
        case $objective in
        flow) says "with dpmpp, 20 steps, trailing" ;;
        edm) says "with dpmpp, 20 steps, karras" ;;
        *) says "with dpmpp, 10 steps, karras" ;;
        esac
        [ "$(ls $objective | tr '\n' ' ')" = "0000.png 0001.png grid.png " ]
    done
    differ v/0000.png x0/0000.png
    differ flow/0000.png edm/0000.png
}

@test "pictures are drawn while training, and every objective has its trajectory" {
    for objective in v flow edm; do
        rm -rf new
        train --objective $objective --sample-every 1
        succeeds
        [ -s new/samples/step-000001.png ]
        run "$DDPM" sample "$runs/$objective" --out $objective -n 1 --sampler ddim --eta 1 --sampling-steps 12 \
            --trajectory chain-$objective --every 4
        succeeds
        [ "$(ls chain-$objective | tr '\n' ' ')" = "000000-t000008.png 000001-t000004.png 000002-t000000.png " ]
    done
}

@test "a run resumes with its own objective, and with no other" {
    for objective in noise x0 v flow edm; do
        cp -r "$runs/$objective" $objective
        run "$DDPM" train --resume $objective --steps 4 --sample-every 0
        succeeds
        [ "$(newest $objective)" -eq 4 ]
        other=v
        [ $objective != v ] || other=flow
        run "$DDPM" train --resume $objective --steps 5 --objective $other
        fails 1 "cannot resume: objective is $objective in the checkpoint and $other now"
        [ "$(newest $objective)" -eq 4 ]
    done
    run "$DDPM" train --resume v --steps 5 --loss-weight min-snr
    fails 1 "loss-weight is none in the checkpoint and min-snr now"
    run "$DDPM" train --resume flow --steps 5 --shift 3
    fails 1 "shift is 1 in the checkpoint and 3 now"
}

@test "sigma-data is measured once and kept" {
    npy halves.npy '|u1' '4, 16, 16, 3' 3072 377
    printf '\000%.0s' {1..1536} | dd of=halves.npy bs=1 seek=128 conv=notrunc 2>/dev/null
    run "$DDPM" train --data halves.npy --out half "${TINY[@]}" --steps 1 --sample-every 0 --objective edm
    succeeds
    grep -q '"sigma_data": 1.0,' half/config.json
    grep -q '"sigma-data": "1"' half/checkpoints/latest/state.json
    measured=$(sed -n 's/.*"sigma_data": \(0\.[0-9]*\),/\1/p' "$runs/edm/config.json")
    [ -n "$measured" ]
    cp -r "$runs/edm" edm
    "$DDPM" train --resume edm --steps 4 --sample-every 0
    grep -q "\"sigma_data\": $measured," edm/config.json
    run "$DDPM" train --resume edm --steps 5 --sigma-data 0.5
    fails 1 "sigma-data is $measured in the checkpoint and 0.5 now"
    train --objective edm --sigma-data 0.5
    succeeds
    grep -q '"sigma_data": 0.5,' new/config.json
    grep -q '"sigma_data": 0.0,' "$runs/v/config.json"
}

@test "pictures of one colour have no deviation" {
    npy black.npy '|u1' '4, 16, 16, 3' 3072
    run "$DDPM" train --data black.npy --out new "${TINY[@]}" --steps 1 --sample-every 0 --objective edm
    fails 1 "the same single colour" "option sigma-data"
    [ ! -e new ]
    run "$DDPM" train --data black.npy --out new "${TINY[@]}" --steps 1 --sample-every 0 --objective edm --sigma-data 0.5
    succeeds
}

@test "training and drawing with loss weights, shift, zero terminal SNR and offset noise" {
    train --objective v --zero-terminal-snr on --loss-weight min-snr --offset-noise 0.1 --shift 2
    succeeds
    for sampler in ancestral ddim heun dpmpp dpmpp-sde unipc; do
        run "$DDPM" sample new --out $sampler -n 1 --sampler $sampler --sampling-steps 5
        succeeds
    done
    rm -r new
    train --objective flow --flow-times logit-normal --shift 3 --loss-weight soft-min-snr
    succeeds
    grep -q '"flow_times": "logit-normal"' new/config.json
    run "$DDPM" sample new --out flow -n 1
    succeeds
}

@test "options that do not fit together are an error, and nothing is written" {
    while IFS='|' read -r options words; do
        train $options
        fails 2 "$words"
        [ ! -e new ]
    done <<'END'
--zero-terminal-snr on|option zero-terminal-snr: got on with objective noise
--objective flow --zero-terminal-snr on|got on with objective flow, which uses no schedule; want objective v or x0
--objective edm --zero-terminal-snr on|got on with objective edm, which uses no schedule; want objective v or x0
--objective edm --sigma-min 90|option sigma-min: got 90, want less than sigma-max, which is 80
--objective flow --sampler ancestral|objective flow has none; use sampler ddim with eta 1
--objective edm --sampler ancestral|objective edm has none; use sampler ddim with eta 1
--objective velocity|option objective: got "velocity", want noise, x0, v, flow or edm
--loss-weight snr|option loss-weight: got "snr"
--shift 0|option shift: got "0"
END
    for objective in flow edm; do
        run "$DDPM" sample "$runs/$objective" --out drawn -n 1 --sampler ancestral
        fails 2 "sampler ancestral needs the timesteps of a schedule" "use sampler ddim with eta 1"
        [ ! -e drawn ]
    done
    # A configuration that was never trained with has no sigma-data.
    echo '{"diffusion_config": {"objective": "edm", "image_size": 16, "timesteps": 20},
           "unet_config": {"model_mapping": "TwoResUNet", "input": 8, "dim_mults": [1, 2]}}' > bare.json
    run "$DDPM" sample "$runs/edm/checkpoints/latest/model.safetensors" --config bare.json --out drawn -n 1
    fails 2 "option sigma-data: got 0 with objective edm"
    [ ! -e drawn ]
}

@test "predict takes the times of the model's objective" {
    npy x.npy '<f4' '1, 3, 16, 16' 3072
    npy t.npy '<f4' '1,' 4
    for time in '\000\000\000\277' '\000\000\240\101'; do # -0.5 and 20
        printf "$time" | dd of=t.npy bs=1 seek=128 conv=notrunc 2>/dev/null
        for objective in v flow edm; do
            run "$DDPM" predict "$runs/$objective" -i x.npy -t t.npy -o y.npy
            case "$objective $time" in
            edm*|flow*101) succeeds ;;
            v*) fails 1 "want 0 to 19" ;;
            flow*) fails 1 "got -0.5 at position 0, want 0 to 20" ;;
            esac
        done
    done
}

@test "bench times a step of every objective, with pictures and without" {
    for objective in v flow edm; do
        for more in "" --sampling "--data $pictures"; do
            run "$DDPM" bench "${TINY[@]}" --objective $objective --repeats 1 $more
            succeeds
            says "step of 4 pictures"
        done
    done
}
