# Validation: which pictures are held out, what is measured and written, which checkpoint is best, when it ends a run.
load "$DDPM_SUPPORT"

setup_file() {
    make_pictures "$BATS_FILE_TMPDIR/pictures" 210
    make_run "$BATS_FILE_TMPDIR/run" "$BATS_FILE_TMPDIR/pictures" 20 --validate-every 10 --save-every 20
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    pictures=$BATS_FILE_TMPDIR/pictures
    TINY+=(--start noise) # fitting a start takes seconds under sanitizers
}

copy_run() {
    cp -r "$BATS_FILE_TMPDIR/run" run
}

train() {
    run "$DDPM" train --data "$pictures" --out new "${TINY[@]}" --sample-every 0 "$@"
}

# pretend STEP VALIDATION TRAINING: add a made-up row to run/validation.csv.
pretend() {
    printf '%d,%s,%s%s\n' "$1" "$2" "$3" ",1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1" >> run/validation.csv
}

# pretend_rows ROW…: validation.csv with these rows only, each "STEP VALIDATION TRAINING".
pretend_rows() {
    local row
    head -1 run/validation.csv > head && mv head run/validation.csv
    for row in "$@"; do
        pretend $row
    done
}

@test "a run of 200 pictures or more holds out 5 %, and says what that costs" {
    train --steps 20 --validate-every 10 --save-every 20
    succeeds
    says "held out  " "for training" "the loss is measured every 10 steps, on " " held-out and " " training pictures: about " "% of the time"
    says "step 10: validation loss " "on training pictures " "the best so far"
    grep -q '"validation": "0.05"' new/config.json
    [ "$(readlink new/checkpoints/best)" = step-000020 ]
    [ -e new/checkpoints/step-000010/state.json ]
    grep -q '"validation": "0.05"' new/checkpoints/best/state.json
    [ -e new/hashes.npy ]
}

@test "the measurements are in log.csv and, by band, in validation.csv" {
    copy_run
    [ "$(head -1 run/log.csv)" = \
        step,loss,lr,grad_norm,images_per_second,seconds,validation_loss,training_ema_loss ]
    [ "$(rows run)" -eq 20 ]
    [ "$(awk -F, 'NF != 8' run/log.csv | wc -l)" -eq 0 ]
    [ "$(awk -F, 'NR > 1 && $7 != "" { print $1 }' run/log.csv | tr '\n' ' ')" = "10 20 " ]
    [ "$(cut -d, -f1 run/validation.csv | tr '\n' ' ')" = "step 10 20 " ]
    [ "$(awk -F, 'NF != 19' run/validation.csv | wc -l)" -eq 0 ]
    head -1 run/validation.csv |
        grep -q '^step,validation_loss,training_ema_loss,validation_band_1,.*,validation_band_8,training_band_1,'
    # Both have the same numbers, and the mean of the bands is the total.
    awk -F, '
        NR == FNR { if ($7 != "" && FNR > 1) { v[$1] = $7; t[$1] = $8 } next }
        FNR > 1 {
            if ((v[$1] - $2) ^ 2 > 1e-14 || (t[$1] - $3) ^ 2 > 1e-14) exit 1
            sum = 0
            for (i = 4; i <= 11; ++i) sum += $i
            if ((sum / 8 - $2) ^ 2 > 1e-14) exit 1
        }' run/log.csv run/validation.csv
    run "$DDPM" info run
    succeeds
    says "validation  best loss " "at step 20" "log         20 steps in "
    run "$DDPM" sample run/checkpoints/best --out drawn --count 1
    succeeds
    says "step 20"
}

@test "fewer pictures, off, the article's file and old runs have no validation" {
    make_pictures few 50
    train --data few --steps 4
    succeeds
    says "held out  none (fewer than 200 pictures)"
    [[ "$output" != *"for training"* ]]
    grep -q '"validation": "off"' new/config.json
    [ "$(head -1 new/log.csv)" = step,loss,lr,grad_norm,images_per_second,seconds ]
    [ ! -e new/validation.csv ] && [ ! -e new/hashes.npy ] && [ ! -e new/checkpoints/best ]
    rm -r new
    train --steps 4 --validation off
    succeeds
    [ ! -e new/validation.csv ]
    # As a version without validation would have left it.
    grep -v '"validation"' new/config.json | sed 's/"prefetch": 4,/"prefetch": 4/' > old.json
    mv old.json new/config.json
    run "$DDPM" train --resume new --steps 6
    succeeds
    grep -q '"validation": "off"' new/config.json
    [ ! -e new/validation.csv ]
    rm -r new
    printf '{"trainer_config": {"save_and_sample_every": 4}}' > article.json
    train --config article.json --steps 4
    succeeds
    grep -q '"validation": "off"' new/config.json
    rm -r new
    train --config article.json --steps 4 --validation 0.1
    succeeds
    grep -q '"validation": "0.1"' new/config.json
}

