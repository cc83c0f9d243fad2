# The fitted start: a run stores statistics of its pictures, and drawing begins from them.
load "$DDPM_SUPPORT"

setup_file() {
    make_pictures "$BATS_FILE_TMPDIR/pictures" 120
    make_run "$BATS_FILE_TMPDIR/run" "$BATS_FILE_TMPDIR/pictures" 6 --objective v --save-every 3 --keep 0 --timesteps 1000
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    pictures=$BATS_FILE_TMPDIR/pictures run=$BATS_FILE_TMPDIR/run
    start=$run/checkpoints/latest/start.safetensors
}

@test "a run stores its start once, and drawing uses it with fewer steps" {
    cmp "$start" "$run/checkpoints/step-000003/start.safetensors"
    grep -q '"start.safetensors"' "$run/checkpoints/latest/state.json"
    run "$DDPM" info "$run"
    succeeds
    says "dpmpp, 6 steps, karras, fitted start at " "all files are as state.json says"
    run "$DDPM" sample "$run" --out fitted --array fitted.npy -n 5
    succeeds
    says "6 steps, karras, fitted start at "
    "$DDPM" sample "$run" --out again --array again.npy -n 3 --first 2 --batch 2 2>/dev/null
    cmp <(tail -c $((3 * 3 * 16 * 16 * 4)) fitted.npy) <(tail -c $((3 * 3 * 16 * 16 * 4)) again.npy)
    run "$DDPM" info fitted/0000.png
    says "start" "fitted"
}

@test "noise, other sizes, pictures and a given x start as before" {
    run "$DDPM" sample "$run" --out noise --array noise.npy -n 2 --start noise
    succeeds
    says "10 steps, karras" "drew 2"
    [[ $output != *"fitted"* ]]
    run "$DDPM" sample "$run" --out wide --image-size 16x32 -n 1
    succeeds
    [[ $output != *"fitted"* ]]
    run "$DDPM" sample "$run" --out changed --from "$pictures" --strength 0.5 -n 2
    succeeds
    [[ $output != *"fitted"* ]]
    run "$DDPM" sample "$run" --out between --interpolate 1,2 --frames 3
    succeeds
    [[ $output != *"fitted"* ]]
    run "$DDPM" sample "$run" --out ancestral --sampler ancestral -n 1
    succeeds
    [[ $output != *"fitted"* ]]
    run "$DDPM" sample "$run" --out some --sampler ddim --sampling-steps 5 -n 1
    succeeds
    says "ddim, 5 steps, trailing, fitted start" || says "ddim, 5 steps, karras, fitted start"
}

@test "a start that is not possible is refused" {
    run "$DDPM" sample "$run" --out wide --image-size 16x32 -n 1 --start fitted
    fails 2 "got start fitted, but it only fits pictures of the size that the model was trained on"
    run "$DDPM" sample "$run" --out changed --from "$pictures" -n 1 --start fitted
    fails 2 "got start fitted, but drawing starts from a picture"
    make_run few "$pictures" 1 --start noise
    [ ! -e few/checkpoints/latest/start.safetensors ]
    run "$DDPM" sample few --out drawn -n 1 --start fitted
    fails 2 "got start fitted, but this model has none"
}

@test "a resumed run keeps its start, an older one gets it, and a damaged one is an error" {
    cp -r "$run" resumed
    run "$DDPM" train --resume resumed --steps 8
    succeeds
    cmp "$start" resumed/checkpoints/latest/start.safetensors
    cp -r "$run" old
    rm old/checkpoints/step-*/start.safetensors
    for state in old/checkpoints/step-*/state.json; do
        tr -d '\n' < "$state" | sed 's/,[^,{]*"start.safetensors": {[^}]*}//; s/"start.safetensors": {[^}]*},//' > new
        cp new "$state"
    done
    run "$DDPM" sample old --out drawn -n 1
    succeeds
    [[ $output != *"fitted"* ]]
    run "$DDPM" train --resume old --steps 8
    succeeds
    cmp "$start" old/checkpoints/latest/start.safetensors
    cp -r "$run" damaged
    head -c 1000 "$start" > damaged/checkpoints/step-000006/start.safetensors
    run "$DDPM" sample damaged --out hurt -n 1
    [ "$status" -ne 0 ]
    says "start.safetensors"
}

@test "a distilled model learns and draws from its teacher's start" {
    run "$DDPM" distill "$run" --out quick --steps 2 --threads 1
    succeeds
    cmp "$start" quick/checkpoints/latest/start.safetensors
    grep -q '"drawing_level": ' quick/config.json
    run "$DDPM" sample quick --out drawn -n 1
    succeeds
    says "consistency, 2 steps, few, fitted start at "
    for strength in 0.5 1; do
        run "$DDPM" sample quick --out like --force --from "$pictures" --strength $strength -n 1
        succeeds
    done
    run "$DDPM" sample quick --out drawn --force -n 1 --start noise
    fails 2 "this model was distilled to draw from a fitted start"
    run "$DDPM" distill "$run" --out noise --steps 2 --drawing-level 0 --threads 1
    succeeds
    run "$DDPM" sample noise --out plain -n 1 --start noise
    succeeds
    [[ $output != *"fitted"* ]]
    run "$DDPM" train --data "$pictures" --out wrong "${TINY[@]}" --drawing-level 5
    fails 2 "only ddpm distill"
}
