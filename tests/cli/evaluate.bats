# ddpm evaluate: folders, packed files, features, statistics, a run; and invalid input.
load "$DDPM_SUPPORT"

setup_file() {
    cd "$BATS_FILE_TMPDIR"
    "$DDPM" synth --out real --count 40 --size 16 --seed 1 2>/dev/null
    "$DDPM" synth --out fresh --count 30 --size 16 --seed 2 2>/dev/null
    "$DDPM" pack real --out real.npy --size 16 >/dev/null 2>&1
    "$DDPM" pack fresh --out fresh.npy --size 16 >/dev/null 2>&1
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    at=$BATS_FILE_TMPDIR
}

# evaluate ARGUMENT…: stdout in $output, stderr in the file `errors`
evaluate() {
    run bash -c '"$DDPM" evaluate "$@" --threads 2 2> errors' _ "$@"
}

# number KEY: the first number of that key in the JSON of $output
number() {
    sed -n "s/.*\"$1\": *\([-0-9.e]*\).*/\1/p" <<<"$output" | head -1
}

@test "fresh pictures: every number, and no sign of copies" {
    evaluate "$at/fresh" --against "$at/real"
    succeeds
    says "generated    30 pictures of 16x16: $at/fresh" "real         40 pictures: $at/real" \
        "features     builtin, 147 numbers" "kernel distance" "precision, k = 3" "recall, k = 3" "density, k = 5" \
        "coverage, k = 5" "by pixels" "by features" "nearest" \
        " of 30 (" "are suspiciously near a real picture (within " "near another generated one" "5 % would be by chance"
    if grep -q "^empty\| at distance 0" <<<"$output"; then # printed only if there are some
        echo "$output"
        return 1
    fi
    [ "$(grep -c 'no sign of copies' <<<"$output")" -eq 2 ]
    grep -q "warning: 30 pictures are too few for features of width 147: .* use 588 or more" errors
    grep -q "^ddpm evaluate --help-all says what these numbers mean" errors
    run "$DDPM" evaluate --help-all
    says "coverage: the share of real pictures"
}

@test "a folder and its packed file give the same numbers, with any number of threads" {
    evaluate "$at/fresh" --against "$at/real" --json
    succeeds
    folder=$(grep -v '"generated":\|"real":' <<<"$output")
    run bash -c '"$DDPM" evaluate "$1/fresh.npy" --against "$1/real.npy" --json --threads 1 2>/dev/null' _ "$at"
    succeeds
    [ "$folder" = "$(grep -v '"generated":\|"real":' <<<"$output")" ]
}

@test "held-out pictures give the threshold for near by chance" {
    "$DDPM" synth --out other --count 30 --size 16 --seed 3 2>/dev/null
    evaluate "$at/fresh" --against "$at/real" --held-out other
    succeeds
    says "held out     30 pictures: other" "as 5 % of the held-out ones are" "no sign of copies"
    evaluate "$at/real.npy" --against "$at/real" --held-out other --json
    succeeds
    says '"held_out": 30' '"same": 40' '"verdict": "MORE THAN CHANCE EXPLAINS'
    # Pictures in both sets measure nothing.
    evaluate "$at/fresh" --against "$at/real" --held-out "$at/real.npy"
    succeeds
    says "(within 0)" "no verdict: 5 % of the held-out pictures are among the real ones"
    evaluate "$at/fresh" --against "$at/real" --held-out nowhere
    [ "$status" -ne 0 ]
    grep -q "nowhere: no such" errors
    mkdir few
    cp other/00000[0-4].png few
    evaluate "$at/fresh" --against "$at/real" --held-out few
    [ "$status" -ne 0 ]
    grep -q "few: got 5 held-out pictures, want at least 10" errors
    evaluate "$at/fresh" --against "$at/real" --features given.npy,also.npy --held-out other
    [ "$status" -eq 2 ]
    grep -q "option --held-out: want pictures for all three sets" errors
}

@test "files that cannot be written are found before anything is read" {
    evaluate "$at/fresh" --against "$at/real" --sheet missing/sheet.png
    [ "$status" -eq 1 ]
    grep -q "cannot write missing/sheet.png" errors
    [ "$(grep -c "reading\|kernel distance" errors)" -eq 0 ]
    evaluate "$at/fresh" --against "$at/real" --save-statistics missing/real.npz
    [ "$status" -eq 1 ]
    grep -q "cannot write missing/real.npz" errors
}

@test "copies are found, mirrored ones and duplicates too, and shown" {
    mkdir mixed
    cp "$at"/fresh/00000[0-9].png "$at"/fresh/00001*.png mixed
    for i in 0 1 2 3 4 5 6; do cp "$at/real/00002$i.png" "mixed/copy$i.png"; done
    evaluate mixed --against "$at/real" --sheet sheet.png
    succeeds
    says "7 at distance 0: MORE THAN CHANCE EXPLAINS" "copy0.png and 000020.png: 0"
    run "$DDPM" info sheet.png
    succeeds
    says "of 592x1104 pixels" # 4x4 pairs of 16x16 pictures and lines between them, eight times as large
    evaluate mixed --against "$at/real" --json
    says '"same": 7' '"generated": "copy3.png"' '"real": "000023.png"' '"mirrored": false'
    mkdir twice
    for i in $(seq 10 39); do cp "$at/fresh/0000$((10 + i % 15)).png" "twice/$i.png"; done
    evaluate twice --against "$at/real"
    says "MORE THAN AMONG REAL ONES: the generated pictures repeat each other"
}