@test "by default measuring takes at most 2 % of the run" {
    train --steps 1 # which is too short
    succeeds
    says "too short"
    [ "$(cut -d, -f1 new/validation.csv)" = step ]
    for steps in 2000 100000; do
        for save in 0 7 500 100000; do
            rm -r new
            rm -f errors # of the one before
            start_job "$DDPM" train --data "$pictures" --out new "${TINY[@]}" --sample-every 0 \
                --steps $steps --save-every $save
            wait_for grep -q "^step 1/" errors
            kill -INT "$pid"
            job_ends 130
            share=$(sed -n 's/.*about \([0-9.]*\) % of the time.*/\1/p' errors)
            awk "BEGIN { exit !($share > 0 && $share <= 2) }"
        done
    done
}

@test "the curves are the same for other threads and prefetching, and after a kill" {
    start() {
        "$DDPM" train --out broken --save-every 50 --validate-every 20 --steps 200 "$@" 2>> errors &
        pid=$!
    }
    make_run straight "$pictures" 200 --save-every 50 --validate-every 20
    make_run other "$pictures" 200 --save-every 50 --validate-every 20 --threads 2 --prefetch 9 --decode-threads 3
    cmp straight/validation.csv other/validation.csv
    start --data "$pictures" "${TINY[@]}" --sample-every 0
    wait_for test -e broken/checkpoints/step-000060
    kill -KILL "$pid"
    wait "$pid" || true
    start --resume
    wait "$pid"
    cmp straight/validation.csv broken/validation.csv
    cmp <(cut -d, -f1-4,7,8 straight/log.csv) <(cut -d, -f1-4,7,8 broken/log.csv)
    [ "$(readlink straight/checkpoints/best)" = "$(readlink broken/checkpoints/best)" ]
}

