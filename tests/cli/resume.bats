# --resume: the same results as without stopping, and what does not fit.
load "$DDPM_SUPPORT"

setup_file() {
    make_pictures "$BATS_FILE_TMPDIR/pictures"
    make_run "$BATS_FILE_TMPDIR/run" "$BATS_FILE_TMPDIR/pictures" 4 --save-every 2
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    pictures=$BATS_FILE_TMPDIR/pictures
    cp -r "$BATS_FILE_TMPDIR/run" run
}

# same_training A B: weights, moments, EMA and the log's numbers are the same.
same_training() {
    for file in model ema optimizer; do
        cmp "$1/checkpoints/latest/$file.safetensors" "$2/checkpoints/latest/$file.safetensors"
    done
    cmp <(cut -d, -f1-4 "$1/log.csv") <(cut -d, -f1-4 "$2/log.csv")
}

@test "300 steps are the same with and without kill -9 and SIGTERM in between" {
    make_run straight "$pictures" 300 --save-every 50
    start() {
        "$DDPM" train --out broken --save-every 50 --steps 300 "$@" 2>> errors &
        pid=$!
    }
    start --data "$pictures" "${TINY[@]}" --sample-every 0
    wait_for test -e broken/checkpoints/step-000100
    kill -KILL "$pid"
    wait "$pid" || true
    start --resume
    wait_for grep -q "^run  *broken, step [1-9]" errors
    sleep 0.2
    kill -TERM "$pid"
    code=0
    wait "$pid" || code=$?
    [ "$code" -eq 143 ] || [ "$code" -eq 0 ]
    start --resume
    wait "$pid"
    [ "$(readlink broken/checkpoints/latest)" = step-000300 ]
    same_training straight broken
}

@test "the run may follow --resume" {
    for words in "--resume run" "run --resume" "-r run" "--resume --out run" "--steps 5 run --resume"; do
        run "$DDPM" train $words
        succeeds
        says "run       run, step"
    done
    run "$DDPM" train --resume run other
    fails 2 "got 2 arguments"
    run "$DDPM" train --resume --out run other
    fails 2 '"other"'
    run "$DDPM" train --resume none
    fails 1 "none: no run to resume"
}

@test "fewer steps than are done are an error that changes nothing" {
    printf '5,1,1,1,1,1\n6,1' >> run/log.csv # rows that resuming would cut
    find run -exec stat -c '%n %Y %Z %i %s' {} + | sort > before
    cp run/config.json run/log.csv .
    printf '{"trainer_config": {"train_num_steps": 2}}' > few.json
    for words in "--steps 3" "--steps 1" "--steps 3 --sample-every 2" "--config few.json" "--steps 3 --save-every 1" \
        "--steps 3 --lr-schedule cosine --warmup 3"; do
        run "$DDPM" train --resume --out run $words
        fails 2 "steps" "want at least 4" "nothing was changed"
        says "--steps"
        find run -exec stat -c '%n %Y %Z %i %s' {} + | sort | cmp - before
        cmp run/config.json config.json
        cmp run/log.csv log.csv
    done
    run "$DDPM" train --resume --out run --steps 4
    succeeds
}

@test "the log is cut to the checkpoint's step" {
    printf '5,1,1,1,1,1\n6,1,1,1,1,1\n7,1' >> run/log.csv
    run "$DDPM" train --resume --out run --steps 6
    succeeds
    make_run straight "$pictures" 6 --save-every 2
    same_training straight run
}

@test "a lost log is started again" {
    rm run/log.csv
    run "$DDPM" train --resume --out run --steps 6
    succeeds
    [ "$(cut -d, -f1 run/log.csv | tr '\n' ' ')" = "step 5 6 " ]
}

