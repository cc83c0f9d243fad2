# Standard streams that are closed, broken or full: the program's output neither ends the run nor goes into one of its
# files.
load "$DDPM_SUPPORT"

setup_file() {
    make_pictures "$BATS_FILE_TMPDIR/pictures"
    make_run "$BATS_FILE_TMPDIR/run" "$BATS_FILE_TMPDIR/pictures" 4
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    pictures=$BATS_FILE_TMPDIR/pictures
    model=$BATS_FILE_TMPDIR/run
}

# closed WHICH COMMAND…: run it with these of the descriptors 0, 1 and 2 closed; check that nothing is printed on the
# others.
closed() {
    local which=$1
    shift
    case $which in
        0) "$@" <&- >/dev/null 2>/dev/null ;;
        1) "$@" >&- 2>/dev/null ;;
        2) "$@" 2>&- >/dev/null ;;
        01) "$@" <&- >&- 2>/dev/null ;;
        02) "$@" <&- 2>&- >/dev/null ;;
        12) "$@" >&- 2>&- ;;
        012) "$@" <&- >&- 2>&- ;;
    esac
}

@test "closed streams: a packed file is the same" {
    "$DDPM" pack "$pictures" --out good.npy --size 16 >/dev/null 2>&1
    for which in 0 1 2 01 02 12 012; do
        closed $which "$DDPM" pack "$pictures" --out bad.npy --size 16
        cmp good.npy bad.npy
        rm bad.npy
    done
}

@test "closed streams: pictures, trajectories and grids are the same" {
    "$DDPM" sample "$model" --out good -n 2 --trajectory good.png 2>/dev/null
    "$DDPM" synth --out drawn -n 3 --size 16 2>/dev/null
    "$DDPM" noise drawn/000000.png --out strip.png --image-size 16
    for which in 2 02 12 012; do
        closed $which "$DDPM" sample "$model" --out bad$which -n 2 --trajectory bad$which.png
        diff -r good bad$which
        cmp good.png bad$which.png
        closed $which "$DDPM" synth --out drawn$which -n 3 --size 16
        diff -r drawn drawn$which
        closed $which "$DDPM" noise drawn/000000.png --out strip$which.png --image-size 16
        cmp strip.png strip$which.png
    done
}

@test "closed streams: the log of a run has its rows and nothing else" {
    make_run good "$pictures" 12
    for which in 2 02 12 012; do
        closed $which "$DDPM" train --data "$pictures" --out bad$which "${TINY[@]}" --steps 12 --sample-every 0
        cmp <(cut -d, -f1-4 good/log.csv) <(cut -d, -f1-4 bad$which/log.csv)
        cmp good/checkpoints/latest/model.safetensors bad$which/checkpoints/latest/model.safetensors
    done
}

@test "closed streams: an error is still an exit code" {
    for which in 2 02 12 012; do
        run closed $which "$DDPM" train --data missing --out new "${TINY[@]}"
        [ "$status" -eq 1 ]
        [ -z "$output" ]
        run closed $which "$DDPM" info
        [ "$status" -eq 2 ]
    done
    [ ! -e new ]
}

@test "a result that cannot be written to stdout is an error" {
    for arguments in "--help" "--version" "train --help" "info $model" "completion bash"; do
        run bash -c '"$DDPM" '"$arguments"' >&-'
        fails 1 "standard output could not be written"
        [ -e /dev/full ] || continue
        run bash -c '"$DDPM" '"$arguments"' > /dev/full'
        fails 1 "standard output could not be written"
    done
}

@test "a remark that cannot be written to stdout is not an error" {
    [ -e /dev/full ] || skip "no /dev/full"
    run bash -c '"$DDPM" pack "$1" --out a.npy --size 16 > /dev/full' _ "$pictures"
    succeeds
    says "warning: standard output could not be written"
    run "$DDPM" info a.npy
    says "12 of 16x16"
}

@test "if the reader is gone, the program ends quietly" {
    for arguments in "--help" "train --help" "info $model" "completion bash"; do
        # The reader exits without reading, before anything is written.
        run bash -c '{ sleep 0.3; "$DDPM" '"$arguments"'; echo "code $?" >&2; } | true'
        [ "$output" = "code 141" ]
    done
}

@test "a run continues when nobody reads its output" {
    for streams in "2>&1" "2>&1 >/dev/null" "2>&1 <&-"; do
        rm -rf new code
        run bash -c '{ "$DDPM" train --data "$1" --out new "${@:2}" '"$streams"'; echo $? > code; } | head -1
            until [ -s code ]; do sleep 0.05; done' _ "$pictures" "${TINY[@]}" --steps 400 --sample-every 0 --save-every 100
        [ "$(cat code)" -eq 0 ]
        [ "$(newest new)" -eq 400 ]
        [ "$(rows new)" -eq 400 ]
    done
}

@test "sample, pack and synth continue when nobody reads their output" {
    for arguments in "sample $model --out a -n 20" "pack $pictures --out a.npy --size 16" "synth --out b -n 200 --size 16"; do
        run bash -c '{ "$DDPM" '"$arguments"' 2>&1; echo $? > code; } | true; until [ -s code ]; do sleep 0.05; done'
        [ "$(cat code)" -eq 0 ]
        rm code
    done
    [ "$(ls a | wc -l)" -eq 21 ]
    [ "$(ls b | wc -l)" -eq 200 ]
}

@test "output to a full device ends nothing" {
    [ -e /dev/full ] || skip "no /dev/full"
    run bash -c '"$DDPM" train --data "$1" --out new "${@:2}" 2> /dev/full' _ "$pictures" "${TINY[@]}" --steps 3 --sample-every 2
    succeeds
    [ "$(newest new)" -eq 3 ]
}

@test "files may not grow: an error, and the last checkpoint stays whole, whatever SIGXFSZ does by default" {
    run bash -c 'ulimit -f 200; exec "$DDPM" train --data "$1" --out new "${@:2}" --steps 3 --sample-every 0' _ \
        "$pictures" "${TINY[@]}"
    fails 1 "too large"
    [ ! -e new/checkpoints/latest ]
    cp -r "$model" run
    run bash -c 'ulimit -f 200; exec "$DDPM" train --resume --out run --steps 6'
    fails 1 "too large"
    [ "$(newest run)" -eq 4 ]
    run "$DDPM" train --resume --out run --steps 6
    succeeds
    run bash -c 'ulimit -f 1; exec "$DDPM" pack "$1" --out a.npy --size 64' _ "$pictures"
    fails 1 "too large"
    [ ! -e a.npy ]
    run bash -c 'ulimit -f 0; exec "$DDPM" synth --out drawn -n 2 --size 64'
    fails 1 "too large"
}
