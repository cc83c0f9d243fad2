# A learned variance from outside: training, info, drawing, resuming, and invalid options.
load "$DDPM_SUPPORT"

setup_file() {
    make_pictures "$BATS_FILE_TMPDIR/pictures"
    make_run "$BATS_FILE_TMPDIR/run" "$BATS_FILE_TMPDIR/pictures" 4 --learned-variance on
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    pictures=$BATS_FILE_TMPDIR/pictures model=$BATS_FILE_TMPDIR/run
}

@test "a run with a learned variance says so, and every sampler draws from it" {
    grep -q '"learned_variance": true' "$model/config.json"
    grep -q '"learned-variance": "on"' "$model/checkpoints/latest/state.json"
    run "$DDPM" info "$model"
    succeeds
    for name in ancestral ddim heun dpmpp dpmpp-sde unipc; do
        run "$DDPM" sample "$model" --out $name -n 1 --sampler $name --sampling-steps 6
        succeeds
    done
    "$DDPM" sample "$model" --array a.npy --out a -n 3 --sampler ancestral --conv direct
    "$DDPM" sample "$model" --array b.npy --out b -n 3 --sampler ancestral --conv direct --batch 2 --threads 2
    cmp a.npy b.npy
}

@test "the output of its network is twice as wide" {
    npy x.npy '<f4' '1, 3, 16, 16' $((3 * 16 * 16 * 4))
    npy t.npy '<i8' '1,' 8
    run "$DDPM" predict "$model" --input x.npy --timesteps t.npy --output y.npy
    succeeds
    head -c 128 y.npy | grep -q '(1, 6, 16, 16)'
}

@test "a run resumes with its variance, but not without it" {
    cp -r "$model" run
    run "$DDPM" train --data "$pictures" --out run --resume --steps 6
    succeeds
    run "$DDPM" train --data "$pictures" --out run --resume --steps 8 --learned-variance off
    fails 1 learned-variance
    make_run plain "$pictures" 2
    grep -q '"learned_variance": false' plain/config.json
    run "$DDPM" train --data "$pictures" --out plain --resume --steps 4 --learned-variance on
    fails 1 learned-variance
}

@test "options that do not fit a learned variance are errors" {
    for objective in x0 v flow edm; do
        run "$DDPM" train --data "$pictures" --out no "${TINY[@]}" --learned-variance on --objective $objective
        fails 2 "option learned-variance" "want objective noise"
    done
    run "$DDPM" train --data "$pictures" --out no "${TINY[@]}" --learned-variance on --out-dim 4
    fails 2 "option out-dim: got 4 with learned-variance, want 0 or 6"
    run "$DDPM" train --data "$pictures" --out no "${TINY[@]}" --learned-variance on --timesteps 1
    fails 2 "option learned-variance: got on with 1 timestep"
    [ ! -e no ]
}

@test "other programs' name for it works too" {
    run "$DDPM" train --data "$pictures" --out run "${TINY[@]}" --steps 1 --sample-every 0 --learn_sigma on
    succeeds
    says "option --learn_sigma is called --learned-variance here"
    grep -q '"learned_variance": true' run/config.json
}
