# Runs resumed in unusual situations: copies, runs killed early, other working directories, a run inside its pictures.
load "$DDPM_SUPPORT"

setup_file() {
    make_pictures "$BATS_FILE_TMPDIR/pictures"
    make_run "$BATS_FILE_TMPDIR/run" "$BATS_FILE_TMPDIR/pictures" 6 --save-every 2
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    pictures=$BATS_FILE_TMPDIR/pictures
    cp -r "$BATS_FILE_TMPDIR/run" run
}

# goes_on_from STEP: drawing and info use this step; training continues from it, and then latest is a link again.
goes_on_from() {
    rm -rf drawn
    run "$DDPM" sample run --out drawn -n 1
    succeeds
    says "step $1,"
    run "$DDPM" info run
    succeeds
    says "step        $1" "all files are as state.json says"
    run "$DDPM" train --resume --out run --steps $(($1 + 1))
    succeeds
    says "step $1 of"
    [ "$(readlink run/checkpoints/latest)" = "$(printf 'step-%06d' $(($1 + 1)))" ]
    [ -z "$(ls -A run/checkpoints | grep tmp)" ]
}

@test "latest was lost" {
    rm run/checkpoints/latest
    goes_on_from 6
}

@test "latest leads nowhere" {
    ln -sfn step-000099 run/checkpoints/latest
    run "$DDPM" train --resume --out run
    says "leads nowhere"
    goes_on_from 6
}

@test "latest is a link that somebody changed: it is followed" {
    ln -sfn step-000002 run/checkpoints/latest
    goes_on_from 2
}

@test "latest is a text file" {
    rm run/checkpoints/latest
    printf step-000004 > run/checkpoints/latest # as git makes it on systems without links
    run "$DDPM" sample run/checkpoints/latest --out other -n 1
    succeeds
    says "step 4,"
    goes_on_from 4
}

@test "latest is a text file with something else in it" {
    for text in step-000099 '' $'step-000004\r\n' garbage ../../etc/passwd "$(seq 1000)"; do
        rm -rf run
        cp -r "$BATS_FILE_TMPDIR/run" run
        rm run/checkpoints/latest
        printf '%s' "$text" > run/checkpoints/latest
        if [[ $text == step-000004* ]]; then goes_on_from 4; else goes_on_from 6; fi
    done
}

@test "latest is a folder, as in a copy that followed the link" {
    rm -r run
    cp -rL "$BATS_FILE_TMPDIR/run" run
    [ ! -L run/checkpoints/latest ]
    goes_on_from 6
    [ "$(ls run/checkpoints | tr '\n' ' ')" = "latest step-000002 step-000004 step-000006 step-000007 " ]
}

@test "latest is a folder and the only checkpoint" {
    rm -r run
    cp -rL "$BATS_FILE_TMPDIR/run" run
    rm -r run/checkpoints/step-*
    goes_on_from 6
    [ "$(ls run/checkpoints | tr '\n' ' ')" = "latest step-000006 step-000007 " ]
}

@test "latest is a folder that is not complete" {
    rm -r run
    cp -rL "$BATS_FILE_TMPDIR/run" run
    rm run/checkpoints/latest/model.safetensors
    run "$DDPM" train --resume --out run
    succeeds
    says "step 6 of"
}

