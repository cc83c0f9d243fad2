# Unusual environments: containers, cron, services, other locales.
load "$DDPM_SUPPORT"

# The weights of a short run depend only on its options and pictures.
setup() {
    cd "$BATS_TEST_TMPDIR"
    make_pictures p 6
    mkdir plain odd
    (cd plain && "$DDPM" train --data "$BATS_TEST_TMPDIR/p" --out r "${TINY[@]}" --steps 2 --lr 0.00125 2>/dev/null)
}

# same VARIABLE=VALUE…: with only these variables, the run and the output of info are the same.
same() {
    rm -rf odd/r
    cd odd
    run env -i "$@" "$DDPM" train --data "$BATS_TEST_TMPDIR/p" --out r "${TINY[@]}" --steps 2 --lr 0.00125
    succeeds || { echo "with $*"; return 1; }
    run env -i "$@" "$DDPM" info r
    cd ..
    cmp plain/r/checkpoints/step-000002/ema.safetensors odd/r/checkpoints/step-000002/ema.safetensors
    cmp plain/r/samples/step-000002.png odd/r/samples/step-000002.png
    cmp plain/r/config.json odd/r/config.json
    grep -q '"train_lr": 0.00125,' odd/r/config.json
    [ "$(cut -d, -f1-4 plain/r/log.csv)" = "$(cut -d, -f1-4 odd/r/log.csv)" ]
    succeeds
    says "lr                  0.00125"
}

@test "no environment at all" {
    same
}

@test "missing folders, empty and odd variables" {
    same HOME= TMPDIR= PATH= TERM= XDG_CACHE_HOME=
    same HOME=/nonexistent TMPDIR=/nonexistent XDG_CACHE_HOME=not/absolute
    same HOME=/dev/null TMPDIR=/dev/null
}

@test "odd time zones, terminals and thread counts" {
    same TZ= COLUMNS= LINES=
    same TZ=:::///junk COLUMNS=-1 TERM=nonsense
    same TZ="$(printf 'x%.0s' {1..3000})" COLUMNS=99999999999999999999 OMP_NUM_THREADS=x MALLOC_ARENA_MAX=-1
}

@test "locales: unknown, overlong, with a decimal comma, with a different small i" {
    command -v localedef >/dev/null || skip "no localedef"
    mkdir loc
    localedef -c -i de_DE -f UTF-8 loc/de_DE.UTF-8 >/dev/null 2>&1 || skip "locales cannot be made here"
    localedef -c -i tr_TR -f UTF-8 loc/tr_TR.UTF-8 >/dev/null 2>&1 || true
    same LANG=xx_YY.ZZ
    same LC_ALL="$(printf 'y%.0s' {1..3000})"
    same LOCPATH="$PWD/loc" LC_ALL=de_DE.UTF-8
    same LOCPATH="$PWD/loc" LC_ALL=tr_TR.UTF-8 LANGUAGE=tr
}

@test "a program without a name" {
    for name in "" "-" "--help" "a/b/../c"; do
        run bash -c 'exec -a "$0" "$DDPM" version' "$name"
        succeeds
        [[ "$output" =~ ^ddpm\ [0-9.]+$ ]]
    done
}

@test "a working folder that is gone" {
    mkdir gone
    run bash -c 'cd gone && rmdir ../gone && "$DDPM" info "$0"' "$PWD/plain/r"
    succeeds
    says "run of ddpm train"
    mkdir gone
    run bash -c 'cd gone && rmdir ../gone && "$DDPM" sample "$0" --out drawn' "$PWD/plain/r"
    fails 1 "drawn"
}

@test "limits of addresses and data are seen before the first step" {
    bash -c 'ulimit -v 1500000; "$DDPM" version' || skip "this build takes more addresses than that to start"
    run bash -c 'ulimit -v 1500000; "$DDPM" train --data p --out big --dim 64 --image-size 128 --device cpu --precision fp32'
    fails 1 "not enough memory to start" "GB are free"
    run bash -c 'ulimit -d 1500000; "$DDPM" train --data p --out big --dim 64 --image-size 128 --device cpu --precision fp32'
    fails 1 "not enough memory to start"
    [ ! -e big ]
}

@test "with a limit on threads, training continues with fewer" {
    [ "$(id -u)" = 0 ] || skip "needs root to run as a user without processes"
    command -v setpriv >/dev/null || skip "no setpriv"
    open=$(mktemp -d /tmp/ddpm-open-XXXXXX)
    cp -r "$DDPM" p "$open"
    mkdir -m 777 "$open/out"
    chmod -R a+rX "$open"
    # LeakSanitizer needs a thread of its own.
    ASAN_OPTIONS=detect_leaks=0 run setpriv --reuid 54321 --clear-groups bash -c 'cd "$0" && ulimit -u 1 && exec ./ddpm train --data p --out out/r '"${TINY[*]}"' \
        --threads 4 --steps 2 --lr 0.00125' "$open"
    if [[ "$output" == *qemu_thread_create* ]]; then
        rm -rf "$open"
        skip "qemu itself does not start without a second thread"
    fi
    mv "$open/out/r" .
    rm -rf "$open"
    succeeds
    says "computing with 1 of " "threads: the system grants this process no more threads; ulimit -u"
    says "reading pictures with 0 of"
    cmp plain/r/checkpoints/step-000002/ema.safetensors r/checkpoints/step-000002/ema.safetensors
}
