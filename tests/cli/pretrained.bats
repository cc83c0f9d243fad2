# ddpm train --pretrained: a new run that starts with the weights of a trained model.
load "$DDPM_SUPPORT"

setup_file() {
    make_pictures "$BATS_FILE_TMPDIR/pictures" 120
    make_run "$BATS_FILE_TMPDIR/run" "$BATS_FILE_TMPDIR/pictures" 4 --objective v --timesteps 1000 --schedule sigmoid
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    pictures=$BATS_FILE_TMPDIR/pictures model=$BATS_FILE_TMPDIR/run
    ema=$model/checkpoints/latest/ema.safetensors
}

# still OUT OPTION…: a run of two steps that change no weight.
still() {
    "$DDPM" train --data "$pictures" --out "$@" --steps 2 --batch-size 4 --sample-every 0 --threads 1 --lr 1e-30 \
        --weight-decay 0
}

@test "a run begins with the EMA weights of a run, of a checkpoint, and of a bare file" {
    run still a --pretrained "$model"
    succeeds
    says "starts    from $model" "done, newest checkpoint of step 2"
    same_weights "$ema" a/checkpoints/latest/ema.safetensors
    same_weights "$ema" a/checkpoints/latest/model.safetensors
    run still b --pretrained "$model/checkpoints/step-000004"
    succeeds
    same_weights "$ema" b/checkpoints/latest/ema.safetensors
    run still c --pretrained "$ema" "${TINY[@]}" --objective v --timesteps 1000 --schedule sigmoid
    succeeds
    same_weights "$ema" c/checkpoints/latest/ema.safetensors
}

@test "the network and the diffusion are the model's, also with a recipe; the rest is the run's own" {
    run "$DDPM" train --data "$pictures" --out new --pretrained "$model" --recipe fast --steps 2 --sample-every 0 --seed 9
    succeeds
    grep -q '"objective": "v"' new/config.json
    grep -q '"betas_scheduler": "sigmoid"' new/config.json
    grep -q '"recipe": "fast"' new/config.json
    grep -q '"optimizer": "muon"' new/config.json
    grep -q '"seed": 9' new/config.json
    [ "$(grep -A8 dim_mults new/config.json)" = "$(grep -A8 dim_mults "$model/config.json")" ]
    [ "$(rows new)" -eq 2 ]
}

@test "the start is fitted to the new pictures" {
    "$DDPM" synth --out others -n 120 --size 16 --seed 5 -q
    still same --pretrained "$model" 2> said
    cmp "$model/checkpoints/latest/start.safetensors" same/checkpoints/latest/start.safetensors
    "$DDPM" train --data others --out new --pretrained "$model" --steps 2 --batch-size 4 --sample-every 0 --threads 1 2> said
    grep -q "fitted start" said
    differ "$model/checkpoints/latest/start.safetensors" new/checkpoints/latest/start.safetensors
}

@test "size and objective may change" {
    run still wide --pretrained "$model" --image-size 16x32
    succeeds
    says "of size 16x32"
    run still flow --pretrained "$model" --objective flow
    succeeds
    grep -q '"objective": "flow"' flow/config.json
}

@test "it says which checkpoint it started from, also after it was resumed" {
    still new --pretrained "$model" 2> said
    run "$DDPM" train --resume new --steps 3 --threads 1
    succeeds
    run "$DDPM" info new
    succeeds
    says "starts from " "run/checkpoints/step-000004"
    grep -q '"starts_from": ".*/run/checkpoints/step-000004"' new/config.json
}

@test "a run with --time starts from the model too" {
    run "$DDPM" train --data "$pictures" --out timed --pretrained "$model" --time 4s --lr 1e-30 --weight-decay 0 \
        --batch-size 4 --sample-every 0 --threads 1
    succeeds
    same_weights "$ema" timed/checkpoints/latest/model.safetensors
}

@test "what does not fit is refused, and leaves nothing behind" {
    run still new --pretrained "$model" --dim 16
    fails 2 "option --dim: got 16, but $model has "
    run still new --pretrained "$model" --coordinates on
    fails 2 "option --coordinates: got on, but $model has off"
    run still new --pretrained "$model" --loss-weight uncertainty
    fails 2 "option --loss-weight: got uncertainty, but $model was trained without it and lacks its layer"
    make_run weighed "$pictures" 2 --loss-weight uncertainty
    run still new --pretrained weighed --loss-weight none
    fails 2 "option --loss-weight: got none, but weighed was trained with uncertainty and has a layer for it"
    run still new --pretrained "$ema" "${TINY[@]}" --dim 16
    fails 1 "tensor init_conv.weight: got shape "
    run still new --pretrained nothing
    fails 1 "nothing: no such run, checkpoint or file"
    run still new --pretrained "$pictures"
    fails 1 "$pictures is neither a run with a checkpoint nor a checkpoint"
    run "$DDPM" train --resume "$model" --pretrained "$model"
    fails 2 "option --pretrained: got it with --resume"
    "$DDPM" distill "$model" --out few --steps 1 --threads 1 2> said
    run still new --pretrained few
    fails 2 "few: got a model that is already distilled, to draw in 2 steps"
    [ ! -e new ]
}

@test "damaged weights are refused" {
    cp -r "$model" broken
    chmod -R u+w broken
    printf 'x' | dd of=broken/checkpoints/latest/ema.safetensors bs=1 seek=5000 conv=notrunc status=none
    run still new --pretrained broken
    fails 1 "ema.safetensors"
    run "$DDPM" distill broken --out new --steps 1
    fails 1 "ema.safetensors"
    [ ! -e new ]
}

@test "a user of another trainer is told its name" {
    run still new --finetune-from "$model"
    fails 2 "ddpm train --pretrained MODEL starts with the weights of a trained model"
    run "$DDPM" finetune
    fails 2 "ddpm train --pretrained MODEL"
}
