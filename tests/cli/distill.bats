# ddpm distill: a model that draws in a few steps, made from a trained one.
load "$DDPM_SUPPORT"

setup_file() {
    make_pictures "$BATS_FILE_TMPDIR/pictures"
    make_run "$BATS_FILE_TMPDIR/run" "$BATS_FILE_TMPDIR/pictures" 32 --objective edm --sampler heun
    "$DDPM" distill "$BATS_FILE_TMPDIR/run" --out "$BATS_FILE_TMPDIR/few" --threads 1 2> "$BATS_FILE_TMPDIR/said"
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    pictures=$BATS_FILE_TMPDIR/pictures teacher=$BATS_FILE_TMPDIR/run few=$BATS_FILE_TMPDIR/few
}

@test "a distilled run has the teacher's options except the documented ones, and 3/16 of its steps" {
    output=$(cat "$BATS_FILE_TMPDIR/said")
    says "starts    from $teacher, to draw in 2 steps" "done, newest checkpoint of step 6 in $few"
    grep -q '"drawing_steps": 2' "$few/config.json"
    grep -q '"objective": "edm"' "$few/config.json"
    grep -q '"sampler": "auto"' "$few/config.json"
    grep -q '"drawing-steps": "2"' "$few/checkpoints/latest/state.json"
    [ "$(rows "$few")" -eq 6 ]
    differ "$teacher/checkpoints/latest/ema.safetensors" "$few/checkpoints/latest/ema.safetensors"
    run "$DDPM" info "$few"
    succeeds
    says "draws with  consistency, 2 steps, few"
    run "$DDPM" info "$teacher"
    succeeds
    says "draws with  heun, 18 steps"
}

@test "it draws in one, two and four steps, the same pictures in every batch" {
    for steps in 1 2 4; do
        "$DDPM" distill "$teacher" --out few-$steps --drawing-steps $steps --steps 2 --threads 1 2> said
        run "$DDPM" sample few-$steps --out drawn-$steps --array $steps.npy -n 3
        succeeds
        says "with consistency, $steps step" ", few"
        "$DDPM" sample few-$steps --out again --force --array again.npy -n 3 --batch 2
        cmp $steps.npy again.npy
    done
    differ 1.npy 2.npy
    run "$DDPM" sample few-2 --out other -n 1 --sampling-steps 3
    succeeds
    says "with consistency, 3 steps"
}

@test "a recipe says how the weights are trained; the network and the diffusion stay the teacher's" {
    run "$DDPM" distill "$teacher" --out by-recipe --recipe fast --steps 20 --threads 1
    succeeds
    grep -q '"optimizer": "muon"' by-recipe/config.json
    grep -q '"objective": "edm"' by-recipe/config.json
    grep -q '"drawing_steps": 2' by-recipe/config.json
}

@test "every objective is distilled" {
    for objective in noise x0 v flow; do
        make_run $objective "$pictures" 3 --objective $objective
        run "$DDPM" distill $objective --out few-$objective --steps 3 --threads 1
        succeeds
        run "$DDPM" sample few-$objective --out drawn-$objective -n 1
        succeeds
        says "with consistency, 2 steps"
    done
}

@test "before its first step it equals the teacher's EMA" {
    run "$DDPM" distill "$teacher" --out same --steps 1 --lr 1e-30 --weight-decay 0 --threads 1
    succeeds
    same_weights "$teacher/checkpoints/latest/ema.safetensors" same/checkpoints/latest/model.safetensors
}

@test "resuming gives the bits of a run that never stopped, by distill or train" {
    "$DDPM" distill "$teacher" --out straight --steps 8 --save-every 4 --threads 1 2> said
    for how in "distill $teacher --out run" "distill --resume run" "train --resume run"; do
        rm -rf run
        cp -r straight run
        rm -r run/checkpoints/step-000008
        ln -sfn step-000004 run/checkpoints/latest
        [[ $how == *--resume* ]] || how+=" --resume"
        # shellcheck disable=SC2086
        run "$DDPM" $how
        succeeds
        [[ "$output" != *"starts "* ]] # it goes on
        for file in model ema optimizer; do
            cmp {straight,run}/checkpoints/latest/$file.safetensors
        done
    done
}

@test "grids during distillation are drawn in the model's own steps" {
    run "$DDPM" distill "$teacher" --out new --steps 2 --sample-every 1 --threads 1
    succeeds
    [ -s new/samples/step-000002.png ]
}

@test "other pictures and other options are accepted" {
    make_pictures others 5
    run "$DDPM" distill "$teacher" --out new --data others --steps 2 --lr 3e-4 --batch-size 2 --seed 7 --threads 1
    succeeds
    says "pictures  5 of size 16"
    [ "$(sed -n 2p new/log.csv | cut -d, -f3)" = 0.0003 ]
}

@test "a distilled model cannot be interpolated" {
    for sampler in auto consistency; do
        run "$DDPM" sample "$few" --out between --interpolate 1,2 --sampler $sampler
        fails 2 "option --interpolate: got a distilled model, which adds new noise in every frame"
    done
}

@test "what cannot be distilled is an error with a reason" {
    run "$DDPM" distill nothing --out new
    fails 1 "nothing: no such run, checkpoint or file"
    run "$DDPM" distill "$few" --out new
    fails 2 "got a model that is already distilled, to draw in 2 steps; want one that ddpm train made"
    run "$DDPM" distill "$teacher/checkpoints/latest/ema.safetensors" --out new
    fails 2 "got a file, want the folder of a run or of a checkpoint"
    run "$DDPM" distill "$teacher" --out "$few"
    fails 1 "this folder is not empty; --resume continues the run in it"
    run "$DDPM" distill "$teacher" --out new --drawing-steps 3
    fails 2 "option drawing-steps: got 3, want 1, 2 or 4"
    run "$DDPM" distill "$teacher" --out new --drawing-steps 0
    fails 2 "option --drawing-steps: got 0, want 1, 2 or 4"
    run "$DDPM" distill --out new
    fails 2 "got 0 arguments, want 1: RUN|CHECKPOINT"
    make_run wide "$pictures" 2 --learned-variance on
    run "$DDPM" distill wide --out new
    fails 2 "option drawing-steps: got 2 with learned-variance"
    [ ! -e new ]
}

@test "train does not start a distilled model, and distill does not resume other runs" {
    run "$DDPM" train --data "$pictures" --out new "${TINY[@]}" --drawing-steps 2
    fails 2 "ddpm distill makes such a model from a trained one"
    make_run run "$pictures" 2
    run "$DDPM" distill --resume run
    fails 2 "run: got a run of ddpm train; ddpm train --resume continues it"
    run "$DDPM" train --resume run --drawing-steps 2
    fails 1 "drawing-steps is 0 in the checkpoint and 2 now"
}

@test "a distilled model draws only with its own sampler, which no other model can use" {
    run "$DDPM" sample "$few" --out new --sampler dpmpp
    fails 2 "got sampler dpmpp with a model that was distilled to draw in 2 steps; want sampler consistency"
    run "$DDPM" sample "$few" --array new.npy --from "$pictures" --invert
    fails 2 "got invert with a model that was distilled to draw in 2 steps, want an ordinary one"
    run "$DDPM" sample "$teacher" --out new --sampler consistency
    fails 2 "sampler consistency needs a model made by ddpm distill"
    run "$DDPM" sample "$few" --out near -n 2 --from "$pictures" --strength 0.5
    succeeds
}