@test "a run that is done stays as it is" {
    cksum run/checkpoints/latest/*.safetensors > before
    run "$DDPM" train --resume --out run
    succeeds
    cksum run/checkpoints/latest/*.safetensors | cmp - before
}

@test "a missing sample of the checkpoint's step is drawn" {
    run "$DDPM" train --resume --out run --sample-every 2 --steps 5
    succeeds
    [ -e run/samples/step-000004.png ]
}

@test "grids of later steps than the checkpoint are drawn again" {
    mkdir -p run/samples
    for name in step-000004.png step-000006.png step-000100.png step-000006-mine.png mine.png; do
        echo old > "run/samples/$name"
    done
    run "$DDPM" train --resume --out run --sample-every 2 --steps 6
    succeeds
    [ "$(ls run/samples | tr '\n' ' ')" = "mine.png step-000004.png step-000006-mine.png step-000006.png " ]
    [ "$(cat run/samples/step-000004.png)" = old ]
    [ "$(head -c 4 run/samples/step-000006.png | tail -c 3)" = PNG ]
}

@test "a log that a spreadsheet has saved is continued; any other file in its place is an error" {
    sed -i 's/$/\r/' run/log.csv
    run "$DDPM" train --resume --out run --steps 5
    succeeds
    [ "$(cut -d, -f1 run/log.csv | tr '\n' ' ')" = "step 1 2 3 4 5 " ]
    sed -i 's/,/;/g' run/log.csv
    cp run/log.csv before
    run "$DDPM" train --resume --out run --steps 6
    fails 1 'run/log.csv: the first line has "step;loss;lr;' 'where "step" should be' "move the file away"
    cmp run/log.csv before
    sed -i 's/\r//; s/;/,/g; s/$/,note/' run/log.csv
    run "$DDPM" train --resume --out run --steps 6
    fails 1 'the first line has "seconds,note" where "seconds" should be'
    sed -i 's/,note$//; 4s/^3/"3"/' run/log.csv
    cp run/log.csv before
    run "$DDPM" train --resume --out run --steps 6
    fails 1 'run/log.csv: got the row ""3",' "want numbers with commas between them"
    cmp run/log.csv before
    sed -i '4s/"3"/3/; 1s/^/\xEF\xBB\xBF/' run/log.csv # a byte order mark
    run "$DDPM" train --resume --out run --steps 5
    succeeds
    [ "$(wc -l < run/log.csv)" -eq 6 ]
    mv run/log.csv .
    run "$DDPM" train --resume --out run --steps 6
    succeeds
    printf 'step,los' > run/log.csv # cut off: nothing would be lost
    run "$DDPM" train --resume --out run --steps 7
    succeeds
    [ "$(cut -d, -f1 run/log.csv | tr '\n' ' ')" = "step 7 " ]
}

@test "what does not fit is named, and nothing changes" {
    cp run/config.json before
    for change in "dim 16" "network OneResUNet" "timesteps 30" "image-size 32" "batch-size 2" "seed 3" "loss l1" \
        "schedule sigmoid" "channels 1" "flip off"; do
        run "$DDPM" train --resume --out run --steps 6 --"${change% *}" "${change#* }"
        fails 1 "${change% *}"
        cmp run/config.json before
    done
    make_pictures other 5
    run "$DDPM" train --resume --out run --data other --steps 6
    fails 1 data
    cmp run/config.json before
}

@test "damaged and missing checkpoints" {
    printf 'x' | dd of=run/checkpoints/latest/optimizer.safetensors bs=1 seek=20000 conv=notrunc 2>/dev/null
    run "$DDPM" train --resume --out run --steps 6
    fails 1 optimizer.safetensors
    truncate -s 1000 run/checkpoints/latest/model.safetensors
    run "$DDPM" train --resume --out run --steps 6
    fails 1
    echo '{' > run/checkpoints/latest/state.json
    run "$DDPM" train --resume --out run --steps 6
    fails 1 state.json
    rm run/checkpoints/latest/state.json
    run "$DDPM" train --resume --out run --steps 6
    fails 1 state.json
    rm run/checkpoints/latest # no checkpoint is named: the newest complete one
    run "$DDPM" train --resume --out run --steps 6
    succeeds
    says "step-000004, it is not complete" "step 2 of 6"
    rm -r run/checkpoints
    run "$DDPM" train --resume --out run --steps 6
    fails 1 checkpoint
    run "$DDPM" train --resume --out missing --data "$pictures"
    fails 1 missing "no run"
    [ ! -e missing ]
}

@test "a run that a program saved through the library can be continued" {
    make_run straight "$pictures" 6 --save-every 2
    rm -r run/config.json run/log.csv run/samples # the library writes checkpoints only
    "$DDPM" info run > info
    grep -q "^run of ddpm train" info
    grep -q dim info
    make_run run "$pictures" 6 --resume
    for file in model ema optimizer; do
        cmp "run/checkpoints/latest/$file.safetensors" "straight/checkpoints/latest/$file.safetensors"
    done
    grep -q '"train_num_steps": 6' run/config.json
    [ "$(sed -n '2s/,.*//p' run/log.csv)" -eq 5 ]
    [ "$(wc -l < run/log.csv)" -eq 3 ]
    rm -r run/config.json run/checkpoints/*
    run "$DDPM" train --resume run
    fails 1 "run: no run to resume (no config.json)"
}