@test "copies and other names fall on the same side" {
    mkdir renamed
    for file in "$pictures"/*.png; do
        cp "$file" "renamed/$(basename "$file" .png | rev).png"
    done
    # The weights move by 1e-30: except for the last digits they keep their initial values.
    make_run a "$pictures" 1 --validate-every 1 --validation 0.2 --lr 1e-30 --weight-decay 0
    make_run b renamed 1 --validate-every 1 --validation 0.2 --lr 1e-30 --weight-decay 0
    paste -d, a/validation.csv b/validation.csv | awk -F, '
        NR > 1 { for (i = 1; i <= 19; ++i) if (($i - $(19 + i)) ^ 2 > 1e-12) { print i, $i, $(19 + i); exit 1 } }'
}

@test "invalid options are an error, and nothing is started" {
    for value in 0 0.6 1 -1 1e400 ""; do
        train --steps 2 --validation "$value"
        fails 2 "option validation: got \"$value\"" "want auto, off"
        [ ! -e new ]
    done
    train --steps 2 --validation missing
    fails 1 "option validation: " missing
    train --steps 2 --validation 1e-9
    fails 2 "got 1e-9, which sets none of the 210 pictures aside" "or off"
    [ ! -e new ]
    train --steps 2 --validate-every -1
    fails 2 "option validate-every"
    train --steps 2 --patience -1
    fails 2 "option patience"
}

@test "a validation folder that overlaps the training folder is an error with the count" {
    mkdir others
    "$DDPM" synth --out more --count 6 --size 16 --seed 9 2>/dev/null
    cp more/*.png others
    i=0
    for file in $(ls "$pictures"/*.png | head -3); do
        cp "$file" "others/copy-$((i += 1)).png"
    done
    count=$(ls others | wc -l)
    train --steps 2 --validation others
    fails 2 "option validation: 3 of the $count pictures of $PWD/others are also among the training pictures"
    [ ! -e new ]
    train --steps 2 --validation "$pictures"
    fails 2 "210 of the 210 pictures"
    rm others/copy-*
    train --steps 2 --validate-every 1 --validation others
    succeeds
    says "held out  6 pictures, 210 for training" "on 6 held-out and 6 training pictures"
    grep -q "\"validation\": \"$PWD/others\"" new/config.json
    # The run resumes with them from another folder.
    mkdir elsewhere && cd elsewhere
    run "$DDPM" train --resume ../new --steps 3
    succeeds
    cd ..
    mv others moved
    run "$DDPM" train --resume new --steps 4
    fails 1 "option validation: " others
    run "$DDPM" train --resume new --steps 4 --validation moved
    succeeds
}

@test "a run keeps its split" {
    copy_run
    cp run/config.json before
    run "$DDPM" train --resume run --steps 30 --validation off
    fails 1 "validation is 0.05 in the checkpoint and off now"
    run "$DDPM" train --resume run --steps 30 --validation 0.1
    fails 1 "validation is 0.05 in the checkpoint and 0.1 now"
    cmp run/config.json before
    run "$DDPM" train --resume run --steps 30 --validation auto
    succeeds
}

@test "lost hashes are computed again" {
    copy_run
    cp run/hashes.npy before.npy
    rm run/hashes.npy
    run "$DDPM" train --resume run --steps 30
    succeeds
    cmp run/hashes.npy before.npy
    echo nothing > run/hashes.npy
    run "$DDPM" train --resume run --steps 40
    succeeds
    cmp run/hashes.npy before.npy
}

@test "keep never removes the best" {
    copy_run
    pretend_rows "20 0.0001 0.0001"
    run "$DDPM" train --resume run --steps 60 --keep 1 --save-every 10
    succeeds
    [ "$(readlink run/checkpoints/best)" = step-000020 ]
    [ "$(ls run/checkpoints | tr '\n' ' ')" = "best latest step-000020 step-000060 " ]
    run "$DDPM" info run/checkpoints/best
    succeeds
    says "step        20" "all files are as state.json says"
    run "$DDPM" info run
    says "validation  best loss 0.0001 at step 20, last "
}

@test "patience ends a run, and the run stays ended" {
    copy_run
    pretend_rows "10 0.0001 0.0001" "20 0.5 0.5"
    run "$DDPM" train --resume run --steps 100 --patience 3
    succeeds
    says "stopped by --patience: 3 measurements without a better validation loss than 0.0001 at step 10" \
        "done, newest checkpoint of step 40"
    [ "$(rows run)" -eq 40 ]
    [ "$(readlink run/checkpoints/latest)" = step-000040 ]
    run "$DDPM" train --resume run
    succeeds
    says "stopped by --patience" "newest checkpoint of step 40"
    run "$DDPM" train --resume run --patience 0 --steps 50
    succeeds
    says "newest checkpoint of step 50"
}

@test "where the curves diverge is reported once, with the step and the checkpoint" {
    copy_run
    pretend_rows "4 0.5 9" "8 0.6 8" "12 0.6 8" "16 0.6 8" "20 0.6 8"
    run "$DDPM" train --resume run --steps 30
    succeeds
    says "the curves have diverged since step 4: from there to step 30 the validation loss rose from 0.5 to " \
        "fell from 9 to " "use checkpoints/best, of step 4"
    run "$DDPM" info run
    says "the curves have diverged since step 4"
    run "$DDPM" train --resume run --steps 40
    succeeds
    [[ "$output" != *"curves have diverged"* ]]
}

@test "rows after the checkpoint's step, and an incomplete row, are deleted" {
    copy_run
    cp run/validation.csv before
    pretend 30 0.00001 1
    printf '40,0.5' >> run/validation.csv
    run "$DDPM" train --resume run --steps 20
    succeeds
    cmp run/validation.csv before
    rm run/validation.csv # lost: the measurements begin again
    run "$DDPM" train --resume run --steps 30
    succeeds
    [ "$(cut -d, -f1 run/validation.csv | tr '\n' ' ')" = "step 30 " ]
}

@test "measurements that a spreadsheet has saved count; any other file in their place is an error" {
    copy_run
    sed -i 's/$/\r/' run/validation.csv
    run "$DDPM" train --resume run --steps 30
    succeeds
    [ "$(cut -d, -f1 run/validation.csv | tr '\n' ' ')" = "step 10 20 30 " ]
    sed -i 's/,/;/g' run/validation.csv
    cp run/validation.csv before
    run "$DDPM" train --resume run --steps 40
    fails 1 'run/validation.csv: the first line has "step;validation_loss;' "move the file away"
    cmp run/validation.csv before
}

@test "a run that was killed before its first checkpoint starts over" {
    copy_run
    rm -r run/checkpoints/*
    run "$DDPM" train --data "$pictures" --out run "${TINY[@]}" --steps 10 --validate-every 10 --sample-every 0
    succeeds
    says "starting over"
    cmp <(head -2 "$BATS_FILE_TMPDIR/run/validation.csv") run/validation.csv
    rm -r run/checkpoints/*
    run "$DDPM" train --data "$pictures" --out run "${TINY[@]}" --steps 4 --sample-every 0 --validation off
    succeeds
    [ ! -e run/validation.csv ]
}
