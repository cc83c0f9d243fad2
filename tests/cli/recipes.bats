# Recipes, and the averages of the weights that they keep.
bats_require_minimum_version 1.5.0
load "$DDPM_SUPPORT"

setup_file() {
    cd "$BATS_FILE_TMPDIR"
    make_pictures pictures
    make_run run pictures 8 --recipe fast --warmup 2 --save-every 2 --keep 0
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    ln -s "$BATS_FILE_TMPDIR"/{pictures,run} .
}

@test "a recipe sets its options, wherever it appears; options given with it win" {
    make_run first pictures 3 --recipe fast --lr 0.5 --warmup 1
    make_run last pictures 3 --lr 0.5 --warmup 1 --recipe fast
    grep -v ddpm_version first/config.json > a
    grep -v ddpm_version last/config.json > b
    cmp a b
    grep -q '"recipe": "fast"' a
    grep -q '"objective": "v"' a
    grep -q '"train_lr": 0.5' a
    cmp first/checkpoints/latest/ema.safetensors last/checkpoints/latest/ema.safetensors
}

@test "a recipe wins over a file, and a run resumes with its own recipe" {
    echo '{"trainer_config": {"train_lr": 0.25, "ema_every": 3}}' > own.json
    make_run new pictures 3 --config own.json --recipe fast --warmup 1
    grep -q '"train_lr": 0.002' new/config.json
    make_run new pictures 4 --resume
    grep -q '"recipe": "fast"' new/config.json
    run "$DDPM" train --resume new --recipe article --steps 5
    fails 1 "cannot resume: "
}

@test "a run keeps its values if it is resumed with its own recipe, whose values may have changed" {
    make_run new pictures 3 --recipe fast --warmup 1 --lr 0.25 --dim-mults 1,2
    run "$DDPM" train --out new --resume --recipe fast --steps 4
    succeeds
    grep -q '"train_lr": 0.25' new/config.json
    run "$DDPM" train --out new --resume --recipe fast --steps 40 --lr 0.125
    succeeds
    grep -q '"train_lr": 0.125' new/config.json
    grep -q '"warmup": 1' new/config.json
    # The recipe still wins over a file.
    echo '{"trainer_config": {"train_lr": 0.5, "ema_every": 3}}' > own.json
    run "$DDPM" train --out new --resume --recipe best --recipe fast --config own.json --steps 41
    succeeds
    grep -q '"train_lr": 0.125' new/config.json
    run "$DDPM" train --out new --resume --recipe best --steps 42
    fails 1 "cannot resume: dim-mults is 1,2 in the checkpoint and 1,2,2,4 now"
}

@test "a recipe's warm-up is at most a tenth of a short run; a given warm-up stays" {
    make_run short pictures 20 --recipe fast --save-every 20
    grep -q '"warmup": 2' short/config.json
    make_run one pictures 1 --recipe best
    grep -q '"warmup": 0' one/config.json
    make_run long pictures 1001 --recipe fast --save-every 2000
    grep -q '"warmup": 100' long/config.json
    make_run given pictures 20 --recipe fast --warmup 19 --save-every 20
    grep -q '"warmup": 19' given/config.json
    run "$DDPM" train --data pictures --out refused --recipe fast --warmup 100 --steps 100
    fails 2 "option warmup: got 100 with the cosine lr-schedule, want fewer than the 100 steps"
    # The command that started the run can also resume it.
    make_run short pictures 20 --resume --recipe fast --save-every 20
    grep -q '"warmup": 2' short/config.json
}

@test "an unknown recipe names the nearest" {
    run "$DDPM" train --data pictures --out x --recipe bset
    fails 2 'option recipe: got "bset", want article, fast, best or none; the nearest is "best"'
}

@test "the help of train lists what the recipes set" {
    run "$DDPM" train --help-all
    says "fast: for runs of minutes" "--lr-schedule cosine" "options not listed are those of article" "at most a tenth of the steps"
}

@test "ema makes a model that can be drawn from" {
    run "$DDPM" ema run --length 0.15 --out model
    succeeds
    says "average of length 0.15 after step 8, from 4 checkpoints"
    run "$DDPM" sample model --out drawn --count 1 --sampling-steps 2
    succeeds
    run "$DDPM" ema run --length 0.1 --step 6 --out early
    succeeds
    says "after step 6, from 3 checkpoints"
}

@test "ema warns if there are too few checkpoints" {
    run "$DDPM" ema run --length 0.005 --out short
    succeeds
    says "got 4 checkpoints, too few for this length"
}

@test "invalid arguments of ema" {
    run "$DDPM" ema run --length 0.1 --step 5 --out model
    fails 1 "no checkpoint of step 5"
    run "$DDPM" ema run --length 0.5 --out model
    fails 2 "option --length"
    mkdir model
    run "$DDPM" ema run --length 0.1 --out model
    fails 2 "already exists"
    make_run plain pictures 2
    run "$DDPM" ema plain --length 0.1 --out other
    fails 2 "got a run with ema exponential"
    [ ! -e other ]
}

@test "only square pictures are rotated, but such a run draws others" {
    run "$DDPM" train --data pictures --out refused --rotate on --image-size 16x24 --dim 4 --steps 2
    fails 2 "option rotate: got on with pictures of 16x24, want square ones"
    [ ! -e refused ]
    make_run turned pictures 2 --rotate on
    run "$DDPM" sample turned --out wide --count 1 --image-size 16x24
    succeeds
}
