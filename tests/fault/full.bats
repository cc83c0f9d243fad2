# A full disk: one clear error, and the last good checkpoint stays.
load "$DDPM_SUPPORT"

setup() {
    cd "$BATS_TEST_TMPDIR"
    make_pictures pictures
}

# whole RUN: check that its newest checkpoint can be resumed.
whole() {
    run "$DDPM" train --resume --out "$1" --steps "$(newest "$1")" --data pictures
    succeeds
}

teardown() {
    ! mountpoint -q "$BATS_TEST_TMPDIR/disk" 2>/dev/null || umount "$BATS_TEST_TMPDIR/disk"
}

@test "a small disk fills up while training" {
    mkdir disk
    mount -t tmpfs -o size=3m tmpfs disk 2>/dev/null || skip "may not mount a tmpfs"
    run "$DDPM" train --data pictures --out disk/run "${TINY[@]}" --steps 1000 --sample-every 0 --save-every 1 --keep 0
    fails 1 "No space left"
    cp -r disk/run copy
    [ -e copy/checkpoints/latest/ ]
    whole copy
    # The incomplete one is removed, so there is room for the log of a later try.
    [ -z "$(ls -A disk/run/checkpoints | grep '^\.tmp')" ]
}

@test "files may not grow: the first checkpoint fails, and latest does not exist" {
    run bash -c 'trap "" XFSZ; ulimit -f 200
        exec "$DDPM" train --data pictures --out run "$@" --steps 3 --sample-every 0' _ "${TINY[@]}"
    fails 1 "too large"
    [ ! -e run/checkpoints/latest ]
}

@test "files may not grow: the run keeps its last checkpoint" {
    make_run run pictures 2
    run bash -c 'trap "" XFSZ; ulimit -f 200; exec "$DDPM" train --resume --out run --steps 4'
    fails 1 "too large"
    [ "$(readlink run/checkpoints/latest)" = step-000002 ]
    whole run
}

@test "a full disk under pictures" {
    mkdir disk
    mount -t tmpfs -o size=100k tmpfs disk 2>/dev/null || skip "may not mount a tmpfs"
    run "$DDPM" synth --out disk/pictures --count 1000 --size 64
    fails 1 "No space left"
    [ -z "$(ls -A disk/pictures | grep tmp)" ]
    run "$DDPM" pack pictures --out disk/all.npy --size 256
    fails 1 "No space left"
    [ ! -e disk/all.npy ]
}
