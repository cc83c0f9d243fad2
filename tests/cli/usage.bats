# Verbs, help, unknown and missing things on the command line.
load "$DDPM_SUPPORT"

@test "no verb is wrong usage" {
    run "$DDPM"
    [ "$status" -eq 2 ]
    says "ddpm: no verb given, want one, such as ddpm train"
}

@test "--help lists every verb, and every verb has its own help" {
    run "$DDPM" --help
    succeeds
    for verb in train sample evaluate predict noise pack synth info bench completion; do
        run "$DDPM" --help
        says "$verb"
        run "$DDPM" "$verb" --help
        succeeds
        says "Usage: ddpm $verb"
    done
}

@test "--version prints a version" {
    run "$DDPM" --version
    succeeds
    [[ "$output" =~ ^ddpm\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
}

@test "an unknown verb names the nearest" {
    run "$DDPM" trian
    fails 2 '"trian"' '"train"'
}

@test "options before the verb" {
    for word in --quiet -q --data --count --force; do
        run "$DDPM" "$word" train
        fails 2 "unknown verb \"$word\": the verb comes before its options"
    done
}

@test "unknown options name the nearest" {
    run "$DDPM" train --dim-mult 1,2
    fails 2 --dim-mult --dim-mults
    run "$DDPM" train --oot x
    fails 2 --out
    run "$DDPM" sample run --trajectroy x
    fails 2 --trajectory
    run "$DDPM" train -x
    fails 2 "unknown option -x"
}

@test "an option of another verb is unknown" {
    run "$DDPM" synth --out x --lr 1
    fails 2 "unknown option --lr"
}

@test "missing values, values for flags, missing and superfluous arguments" {
    run "$DDPM" train --out
    fails 2 "--out: got no value"
    run "$DDPM" train --resume=yes --out x
    fails 2 "option --resume: got the value \"yes\", want none; want a space before it: --resume yes"
    run "$DDPM" synth --quiet=1 --out x
    fails 2 "option --quiet: got the value \"1\", want none"
    run "$DDPM" synth --verbose=on --out x
    fails 2 "option --verbose: got the value \"on\", want none"
    run "$DDPM" synth --quite=1 --out x
    fails 2 "unknown option --quite; the nearest is --quiet"
    run "$DDPM" train
    fails 2 "--out RUN is missing"
    run "$DDPM" sample --out x
    fails 2 "got 0 arguments, want 1"
    run "$DDPM" sample a b --out x
    fails 2 "got 2 arguments, want 1"
    run "$DDPM" synth extra --out x
    fails 2 "got 1 argument, want 0"
}

@test "the first extra argument is named" {
    run "$DDPM" synth extra --out x
    fails 2 '"extra"'
    run "$DDPM" sample run more --out x
    fails 2 "want 1" '"more"'
    run "$DDPM" train runs/a
    fails 2 '"runs/a"' "start a run with --data DIR --out RUN" "continue it with --resume RUN"
    run "$DDPM" distill runs/a runs/b
    fails 2 '"runs/b"' "start a run with --out RUN"
    run "$DDPM" train --out runs/b runs/a
    fails 2 '"runs/a"'
}

@test "an option is not the value of the one before it" {
    run "$DDPM" train --data --out runs/a
    fails 2 "option --data: got no value before --out" "--data=VALUE"
    run "$DDPM" synth -o --count 2
    fails 2 "option -o: got no value before --count"
}

# An unset variable in --out "$folder" must not fill the root of the file system.
@test "empty values and arguments are refused" {
    run "$DDPM" train --data pictures --out ""
    fails 2 "option --out: got an empty value"
    run "$DDPM" sample run --out=
    fails 2 "option --out: got an empty value"
    run "$DDPM" synth -o ""
    fails 2 "option -o: got an empty value"
    run "$DDPM" train --resume ""
    fails 2 "got an empty argument"
    run "$DDPM" info ""
    fails 2 "got an empty argument"
}

@test "values may follow =, letters accept attached values, -- ends the options" {
    cd "$BATS_TEST_TMPDIR"
    run "$DDPM" synth --out=a -n2 --size=8
    succeeds
    [ "$(ls a | wc -l)" -eq 2 ]
    run "$DDPM" info -- a/000000.png
    succeeds
}

@test "the help of train has every option of the library's table" {
    run "$DDPM" train --help-all
    for option in network dim init-dim out-dim dim-mults channels theta mult norm timesteps schedule cosine-s \
        sigmoid-start sigmoid-end sigmoid-tau image-size loss clip timestep-per-batch batch-size accumulate steps lr \
        beta1 beta2 eps weight-decay max-grad-norm warmup lr-schedule ema-decay ema-every ema-after save-every \
        sample-every num-samples keep seed data flip crop decode-threads prefetch threads precision device conv; do
        says "--$option "
    done
}

@test "output that cannot be written is a failure" {
    [ -e /dev/full ] || skip "no /dev/full"
    run bash -c '"$DDPM" --help > /dev/full'
    [ "$status" -eq 1 ]
}

@test "completion prints a script that bash accepts" {
    "$DDPM" completion bash > "$BATS_TEST_TMPDIR/completion"
    run bash -c 'source "$1"; COMP_WORDS=(ddpm train --dim-m); COMP_CWORD=2; _ddpm; echo "${COMPREPLY[*]}"' _ \
        "$BATS_TEST_TMPDIR/completion"
    [ "$output" = --dim-mults ]
    run "$DDPM" completion tcsh
    fails 2 "want bash, zsh or fish"
}
