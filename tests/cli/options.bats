# Values of options and configuration files that make no sense.
load "$DDPM_SUPPORT"

setup_file() {
    make_pictures "$BATS_FILE_TMPDIR/pictures" 4
}

setup() {
    cd "$BATS_TEST_TMPDIR"
}

train() {
    run "$DDPM" train --data "$BATS_FILE_TMPDIR/pictures" --out new "${TINY[@]}" --steps 1 --sample-every 0 "$@"
}

@test "negative, zero, huge and non-numeric options" {
    for option in dim channels timesteps batch-size accumulate steps lr ema-every num-samples prefetch; do
        for value in -1 0 99999999999999999999999 abc nan "" 1e999; do
            [ "$option$value" != lr99999999999999999999999 ] || continue
            train --"$option" "$value"
            fails 2 "option $option: got \"$value\", want "
            [ ! -e new ]
        done
    done
    for option in warmup save-every sample-every keep seed threads weight-decay max-grad-norm; do
        for value in -1 99999999999999999999999 abc nan ""; do
            train --"$option" "$value"
            fails 2 "option $option: got \"$value\", want "
        done
    done
}

@test "names that do not exist" {
    train --network UNet
    fails 2 'got "UNet", want OneResUNet, TwoResUNet or AttentionUNet'
    train --schedule quadratic
    fails 2 "linear, cosine or sigmoid"
    train --loss l3
    fails 2 "l2 or l1"
    train --clip maybe
    fails 2 "off or on"
    train --precision fp8
    fails 2 "auto, fp32 or bf16"
    train --device tpu
    fails 2 "cuda:N"
}

@test "sizes and levels" {
    train --image-size 17
    fails 2 "17x17" "16x16 and 18x18"
    train --image-size 16x
    fails 2 "image-size"
    train --dim-mults 1,2,4,8,16,32,64,128,256
    fails 2 "1 to 8 integers"
    train --dim 7
    fails 2 "even"
}

@test "invalid schedules" {
    train --schedule linear --timesteps 20
    fails 2 "at least 21"
    train --schedule sigmoid --sigmoid-start 3
    fails 2 "sigmoid-start"
    train --schedule sigmoid --sigmoid-tau 0
    fails 2 "sigmoid-tau"
}

@test "a device that does not exist" {
    train --device cuda:77
    [ "$status" -eq 1 ]
    [ ! -e new ]
}

@test "the article's configuration file is accepted; the command line wins" {
    cat > article.json <<'J'
{"model_name": "oneres_128_1",
 "trainer_config": {"train_batch_size": 16, "train_lr": 1e-4, "train_num_steps": 100000,
                    "save_and_sample_every": 1000, "num_samples": 4},
 "unet_config": {"model_mapping": "OneResUNet", "input": 64, "batch_size": 16, "dim_mults": [1,2,4,8], "channels": 3},
 "diffusion_config": {"timesteps": 1000, "betas_scheduler": "linear", "image_size": 128}}
J
    train --config article.json
    succeeds
    run "$DDPM" info new --verbose
    says OneResUNet oneres_128_1
    [[ "$output" =~ dim\ +8 ]]
    [[ "$output" =~ save-every\ +1000 ]]
}

@test "bad configuration files" {
    check() {
        printf '%s' "$1" > bad.json
        shift
        train --config bad.json
        fails 1 bad.json "$@"
        [ ! -e new ]
    }
    check '' "not valid JSON"
    check '{"unet_config": {' "not valid JSON"
    check '[1]' "want an object"
    check '{"unet_confg": {}}' unet_config
    check '{"unet_config": {"inputs": 64}}' '"input"'
    check '{"unet_config": {"input": "64"}}' "got a string"
    check '{"unet_config": {"input": -64}}' 'got "-64"'
    check '{"trainer_config": {"train_lr": 1e999}}' "not valid JSON"
    check '{"diffusion_config": {"image_size": [1,2,3]}}' image_size
    check '{"unet_config": {"batch_size": 8}, "trainer_config": {"train_batch_size": 16}}' batch_size
    head -c 1000 /dev/urandom > bad.json
    train --config bad.json
    fails 1 bad.json
    train --config missing.json
    fails 1 missing.json
    train --config .
    fails 1
}
