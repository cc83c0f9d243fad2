# Sampling: files, seeds, trajectories, invalid input.
load "$DDPM_SUPPORT"

setup_file() {
    make_pictures "$BATS_FILE_TMPDIR/pictures"
    make_run "$BATS_FILE_TMPDIR/run" "$BATS_FILE_TMPDIR/pictures" 200
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    model=$BATS_FILE_TMPDIR/run
    weights=$model/checkpoints/latest/model.safetensors
}

@test "pictures, a grid and the metadata to draw them again" {
    run "$DDPM" sample "$model" --out drawn -n 3 --seed 5
    succeeds
    says "drew 3 pictures in "
    grep -Eq ' s: (none empty|[0-9] saturated); with ' <<<"$output" # none is black, white or of one colour
    [ "$(ls drawn | tr '\n' ' ')" = "0000.png 0001.png 0002.png grid.png " ]
    run "$DDPM" info drawn/0002.png
    says "ddpm:picture: 2" "ddpm:seed: 5" "ddpm:step: 200" "ddpm:weights: ema" "ddpm:clip: on" "ddpm:config:" "ddpm:model:"
    run "$DDPM" sample "$model" --out again -n 1 --first 2 --seed 5
    succeeds
    cmp drawn/0002.png again/0002.png
}

@test "a drawn picture does not give away where the training pictures are" {
    "$DDPM" synth --out aside --count 4 --size 16 --seed 9 2>/dev/null
    make_run run "$BATS_FILE_TMPDIR/pictures" 2 --validation aside
    grep -q "$PWD/aside" run/config.json
    "$DDPM" sample run --out drawn -n 1 2>/dev/null
    run "$DDPM" info drawn/0000.png
    succeeds
    says '"validation": "auto"'
    [[ "$output" != *"$PWD"* && "$output" != *"$BATS_FILE_TMPDIR"* ]]
}

@test "empty pictures are counted" {
    # Weights ruined by one step of lr 100: their predictions are clipped.
    make_run run "$BATS_FILE_TMPDIR/pictures" 1 --lr 100
    run "$DDPM" sample run --out drawn -n 20 --weights model
    succeeds
    says "drew 20 pictures in "
    grep -Eq ' s: [0-9]+ (black|white|of one colour|saturated)' <<<"$output"
}

@test "a picture is the same in any batch" {
    "$DDPM" sample "$model" --out a -n 5 --batch 5 2>/dev/null
    "$DDPM" sample "$model" --out b -n 5 --batch 2 --threads 2 2>/dev/null
    for k in 0 1 2 3 4; do
        cmp a/000$k.png b/000$k.png
    done
    "$DDPM" sample "$model" --out c -n 1 --seed 1 2>/dev/null
    differ a/0000.png c/0000.png
}

@test "runs, checkpoints and bare weights; EMA and raw" {
    "$DDPM" sample "$model" --out a -n 1 --weights model 2>/dev/null
    "$DDPM" sample "$model/checkpoints/step-000200" --out b -n 1 --weights model 2>/dev/null
    "$DDPM" sample "$weights" --config "$model/config.json" --out c -n 1 2>/dev/null
    "$DDPM" sample "$model" --out d -n 1 2>/dev/null
    "$DDPM" pack a --out a.npy --size 16 2>/dev/null
    "$DDPM" pack b --out b.npy --size 16 2>/dev/null
    "$DDPM" pack c --out c.npy --size 16 2>/dev/null
    "$DDPM" pack d --out d.npy --size 16 2>/dev/null
    cmp a.npy b.npy
    cmp a.npy c.npy
    differ a.npy d.npy
}

@test "another size, clipping off" {
    run "$DDPM" sample "$model" --out a -n 1 --image-size 8x24 --clip off
    succeeds
    run "$DDPM" info a/0000.png
    says "ddpm:image-size: 8x24" "ddpm:clip: off"
    run "$DDPM" sample "$model" --out b -n 1 --image-size 15
    fails 2 "14x14 and 16x16"
    [ ! -e b ]
}

