# The progress line on a terminal, provided by script(1) of util-linux.
load "$DDPM_SUPPORT"

setup_file() {
    make_pictures "$BATS_FILE_TMPDIR/pictures"
}

setup() {
    command -v script >/dev/null || skip "no script"
    cd "$BATS_TEST_TMPDIR"
    pictures=$BATS_FILE_TMPDIR/pictures
    export TERM=xterm
}

# on_terminal COLUMNS COMMAND…: its output, as the terminal gets it, in the file `screen`.
on_terminal() {
    local columns=$1
    shift
    script -qec "stty rows 24 cols $columns; exec $(printf '%q ' "$@")" /dev/null < /dev/null > screen
}

# drawn: everything that was drawn in place, one per line.
drawn() {
    tr '\r' '\n' < screen | sed 's/\x1b\[K//g' |
        grep -E '^(step [0-9.]+[/ ]|sampling \[|drawing \[|packing \[|[0-9]+/[0-9]+  left|[0-9]+/[0-9]+$|[0-9.]+ %)'
}

# widest: characters of the widest of the lines on stdin.
widest() {
    awk '{ if (length > most) most = length } END { print most + 0 }'
}

@test "the line fits, whatever the width" {
    for columns in 20 25 33 47 60 79 80 132 300; do
        rm -rf new
        on_terminal $columns "$DDPM" train --data "$pictures" --out new "${TINY[@]}" --steps 30 --sample-every 15
        drawn > lines
        grep -q 30/30 lines
        [ "$(widest < lines)" -lt "$columns" ]
        # One line for training and one per grid; the others were overwritten.
        [ "$(tr -d '\r' < screen | grep -c '30/30')" -eq 1 ]
    done
    grep -q "step 30/30  loss .*  smoothed .* img/s .*left" lines
}

@test "bars fit, and keep what is most important" {
    for columns in 20 28 40 80; do
        rm -rf new
        on_terminal $columns "$DDPM" synth --out new -n 300 --size 16
        drawn > lines
        grep -q 300/300 lines
        [ "$(widest < lines)" -lt "$columns" ]
        on_terminal $columns "$DDPM" pack new --out new.npy --size 16
        drawn > lines
        grep -q 300/300 lines
        [ "$(widest < lines)" -lt "$columns" ]
    done
    grep -q "packing \[#*\]  300/300  left 00:00" lines
}

@test "numbers too long for a narrow terminal become a percentage" {
    command -v timeout || skip "no timeout"
    make_run new "$pictures" 1000 --dim 4 --batch-size 1
    on_terminal 20 timeout --foreground 3 "$DDPM" train --resume new --steps 1000000000 || true
    drawn > lines
    grep -q "^step 0.0 %$" lines
    [ "$(widest < lines)" -lt 20 ]
}

@test "the line adapts to a resized terminal" {
    command -v timeout || skip "no timeout"
    script -qec "stty rows 24 cols 90; (sleep 2; stty cols 30 <&2) & exec $(printf '%q ' timeout --foreground 5 "$DDPM" \
        train --data "$pictures" --out new "${TINY[@]}" --steps 1000000 --sample-every 0)" /dev/null < /dev/null > screen || true
    drawn > lines
    [ "$(head -1 lines | widest)" -gt 30 ]
    [ "$(tail -1 lines | widest)" -lt 30 ]
}

@test "a terminal of unknown width, and one that cannot draw in place" {
    on_terminal 0 "$DDPM" train --data "$pictures" --out new "${TINY[@]}" --steps 30 --sample-every 0
    drawn > lines
    [ "$(widest < lines)" -lt 80 ]
    rm -rf new
    TERM=dumb on_terminal 80 "$DDPM" train --data "$pictures" --out new "${TINY[@]}" --steps 30 --sample-every 0
    ! grep -q $'\e' screen || false
    grep -q "step 30/30" screen
}

@test "the time left counts grids, and two estimates agree" {
    run "$DDPM" train --data "$pictures" --out new "${TINY[@]}" --steps 40 --timesteps 1000 --num-samples 16 \
        --sample-every 40 --sampler ancestral
    succeeds
    # The first step says nothing about the others; at the last, the grid is still to come.
    [ "$(grep '^step 1/40' <<<"$output" | grep -c left)" -eq 0 ]
    [ "$(grep '^step 40/40' <<<"$output" | grep -c 'left 00:00')" -eq 0 ]
    [ "$(grep -c '^estimated .* for the other 35 steps, samples and checkpoints included' <<<"$output")" -eq 1 ]
}
