# Training pictures that change during a run.
load "$DDPM_SUPPORT"

setup_file() {
    make_pictures "$BATS_FILE_TMPDIR/pictures" 400
    "$DDPM" pack "$BATS_FILE_TMPDIR/pictures" --out "$BATS_FILE_TMPDIR/packed.npy" --size 16
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    pictures=$BATS_FILE_TMPDIR/pictures
    TINY+=(--start noise) # fitting a start takes seconds under sanitizers
    cp "$BATS_FILE_TMPDIR/packed.npy" packed.npy
}

teardown() {
    if [ -n "${pid:-}" ]; then kill -KILL "$pid" 2>/dev/null || true; fi
}

# start DATA [OPTION…]: start a long run and wait for its first step.
start() {
    rm -f errors # from the run before: do not mistake its lines for new ones
    "$DDPM" train --data "$@" --out run "${TINY[@]}" --steps 100000000 --save-every 0 --sample-every 0 2> errors &
    pid=$!
    wait_for grep -q "^step 1/" errors
}

# ended CODE TEXT…: check that the run ended with this code and text.
ended() {
    status=0
    wait "$pid" || status=$?
    pid=
    output=$(cat errors)
    fails "$@"
}

# good: check that the run has a complete checkpoint for the last row of its log.
good() {
    run "$DDPM" info run/checkpoints/latest
    succeeds
    step=$(readlink run/checkpoints/latest)
    [ "$(tail -1 run/log.csv | cut -d, -f1)" -eq "$((10#${step#step-}))" ]
}

@test "a packed file that is cut short ends the run with a checkpoint" {
    for size in 5000 128 0; do
        rm -rf run
        cp "$BATS_FILE_TMPDIR/packed.npy" packed.npy
        start packed.npy
        truncate -s $size packed.npy
        ended 1 packed.npy "cut short"
        good
        grep -q "^saved step" errors
    done
    # With the complete file the run continues.
    cp "$BATS_FILE_TMPDIR/packed.npy" packed.npy
    run "$DDPM" train --resume --out run --steps $(newest run)
    succeeds
}

@test "a packed file that is cut short under random crops" {
    start packed.npy --image-size 8 --crop random
    truncate -s 5000 packed.npy
    ended 1 packed.npy "cut short"
    good
}

@test "a packed file that is deleted or replaced does not matter; one that is written over does" {
    start packed.npy
    "$DDPM" pack "$pictures" --out other.npy --size 16 --crop random 2>/dev/null || cp packed.npy other.npy
    rm packed.npy
    sleep 0.3
    echo text > new.npy && mv new.npy packed.npy
    sleep 0.3
    kill -TERM "$pid"
    wait "$pid" && code=0 || code=$?
    pid=
    [ "$code" -eq 143 ]
    good

    rm -rf run
    cp "$BATS_FILE_TMPDIR/packed.npy" packed.npy
    start packed.npy
    sleep 0.02
    head -c 300000 /dev/zero | dd of=packed.npy bs=1000 seek=1 conv=notrunc 2>/dev/null
    ended 1 packed.npy "written to"
    good
}

@test "a packed file that is touched or grows can still be used" {
    start packed.npy
    sleep 0.02
    touch packed.npy
    sleep 0.2
    echo more >> packed.npy
    sleep 0.2
    kill -TERM "$pid"
    wait "$pid" && code=0 || code=$?
    pid=
    [ "$code" -eq 143 ]
    good
}

@test "pictures of a folder that vanish or are replaced are replaced by others" {
    cp -r "$pictures" folder
    start folder --crop random
    rm folder/00000[0-9].png
    echo text > folder/000010.png
    wait_for grep -q "skipped: .*000010.png" errors
    sleep 0.2
    kill -TERM "$pid"
    wait "$pid" && code=0 || code=$?
    pid=
    [ "$code" -eq 143 ]
    grep -q "skipped: .*No such file" errors
    good
}

@test "a folder of pictures that is gone ends the run with a checkpoint" {
    cp -r "$pictures" folder
    start folder --crop random
    mv folder elsewhere
    ended 1 folder "cannot be read"
    good
    mv elsewhere folder
    run "$DDPM" train --resume --out run --steps $(newest run)
    succeeds
}

@test "a grid that cannot be written ends the run with a checkpoint" {
    "$DDPM" train --data "$pictures" --out run "${TINY[@]}" --steps 100000000 --save-every 0 --sample-every 50 2> errors &
    pid=$!
    wait_for test -e run/samples/step-000050.png
    rm -r run/samples
    echo text > run/samples
    ended 1 samples
    good
}