# width_of FOLDER: of its first PNG, from the header.
width_of() {
    local file
    file=$(ls "$1"/*.png | head -1)
    echo $((16#$(od -An -tx1 -j 16 -N 4 "$file" | tr -d ' \n')))
}

@test "the trajectory as a file and as a folder" {
    run "$DDPM" sample "$model" --out a -n 2 --trajectory chain.png --every 3
    succeeds
    grep -qa acTL chain.png
    [ "$(grep -ao fcTL chain.png | wc -l)" -eq 4 ]
    run "$DDPM" sample "$model" --out b -n 2 --trajectory chain --every 3
    succeeds
    [ "$(ls chain | wc -l)" -eq 4 ]
    run "$DDPM" sample "$model" --out c -n 2 --trajectory large --every 3 --scale 2
    succeeds
    [ "$(width_of large)" -eq $((2 * $(width_of chain))) ]
    run "$DDPM" sample "$model" --out d -n 2 --trajectory large.png --every 3 --scale 2
    succeeds
    grep -qa acTL large.png
}

@test "nothing is overwritten without --force" {
    mkdir drawn && echo precious > drawn/0000.png
    run "$DDPM" sample "$model" --out drawn -n 1
    fails 1 "not empty" "--force"
    [ "$(cat drawn/0000.png)" = precious ]
    run "$DDPM" sample "$model" --out drawn -n 1 --force
    succeeds
    echo text > file
    run "$DDPM" sample "$model" --out file -n 1
    fails 1 file
}

@test "files that are not models" {
    run "$DDPM" sample missing --out a
    fails 1 missing
    mkdir empty
    run "$DDPM" sample empty --out a
    fails 1 empty
    run "$DDPM" sample "$weights" --out a
    fails 2 --config
    run "$DDPM" sample "$model" --config "$model/config.json" --out a
    fails 2 --config
    run "$DDPM" sample "$model" --out a --weights best
    fails 2 "ema or model"
    for value in 0 -1 x 99999999999999999999; do
        run "$DDPM" sample "$model" --out a -n "$value"
        fails 2 "--count"
    done
    [ ! -e a ]
}

@test "files that are something else are named" {
    cp "$BATS_FILE_TMPDIR/pictures/000000.png" photo.png
    : > nothing
    while IFS='|' read -r file what; do
        run "$DDPM" sample "$file" --out a
        fails 1 "$file: got $what, want a run, a checkpoint, or a .safetensors file with --config FILE.json"
    done <<END
photo.png|a picture
nothing|an empty file
$model/config.json|a configuration or other JSON
$model/log.csv|a log of ddpm train
END
    [ ! -e a ]
}

@test "the array may be in the folder of the pictures" {
    run "$DDPM" sample "$model" --out new -n 1 --array new/x.npy
    succeeds
    [ "$(ls new | tr '\n' ' ')" = "0000.png grid.png x.npy " ]
}

@test "animations are PNG: other names of pictures and films are refused" {
    for name in chain.gif chain.mp4 chain.jpg; do
        run "$DDPM" sample "$model" --out a --trajectory $name
        fails 2 "option --trajectory: got $name, want FILE.png"
        run "$DDPM" sample "$model" --out $name --interpolate 1,2
        fails 2 "option --out: got $name, want a folder"
    done
    [ ! -e a ]
}

@test "a trajectory that cannot be written is named" {
    run "$DDPM" sample "$model" --out a -n 2 --trajectory missing/chain.png
    fails 1 missing/chain.png "No such file"
}

@test "SIGINT leaves no half-written files" {
    start_job "$DDPM" sample "$model" --out drawn -n 1000000 --trajectory chain.png
    wait_for test -e drawn/0000.png
    kill -INT "$pid"
    job_ends 130
    [ -z "$(ls -A . drawn | grep tmp)" ]
}
