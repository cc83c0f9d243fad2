# File systems without links, locks, fsync or mmap, simulated by odd_fs.c.
load "$DDPM_SUPPORT"

setup_file() {
    make_pictures "$BATS_FILE_TMPDIR/pictures"
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    pictures=$BATS_FILE_TMPDIR/pictures
}

# odd VARIABLE=ERROR… COMMAND…: run COMMAND with these calls failing.
odd() {
    local set=()
    while [[ $1 == ODD_* ]]; do
        set+=("$1")
        shift
    done
    run env "${set[@]}" LD_PRELOAD="$ODD_FS" "$@"
}

train() {
    odd "$@" "$DDPM" train --data "$pictures" --out run "${TINY[@]}" --steps 4 --save-every 2 --sample-every 0
}

# lines TEXT: how many lines of the last output contain it.
lines() {
    grep -c "$1" <<<"$output"
}

@test "no symbolic links: best is a text file too, and keep does not delete what it names" {
    make_pictures many 40
    odd ODD_SYMLINK=EPERM "$DDPM" train --data many --out run "${TINY[@]}" --steps 4 --sample-every 0 \
        --validation 0.2 --validate-every 4
    succeeds
    [ "$(cat run/checkpoints/best)" = step-000004 ]
    sed -i '2s/^4,[^,]*/4,0.0001/' run/validation.csv
    odd ODD_SYMLINK=EPERM "$DDPM" train --resume run --steps 8 --save-every 1 --keep 1
    succeeds
    [ "$(cat run/checkpoints/best)" = step-000004 ]
    [ "$(ls run/checkpoints | tr '\n' ' ')" = "best latest step-000004 step-000008 " ]
    run "$DDPM" sample run/checkpoints/best --out drawn -n 1
    succeeds
    says "step 4"
}

@test "no symbolic links: latest is a text file, and everything finds the checkpoint" {
    for error in EPERM ENOSYS ENOTSUP EIO; do
        rm -rf run drawn
        train ODD_SYMLINK=$error
        succeeds
        [ "$(lines "no symbolic links")" -eq 1 ]
        [ "$(cat run/checkpoints/latest)" = step-000004 ]
    done
    odd ODD_SYMLINK=EPERM "$DDPM" train --resume --out run --steps 6
    succeeds
    says "step 4 of 6"
    [ "$(cat run/checkpoints/latest)" = step-000006 ]
    for path in run run/checkpoints/latest; do
        rm -rf drawn
        run "$DDPM" sample "$path" --out drawn -n 1
        succeeds
        says "step 6"
        run "$DDPM" info "$path"
        succeeds
        says "all files are as state.json says"
    done
    # On a file system with links it becomes a link again.
    run "$DDPM" train --resume --out run --steps 7
    succeeds
    [ "$(readlink run/checkpoints/latest)" = step-000007 ]
    # A run that has a link continues on a file system without links: the link's target is not
    # overwritten.
    odd ODD_SYMLINK=EPERM "$DDPM" train --resume --out run --steps 8
    succeeds
    [ ! -L run/checkpoints/latest ]
    [ "$(cat run/checkpoints/latest)" = step-000008 ]
}

@test "no exchange of two folders, for a step that is saved again with a different state" {
    train ODD_EXCHANGE=EINVAL
    succeeds
    odd ODD_EXCHANGE=EINVAL "$DDPM" train --resume --out run --steps 5
    succeeds
    ln -sfn step-000002 run/checkpoints/latest
    odd ODD_EXCHANGE=EINVAL "$DDPM" train --resume --out run --steps 4 --lr 0.01
    succeeds
    [ "$(readlink run/checkpoints/latest)" = step-000004 ]
    [ -z "$(ls -A run/checkpoints | grep tmp)" ]
}

@test "no fsync: one warning, and the run continues" {
    for error in EINVAL ENOTSUP ENOSYS; do
        rm -rf run
        train ODD_FSYNC_FILE=$error ODD_FSYNC_FOLDER=$error
        succeeds
        [ "$(lines "cannot fsync files")" -eq 1 ]
        [ "$(lines "cannot fsync folders")" -eq 1 ]
    done
    for error in EINVAL EROFS EACCES; do
        rm -rf run
        train ODD_FSYNC_FOLDER=$error
        succeeds
        [ "$(lines "cannot fsync")" -eq 1 ]
    done
}

@test "an fsync that fails because the disk does is reported before the first step" {
    train ODD_FSYNC_FILE=EIO
    fails 1 "cannot fsync" "cannot hold checkpoints"
    [ "$(rows run)" -le 0 ]
    rm -rf run
    train ODD_FSYNC_FOLDER=EIO
    fails 1 "cannot fsync" "cannot hold checkpoints"
    train ODD_FSYNC_FILE=EROFS
    fails 1 "cannot fsync"
}

@test "no mmap: weights and packed pictures are read" {
    "$DDPM" pack "$pictures" --out packed.npy --size 16
    odd ODD_MMAP=ENODEV "$DDPM" train --data packed.npy --out run "${TINY[@]}" --steps 2 --sample-every 0
    succeeds
    odd ODD_MMAP=EACCES "$DDPM" sample run --out drawn -n 1
    succeeds
    odd ODD_MMAP=EINVAL "$DDPM" info run
    succeeds
    odd ODD_MMAP=ENODEV "$DDPM" info packed.npy
    succeeds
}