@test "the same pictures on both sides" {
    evaluate "$at/real.npy" --against "$at/real.npy" --json
    succeeds
    [ "$(number same)" -eq 40 ]
    says '"value": 1.0'
}

@test "features of other programs" {
    npy g.npy '<f4' '12, 3' 144
    npy r.npy '<f4' '15, 3' 180
    npy wide.npy '<f4' '15, 4' 240
    npy few.npy '<f4' '9, 3' 108
    npy nan.npy '<f4' '12, 3' 144 377
    npy eight.npy '|u1' '12, 3' 36
    evaluate g.npy --against r.npy
    succeeds
    says "features     given, 3 numbers" "generated    12 pictures: g.npy" "by pixels    –"
    evaluate g.npy --against wide.npy
    [ "$status" -eq 1 ]
    grep -q "features of width 3 for the generated pictures and 4 for the real ones, want the same" errors
    evaluate g.npy --against few.npy
    [ "$status" -eq 1 ]
    grep -q "few.npy: got 9 real pictures, want at least 10" errors
    evaluate nan.npy --against r.npy
    [ "$status" -eq 1 ]
    grep -q "nan.npy: got the feature -nan of picture 0, want finite numbers\|nan.npy: got the feature nan" errors
    evaluate eight.npy --against r.npy
    [ "$status" -eq 1 ]
    grep -q "eight.npy: got uint8 of rank 2, want pictures uint8 \[N,H,W,C\] or \[N,H,W\], or features float32" errors
    # beside pictures
    npy g30.npy '<f4' '30, 3' 360
    npy r40.npy '<f8' '40, 3' 960
    evaluate "$at/fresh" --against "$at/real" --features g30.npy,r40.npy
    succeeds
    says "features     given, 3 numbers" "by pixels    " "nearest "
    evaluate "$at/fresh" --against "$at/real" --features g.npy,r40.npy
    [ "$status" -eq 1 ]
    grep -q "g.npy: got features of 12 pictures, want those of the 30 in the set" errors
    evaluate "$at/fresh" --against "$at/real" --features inception
    [ "$status" -eq 2 ]
    grep -q 'option --features: got "inception", want builtin, a file of .*(.safetensors, .pth, .pt) or GENERATED.npy,REAL.npy' errors
}

@test "statistics of the real pictures, saved and read" {
    evaluate "$at/fresh" --against "$at/real" --save-statistics s.npz --json
    grep -q "libzip" errors && skip "built without libzip"
    succeeds
    value=$(number value)
    evaluate "$at/fresh" --against s.npz --json
    succeeds
    if [[ "$output" != *"LAPACK"* ]]; then
        [ "${value%??????}" = "$(number value | sed 's/......$//')" ]
    fi
    says "only mean and covariance of the real pictures are known" '"real": 0'
    evaluate "$at/fresh" --against s.npz
    says "real         mean and covariance: s.npz"
    evaluate s.npz --against "$at/real"
    [ "$status" -eq 2 ]
    grep -q "s.npz: got mean and covariance, want pictures, features or a run" errors
    head -c 500 s.npz > cut.npz
    evaluate "$at/fresh" --against cut.npz
    [ "$status" -eq 1 ]
    grep -q "cut.npz: not a .npz file" errors
}

@test "pictures are first drawn from a run, with the given sampler" {
    make_run run "$at/real" 2
    evaluate run --against "$at/real" -n 12 --sampler ddim --sampling-steps 3 --seed 5 --sheet sheet.png
    succeeds
    says "generated    12 pictures of 16x16: run" "by features"
    grep -q "run: drawing 12 pictures of 16x16 with ddim, 3 steps" errors
    [ -s sheet.png ]
    # the pictures of ddpm sample, without its grid
    "$DDPM" sample run --out drawn -n 12 --sampler ddim --sampling-steps 3 --seed 5 2>/dev/null
    evaluate run --against "$at/real" -n 12 --sampler ddim --sampling-steps 3 --seed 5 --json
    value=$(number low)
    evaluate drawn --against "$at/real" --json
    succeeds
    says '"generated": 12,'
    [ "$(number low)" = "$value" ]
    rm drawn/0009.png drawn/0010.png drawn/0011.png
    evaluate drawn --against "$at/real"
    [ "$status" -eq 1 ]
    grep -q "drawn: got 9 generated pictures, want at least 10" errors
    evaluate run --against "$at/real" -n 12 --sampler dim
    [ "$status" -eq 2 ]
    evaluate run --against run
    [ "$status" -eq 2 ]
    grep -q "option --against: got the run or model run, want real pictures" errors
}

