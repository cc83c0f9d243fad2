# Short and full help, manual pages, --quiet and --verbose, info on folders and files.
load "$DDPM_SUPPORT"

setup() {
    cd "$BATS_TEST_TMPDIR"
}

@test "the short help has the required options, the common ones and examples" {
    run "$DDPM" train --help
    succeeds
    says "Required:" "--out RUN" "--data DIR" "Common options" "--image-size" "--channels" "Examples:" "ddpm train --help-all"
    [ "${#lines[@]}" -le 40 ]
    if grep -q -e "--ema-second" <<<"$output"; then
        echo "--ema-second is for the whole help"
        return 1
    fi
    for verb in train distill ema sample evaluate predict noise pack synth info bench; do
        run "$DDPM" "$verb" --help
        succeeds
        says "Examples:" "  ddpm $verb "
    done
}

@test "the full help has every option, and no line of it is longer than 100 columns" {
    run "$DDPM" train --help-all
    succeeds
    says "--ema-second" "Options of every verb:" "--quiet" "Recipes"
    run "$DDPM" help train --help-all
    says "--ema-second"
    for verb in train sample noise; do
        "$DDPM" "$verb" --help | while read -r line; do
            [ "$(printf %s "$line" | LC_ALL=C.UTF-8 wc -m)" -le 100 ] || { echo "$line"; exit 1; }
        done
    done
}

@test "defaults are the model's own values only for verbs that take a model" {
    for verb in synth pack noise; do
        run "$DDPM" "$verb" --help-all
        says "Options of the library (their defaults in brackets):"
        [[ "$output" != *model* || $verb = noise ]]
    done
    run "$DDPM" noise --help-all
    says "size of the pictures (128)"
    for verb in sample evaluate; do
        run "$DDPM" "$verb" --help
        says "Common options (the model's own values, or else those in brackets):"
        [[ "$(tr -s ' \n' ' ' <<<"$output")" == *"noise and samples (0, not the model's)"* ]]
    done
    run "$DDPM" train --help
    says "Common options (defaults in brackets):" "noise and samples (0)"
}

@test "every verb has a manual page, for which man gives no warnings" {
    for verb in "" train distill ema sample evaluate predict noise pack synth info bench completion; do
        "$DDPM" help --man $verb > page.1
        grep -q '^\.SH SYNOPSIS' page.1
        if command -v man >/dev/null && command -v groff >/dev/null; then
            LC_ALL=C.UTF-8 MANROFFSEQ='' man --warnings -E UTF-8 -l -Tutf8 -Z page.1 2>warnings >/dev/null
            [ ! -s warnings ] || { echo "page of $verb:"; cat warnings; return 1; }
        fi
    done
    grep -q 'fB.*ddpm.*-completion\|ddpm.-completion' <("$DDPM" help --man)
    run "$DDPM" help --man trian
    fails 2 '"train"'
}

@test "--quiet leaves warnings, errors and results; --verbose says why" {
    make_pictures pictures 4
    run "$DDPM" train --data pictures --out quiet "${TINY[@]}" --steps 1 --sample-every 0 --quiet
    succeeds
    [ -z "$output" ]
    run "$DDPM" sample quiet --out drawn -n 1 -q
    succeeds
    [ -z "$output" ]
    run "$DDPM" sample quiet --out drawn -n 1 -q
    fails 1 "not empty"
    run env DDPM_CUDA_PLUGIN=/nowhere/plugin.so "$DDPM" sample quiet --out auto -n 1 --device auto -v
    succeeds
    says "/nowhere/plugin.so" "no CUDA plug-in, using the CPU"
    [ "$(grep -c "no CUDA" <<<"$output")" -eq 1 ]
    run "$DDPM" sample quiet --out both -n 1 --quiet --verbose
    fails 2 "want one of them"
    run "$DDPM" info quiet
    succeeds
    if grep -q "no CUDA" <<<"$output"; then
        return 1
    fi
}

@test "--seed auto draws a new seed every time, and the run keeps it" {
    make_pictures pictures 4
    make_run a pictures 1 --seed auto
    make_run b pictures 1 --seed auto
    [ "$(grep '"seed"' a/config.json)" != "$(grep '"seed"' b/config.json)" ]
}

@test "info: a folder of pictures, a picture, a log, a state" {
    make_pictures pictures 12
    make_run run pictures 2
    echo nothing > pictures/bad.jpg
    run "$DDPM" info pictures
    succeeds
    says "folder of pictures" "13," "13 of them: 1 bad, 12 PNG" "16 to 16 pixels high, 16 to 16 wide" "bad.jpg"
    run "$DDPM" info pictures/000000.png
    succeeds
    says "PNG picture of 16x16 pixels"
    printf 'BM' > picture.bmp
    run "$DDPM" info picture.bmp
    fails 1 "picture.bmp"
    run "$DDPM" info run/log.csv
    succeeds
    says "log of ddpm train" "2 steps in"
    run "$DDPM" info run/checkpoints/latest/state.json
    succeeds
    says "state of a checkpoint" "step        2" "model.safetensors" "dim                 8"
    mkdir empty
    run "$DDPM" info empty
    fails 1 "empty: got a folder with nothing to read in it, want a run, a checkpoint, or pictures"
}