@test "no flock: another lock, or a file" {
    for error in ENOSYS ENOLCK ENOTSUP EINVAL; do
        rm -rf run
        train ODD_FLOCK=$error
        succeeds
        [ "$(lines "using an fcntl lock instead")" -eq 1 ]
        [ ! -e run/.lock ]
        rm -rf run
        train ODD_FLOCK=$error ODD_FCNTL=ENOLCK
        succeeds
        [ "$(lines "the file .lock instead")" -eq 1 ]
        [ ! -e run/.lock ]
    done
}

# holds VARIABLE=ERROR…: a second process fails with an error that names the first.
holds() {
    rm -rf run errors
    env "$@" LD_PRELOAD="$ODD_FS" "$DDPM" train --data "$pictures" --out run "${TINY[@]}" --steps 100000000 \
        --save-every 0 --sample-every 0 2> errors &
    pid=$!
    wait_for grep -q "^step 1/" errors
    odd "$@" "$DDPM" train --resume --out run
    local first_status=$status first_output=$output
    odd "$@" "$DDPM" train --data "$pictures" --out run "${TINY[@]}" --steps 1
    kill -KILL "$pid"
    wait "$pid" || true
    fails 1 "another process" "process $pid on $(hostname)"
    status=$first_status output=$first_output
    fails 1 "another process" "process $pid on $(hostname)"
    # What the killed process left behind does not get in the way.
    [ -e run/.lock ]
    odd "$@" "$DDPM" train --data "$pictures" --out run "${TINY[@]}" --steps 1 --sample-every 0
    succeeds
    says "starting over"
    [ ! -e run/.lock ]
}

@test "a live process holds its run: by flock" {
    holds ODD_LINK=EPERM
}

@test "a live process holds its run: by fcntl" {
    holds ODD_FLOCK=ENOLCK
}

@test "a live process holds its run: by a file" {
    holds ODD_FLOCK=ENOSYS ODD_FCNTL=ENOLCK
    holds ODD_FLOCK=ENOSYS ODD_FCNTL=ENOSYS ODD_LINK=EPERM
}

@test "a live process holds its run, even against processes that see other locks" {
    "$DDPM" train --data "$pictures" --out run "${TINY[@]}" --steps 100000000 --save-every 0 --sample-every 0 2> errors &
    pid=$!
    wait_for grep -q "^step 1/" errors
    local codes=
    for set in "ODD_FLOCK=ENOLCK" "ODD_FLOCK=ENOLCK ODD_FCNTL=ENOLCK"; do
        odd $set "$DDPM" train --resume --out run
        [[ "$output" == *"process $pid on"* ]] && codes+=" $status"
    done
    kill -KILL "$pid"
    wait "$pid" || true
    [ "$codes" = " 1 1" ]
}

@test "lock files of others: another host's counts only if there are no locks" {
    train
    printf 'pid 1 host elsewhere started 5 log 5\n' > run/.lock
    odd ODD_FLOCK=ENOSYS ODD_FCNTL=ENOLCK "$DDPM" train --resume --out run
    fails 1 "process 1 on elsewhere" "delete run/.lock"
    [ -e run/.lock ]
    run "$DDPM" train --resume --out run
    succeeds
    [ ! -e run/.lock ]
    # A process number that has been reused; a truncated file; a file of a different kind.
    for note in "pid $$ host $(hostname) started 5 log 5\n" "pid 12" "" "hello\n"; do
        printf "$note" > run/.lock
        odd ODD_FLOCK=ENOSYS ODD_FCNTL=ENOLCK "$DDPM" train --resume --out run
        succeeds
        [ ! -e run/.lock ]
    done
}

@test "a copy of a running run can be used" {
    "$DDPM" train --data "$pictures" --out run "${TINY[@]}" --steps 100000000 --save-every 1 --sample-every 0 2> errors &
    pid=$!
    wait_for test -e run/checkpoints/latest
    mkdir copy copy/checkpoints
    cp -r run/config.json run/log.csv run/.lock copy
    kill -STOP "$pid"
    cp -r run/checkpoints/step-* copy/checkpoints || true
    newest=$(ls copy/checkpoints | sed -n 's/^step-0*//p' | sort -n | tail -1)
    run "$DDPM" train --resume --out copy --steps $((newest + 1))
    kill -KILL "$pid"
    wait "$pid" || true
    succeeds
}

@test "folders that cannot be written to: before the first step, and drawing works" {
    train
    rm -rf other
    odd ODD_MKDIR=EROFS "$DDPM" train --data "$pictures" --out other "${TINY[@]}" --steps 1
    fails 1 other "Read-only"
    mkdir box && cp -r run box/run && mount --bind box box 2>/dev/null && mount -o remount,bind,ro box || skip "may not mount"
    run "$DDPM" train --resume --out box/run --steps 6
    fails 1 box/run "Read-only"
    run "$DDPM" train --data "$pictures" --out box/new "${TINY[@]}" --steps 1
    fails 1 box/new "Read-only"
    run "$DDPM" sample box/run --out drawn -n 1
    succeeds
    umount box
}

@test "names and paths that are too long: one error, before the first step" {
    name=$(printf 'n%.0s' $(seq 300))
    run "$DDPM" train --data "$pictures" --out "$name" "${TINY[@]}" --steps 1
    fails 1 "too long"
    # The run's folder has room, but the checkpoints' folder has none.
    deep=$PWD
    while [ ${#deep} -lt 3800 ]; do
        deep=$deep/$(printf 'd%.0s' $(seq 200))
    done
    deep=$deep/$(printf 'd%.0s' $(seq $((4050 - ${#deep} - 1))))
    run "$DDPM" train --data "$pictures" --out "$deep" "${TINY[@]}" --steps 1 --sample-every 0
    fails 2 "cannot hold checkpoints" "too long"
    [[ "$output" != *"step 1/"* ]]
}