@test "incomplete checkpoints are skipped, with a line for each" {
    rm run/checkpoints/latest
    truncate -s 1000 run/checkpoints/step-000006/ema.safetensors
    rm run/checkpoints/step-000004/state.json
    run "$DDPM" sample run --out drawn -n 1
    succeeds
    says "step-000006, it is not complete" "step-000004, it is not complete" "step 2,"
    mkdir run/checkpoints/step-000002-copy run/checkpoints/step-x
    run "$DDPM" train --resume --out run --steps 7 --keep 1
    succeeds
    says "step 2 of 7"
    # Only folders with the name of a checkpoint are ever removed.
    [ "$(ls run/checkpoints | tr '\n' ' ')" = "latest step-000002-copy step-000007 step-x " ]
    rm run/checkpoints/step-000007/*
    rm run/checkpoints/latest
    run "$DDPM" train --resume --out run
    fails 1 "no complete checkpoint"
    run "$DDPM" sample run --out other -n 1
    fails 1 "no complete checkpoint"
}

@test "the only complete checkpoint had not been renamed yet" {
    mv run/checkpoints/step-000006 run/checkpoints/.tmp-step-000006-123-replaced
    rm -r run/checkpoints/step-*
    run "$DDPM" train --resume --out run --steps 6 # nothing to save: it is all there is
    succeeds
    run "$DDPM" train --resume --out run --steps 7
    succeeds
    says "step 6 of 7"
    [ "$(ls -A run/checkpoints | tr '\n' ' ')" = "latest step-000007 " ]
}

@test "a run reached through a link" {
    ln -s run alias
    run "$DDPM" train --resume --out alias --steps 8
    succeeds
    [ "$(readlink run/checkpoints/latest)" = step-000008 ]
}

# begin [OPTION…]: start a run without a checkpoint and kill it.
begin() {
    rm -f errors # of the run before: its lines must not be taken for new ones
    "$DDPM" train --data "$pictures" --out new "${TINY[@]}" --steps 100000000 --save-every 0 --sample-every 0 "$@" 2> errors &
    pid=$!
    wait_for grep -q "^step 1/" errors
    kill -KILL "$pid"
    wait "$pid" || true
}

@test "a run that was killed before its first checkpoint starts over in its folder" {
    begin
    echo old > new/samples/step-000003.png
    echo half > new/samples/step-000006.png.tmp-1-2
    echo half > new/config.json.tmp-1-2
    mkdir new/checkpoints/.tmp-step-000003-1
    run "$DDPM" train --resume --out new
    fails 1 "no checkpoint to resume from" "start over"
    run "$DDPM" train --data "$pictures" --out new "${TINY[@]}" --steps 3 --sample-every 3
    succeeds
    says "starting over" "step 0 of 3"
    make_run straight "$pictures" 3
    cmp new/checkpoints/latest/model.safetensors straight/checkpoints/latest/model.safetensors
    cmp <(cut -d, -f1-4 new/log.csv) <(cut -d, -f1-4 straight/log.csv)
    [ "$(ls -A new | tr '\n' ' ')" = "checkpoints config.json log.csv samples " ]
    [ "$(ls -A new/samples)" = step-000003.png ]
    run "$DDPM" info new/samples/step-000003.png
    succeeds
}

@test "a folder that contains files of the user is not started over" {
    for what in notes samples/mine.png checkpoints/mine checkpoints/step-000001 .hidden; do
        rm -rf new
        begin
        echo precious > "new/$what"
        run "$DDPM" train --data "$pictures" --out new "${TINY[@]}" --steps 1
        fails 1 "not empty"
        [ "$(cat "new/$what")" = precious ]
    done
    mkdir own && cp run/log.csv own && echo '{}' > own/config.json
    run "$DDPM" train --data "$pictures" --out own "${TINY[@]}" --steps 1
    fails 1 "not empty"
}

@test "leftovers of killed runs are removed when the run is resumed" {
    echo half > run/config.json.tmp-1-2
    echo half > run/samples/step-000006.png.tmp-1-2
    echo half > run/checkpoints/latest.tmp-1-2
    echo mine > run/mine.tmp-1-2
    mkdir run/checkpoints/.tmp-step-000008-1
    run "$DDPM" train --resume --out run
    succeeds
    [ -z "$(find run -name '*.tmp-1*' -o -name '.tmp-*' | grep -v mine)" ]
    [ -e run/mine.tmp-1-2 ]
}

@test "the path of the pictures is stored as an absolute path" {
    cp -r "$pictures" here
    for data in here ./here .//./here here/../here; do
        rm -rf new
        make_run new "$data" 2
        run "$DDPM" train --resume --out new --steps 3
        succeeds
        mkdir -p elsewhere
        cd elsewhere
        run "$DDPM" train --resume --out ../new --steps 4
        succeeds
        cd ..
    done
    cd here
    make_run ../dot . 2
    cd ..
    run "$DDPM" train --resume --out dot --steps 3
    succeeds
    grep -q "\"data\": \"$PWD/here\"" dot/config.json
}

@test "an old run with a relative path resumes from where it was started" {
    cp -r "$pictures" here
    make_run new here 2
    sed -i "s|\"data\": \".*\"|\"data\": \"here\"|" new/config.json
    mkdir elsewhere
    cd elsewhere
    run "$DDPM" train --resume --out ../new --steps 3
    fails 1 here "relative to the folder it was started from"
    run "$DDPM" train --resume --out ../new --steps 3 --data ../here
    succeeds
    cd ..
    sed -i "s|\"data\": \".*\"|\"data\": \"here\"|" new/config.json
    run "$DDPM" train --resume --out new --steps 4
    succeeds
}

@test "runs and drawn pictures inside the folder of pictures do not count as pictures" {
    cp -r "$pictures" data
    cd data
    for out in run a/b/run2; do
        run "$DDPM" train --data . --out $out "${TINY[@]}" --steps 4 --save-every 2 --sample-every 2
        succeeds
        says "pictures  12 of"
        run "$DDPM" train --resume --out $out --steps 6
        succeeds
        [ "$(lines "not used as pictures")" -eq 1 ]
    done
    says "and 1 more"
    "$DDPM" sample run --out drawn -n 2 --trajectory frames 2>/dev/null
    cp -r run/samples c
    ln -s ../run a/link
    run "$DDPM" train --resume --out run --steps 7
    succeeds
    [ "$(lines "not used as pictures")" -eq 1 ]
    # A folder named on the command line is used as it is, and the user's own pictures are never skipped.
    cd ..
    run "$DDPM" pack data/drawn --out drawn.npy --size 16
    succeeds
    cp data/drawn/grid.png data/mine.png
    mkdir data/d && cp data/drawn/grid.png data/000001.png data/d && cp data/000001.png data/d/0001.jpg.png
    run "$DDPM" train --data data --out new "${TINY[@]}" --steps 1 --sample-every 0
    succeeds
    says "pictures  16 of"
}

# lines TEXT: how many lines of the last output contain it.
lines() {
    grep -c "$1" <<<"$output"
}
