# What the program says to somebody who is new to it: mistakes in the command line, paths that do not exist, too little
# room, and stopping early.
load "$DDPM_SUPPORT"

setup_file() {
    cd "$BATS_FILE_TMPDIR"
    make_pictures pictures
    make_run run pictures 2
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    pictures=$BATS_FILE_TMPDIR/pictures
    model=$BATS_FILE_TMPDIR/run
}

teardown() {
    ! mountpoint -q "$BATS_TEST_TMPDIR/disk" 2>/dev/null || umount "$BATS_TEST_TMPDIR/disk"
}

# hints TEXT: there is exactly one hint, and it is TEXT.
hints() {
    [ "$(grep '^  hint: ' <<<"$output")" = "  hint: $1" ] || { echo "want the hint \"$1\": $output"; return 1; }
}

@test "wrong usage points to the help of its own verb" {
    run "$DDPM" sample run
    fails 2 "option --out DIR is missing: the folder for the pictures"
    hints "see ddpm sample --help"
    run "$DDPM" trian
    fails 2 '"train"'
    hints "see ddpm --help"
}

@test "a letter with two dashes, and letters in errors" {
    run "$DDPM" sample run --out drawn --n 4
    fails 2 "unknown option --n, want -n or --count"
    run "$DDPM" train --q
    fails 2 "unknown option --q, want -q or --quiet"
    run "$DDPM" sample run --out drawn -n 0
    fails 2 'option -n (--count): got "0"'
    run "$DDPM" sample run --out drawn --count 0
    fails 2 'option --count: got "0"'
}

@test "data that is a single picture, or an empty folder" {
    run "$DDPM" train --data "$pictures/000000.png" --out new "${TINY[@]}"
    fails 1 "000000.png: got a single picture, want a folder of pictures"
    mkdir empty
    run "$DDPM" train --data empty --out new "${TINY[@]}"
    fails 1 "empty: no pictures found, want files that end in .jpg"
    [ ! -e new ]
}

@test "resuming: no run given, a folder that does not exist, a run that is finished" {
    run "$DDPM" train --resume --data "$pictures"
    fails 2 "option --resume: got no run, want --resume RUN"
    mkdir -p runs/first
    run "$DDPM" train --resume runs/frist
    fails 1 'runs/frist: no run to resume: there is no such folder; the nearest is "first"'
    run "$DDPM" train --resume runs/first
    fails 1 "runs/first: no run to resume (no config.json)"
    mkdir stuff
    echo mine > stuff/notes
    run "$DDPM" train --resume stuff
    fails 1 "stuff: no run to resume (no config.json), but other files; want the folder of a run, or another one"
    run "$DDPM" train --data "$pictures" --out stuff
    fails 1 "stuff: this folder is not empty, and what it has is not a run; a new run needs another folder"
    cp -r "$model" done
    run "$DDPM" train --resume done
    succeeds
    says "done has all its 2 steps; --steps N trains on"
}

@test "a model that does not exist, and a run without a best checkpoint" {
    cp -r "$model" model
    run "$DDPM" sample modle --out drawn
    fails 1 'modle: no such run, checkpoint or file; the nearest is "model"'
    run "$DDPM" sample model/checkpoints/best --out drawn
    fails 1 "model/checkpoints/best: no such checkpoint: the run has not measured a validation loss"
    hints "model/checkpoints/latest is the newest checkpoint"
    [ ! -e drawn ]
}

@test "too little memory: the hint is what to type" {
    (ulimit -v 2000000 && "$DDPM" --version > /dev/null 2>&1) || skip "the program does not start in little memory"
    run bash -c 'ulimit -v 2000000; export MALLOC_ARENA_MAX=2; "$DDPM" train "$@"' _ --data "$pictures" --out new \
        "${TINY[@]}" --image-size 256 --dim 16 --batch-size 64
    fails 1 "not enough memory to start" "would fit"
    says "  hint: --batch-size " " --accumulate " " trains the same in less memory"
    read -r batch accumulate < <(sed -n 's/.*--batch-size \([0-9]*\) --accumulate \([0-9]*\).*/\1 \2/p' <<<"$output")
    [ $((batch * accumulate)) -eq 64 ]
    [ ! -e new ]
}

@test "a disk too small for one checkpoint is an error before the first step" {
    mkdir disk
    mount -t tmpfs -o size=100k tmpfs disk 2>/dev/null || skip "may not mount a tmpfs"
    run "$DDPM" train --data "$pictures" --out disk/runs/new "${TINY[@]}" --dim 32 --steps 2
    fails 1 "disk/runs/new: no room for a checkpoint, which takes" "are free on the disk"
    [ -z "$(ls disk)" ]
}