@test "what does not fit is found before pictures are drawn" {
    make_run run "$at/real" 2
    npy wide.npy '<f4' '40, 4' 640
    npy g11.npy '<f4' '11, 4' 176
    fails_early() {
        evaluate run --against "$@"
        [ "$status" -eq "$code" ] && [ -z "$output" ]
        grep -q "$text" errors
        [ "$(grep -c "drawing" errors)" -eq 0 ]
    }
    code=2 text="option --sheet: got features or statistics of the real pictures, want pictures on both sides"
    fails_early wide.npy -n 12 --sheet sheet.png --json
    code=1 text="nope.npy"
    fails_early "$at/real" -n 12 --features nope.npy,wide.npy
    text="g11.npy: got features of 11 pictures, want those of the 12 to draw"
    fails_early "$at/real" -n 12 --features g11.npy,wide.npy
    text="got features of width 147 for the generated pictures and 4 for the real ones, want the same"
    fails_early wide.npy -n 12
    evaluate run --against "$at/real" -n 11 --features g11.npy,wide.npy
    succeeds
}

@test "files are known by their first bytes; what cannot be compared is named" {
    cp "$at/fresh.npy" fresh
    evaluate fresh --against "$at/real"
    succeeds
    says "generated    30 pictures of 16x16: fresh"
    cp "$at/real/000000.png" photo.png
    evaluate "$at/fresh" --against photo.png
    [ "$status" -eq 1 ]
    grep -q "photo.png: got a picture, want pictures (a folder or .npy file) or their features (.npy), or stat" errors
    : > nothing
    evaluate nothing --against "$at/real"
    [ "$status" -eq 1 ]
    grep -q "nothing: got an empty file, want pictures .* or a run or model" errors
    evaluate "$at/fresh" --against "$at/real" --save-statistics st
    grep -q "libzip" errors && skip "built without libzip"
    evaluate "$at/fresh" --against st
    succeeds
    says "real         mean and covariance: st"
}

@test "sizes: a folder is resized to the size of the generated pictures" {
    "$DDPM" synth --out large --count 12 --size 32 2>/dev/null
    evaluate "$at/fresh.npy" --against large --json
    succeeds
    evaluate large --against "$at/real.npy"
    [ "$status" -eq 1 ]
    grep -q "real.npy: got pictures of 16x16 (height x width), want 32x32" errors
    evaluate large --against "$at/real.npy" --image-size 16 -n 11
    succeeds
    says "generated    11 pictures of 16x16: large"
}

@test "missing input is an error that says what is missing" {
    mkdir empty few
    cp "$at"/real/00000[0-8].png few
    evaluate nowhere --against "$at/real"
    [ "$status" -eq 1 ]
    grep -q "nowhere: no such folder, run or file" errors
    evaluate empty --against "$at/real"
    [ "$status" -eq 1 ]
    grep -q "empty: no pictures in this folder" errors
    evaluate "$at/fresh" --against empty
    [ "$status" -eq 1 ]
    grep -q "empty: no pictures" errors
    evaluate "$at/fresh" --against few
    [ "$status" -eq 1 ]
    grep -q "few: got 9 real pictures, want at least 10" errors
    evaluate few --against "$at/real"
    [ "$status" -eq 1 ]
    grep -q "few: got 9 generated pictures, want at least 10" errors
    evaluate "$at/fresh" --against "$at/real" -n 9
    [ "$status" -eq 2 ]
    evaluate "$at/fresh"
    [ "$status" -eq 2 ]
    grep -q "option --against DIR|FILE is missing" errors
    head -c 100 "$at/real/000003.png" > few/000003.png
    cp "$at"/real/00003*.png few
    evaluate few --against "$at/real" --json
    succeeds
    says '"generated": 18,'
    grep -q "skipped: few/000003.png" errors
}

@test "without LAPACK everything else is reported" {
    mkdir lib
    echo "no library" > lib/liblapacke.so.3
    cp lib/liblapacke.so.3 lib/libopenblas.so.0
    export LD_LIBRARY_PATH=$PWD/lib
    evaluate "$at/fresh" --against "$at/real"
    succeeds
    says "Fréchet distance            –  it needs LAPACK, which was not found: install liblapacke" "kernel distance   "
    evaluate "$at/fresh" --against "$at/real" --json
    says '"missing": "it needs LAPACK'
}

@test "Ctrl-C" {
    npy many.npy '<f4' '9000, 256' $((9000 * 256 * 4))
    start_job "$DDPM" evaluate many.npy --against many.npy --threads 1
    wait_for grep -q "^comparing" errors
    kill -INT "$pid"
    job_ends 130
    grep -q "^stopping" errors
}

@test "the limits of the verdicts; no distance is below 0, not even that of equal sets" {
    evaluate "$at/fresh" --against "$at/real"
    succeeds
    says "limits       by chance, up to 16.9 % are that near a real picture, and up to 28.9 % that near another generated one"
    evaluate "$at/real" --against "$at/real.npy" --json
    succeeds
    distance=$(sed -n '/"frechet"/,/}/s/.*"value": *\([-0-9.e]*\).*/\1/p' <<<"$output")
    [ -n "$distance" ]
    [[ $distance != -* ]]
}