@test "a disk too small for all checkpoints: a warning, and what to do when it is full" {
    mkdir disk
    mount -t tmpfs -o size=3m tmpfs disk 2>/dev/null || skip "may not mount a tmpfs"
    run "$DDPM" train --data "$pictures" --out disk/run "${TINY[@]}" --steps 1000 --sample-every 0 --save-every 1 \
        --keep 0
    fails 1 "warning: disk/run: the run keeps up to 1000 checkpoints of" "No space left"
    says "  hint: a checkpoint takes " "make room, then ddpm train --resume disk/run"
}

@test "beside those that --keep keeps, the disk must hold a new checkpoint and an older best one" {
    mkdir disk
    mount -t tmpfs -o size=3m tmpfs disk 2>/dev/null || skip "may not mount a tmpfs"
    make_pictures many 210
    run "$DDPM" train --data many --out disk/run "${TINY[@]}" --steps 1000 --sample-every 0 --save-every 1 --keep 8 \
        --validate-every 1000
    fails 1 "warning: disk/run: the run keeps up to 10 checkpoints of"
}

@test "a folder named like a picture is refused" {
    run "$DDPM" sample "$model" --out out.PNG -n 1
    fails 2 "option --out: got out.PNG, want a folder for the pictures"
    [ ! -e out.PNG ]
    mkdir folder.png
    run "$DDPM" sample "$model" --out folder.png -n 1
    succeeds
}

@test "drawing that is stopped says how far it came, and leaves no empty folder" {
    start_job "$DDPM" sample "$model" --out drawn -n 256 --batch 256 --image-size 32
    wait_for grep -q "^sampling" errors
    kill -INT "$pid"
    job_ends 130
    grep -q "^stopped, drew 0 of 256 pictures" errors
    [ ! -e drawn ]
}

@test "few pictures: a line says so, and why nothing is held out" {
    run "$DDPM" train --data "$pictures" --out few "${TINY[@]}" --steps 1 --sample-every 0
    succeeds
    says "only a few pictures: a model may learn them by heart" \
        "held out  none (fewer than 200 pictures), so there will be no checkpoints/best; see --validation"
    run "$DDPM" info "$pictures"
    says "to train    only a few pictures"
}

@test "bad pictures: one summary, after all that are found at the start" {
    cp -r "$pictures" pictures
    : > pictures/empty.png
    head -c 400 pictures/000000.png > pictures/cut.png
    run "$DDPM" train --data pictures --out new "${TINY[@]}" --steps 1 --sample-every 0
    succeeds
    says "pictures/empty.png: the file is empty" "pictures/cut.png: PNG: truncated"
    [ "$(grep -c 'cannot be read and are skipped' <<<"$output")" -eq 1 ]
    says "2 of 14 pictures cannot be read and are skipped"
}

@test "one number for the memory, and with --verbose what it is for" {
    run "$DDPM" train --data "$pictures" --out short "${TINY[@]}" --steps 1
    succeeds
    grep -Eq '^memory    [0-9.]+ [kMG]B planned$' <<<"$output"
    run "$DDPM" train --data "$pictures" --out long "${TINY[@]}" --steps 1 --verbose
    succeeds
    says "planned: activations" "packed weights" "more while samples are drawn"
}

@test "a run that would take days on a CPU says what takes minutes" {
    start_job "$DDPM" train --data "$pictures" --out long "${TINY[@]}" --steps 1000000000 --sample-every 0
    wait_for grep -q "^run  " errors
    kill -INT "$pid"
    job_ends 130
    grep -q "this takes many hours on a CPU; for a quick first result, try --dim 32 --recipe fast --time 10m" errors
    run "$DDPM" train --data "$pictures" --out short "${TINY[@]}" --steps 1 --sample-every 0
    succeeds
    [ "$(grep -c "hours on a CPU" <<<"$output")" -eq 0 ]
}

@test "info: how far a run is, that it has no best, and the options that are not the defaults" {
    run "$DDPM" info "$model"
    succeeds
    says "saved       step 2 of 2, finished" "best        none" "network     TwoResUNet" "  dim                 8"
    [ "$(grep -c "^  theta " <<<"$output")" -eq 0 ]
    [ "${#lines[@]}" -le 60 ]
    run "$DDPM" info "$model" --verbose
    says "  theta               10000" "  dim                 8"
    "$DDPM" sample "$model" --out drawn -n 3 --quiet
    run "$DDPM" info drawn
    says "pictures    3, " # without the grid
}
