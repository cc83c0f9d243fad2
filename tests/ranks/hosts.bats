# Two machines, each a network namespace of this one, with a cable between them that can be pulled out. Over Open MPI,
# whose launcher reaches the other machine through a script that replaces ssh.
load "$DDPM_SUPPORT"
load two_hosts.bash

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

setup() {
    cd "$BATS_TEST_TMPDIR"
    command -v mpirun.openmpi > /dev/null || skip "no mpirun of Open MPI"
    one=ddpm-$$-1 two=ddpm-$$-2
    two_hosts "$one" "$two" || skip "may not make network namespaces"
    make_pictures pictures
}

teardown() {
    [ -z "${one:-}" ] || ip netns del "$one" 2> /dev/null || true
    [ -z "${two:-}" ] || ip netns del "$two" 2> /dev/null || true
}

# begin ARGUMENT…: trains on both in the background, into `run`, and returns at the first checkpoint.
begin() {
    local mca=(plm_rsh_agent "$PWD/reach" btl tcp,self btl_tcp_if_include 10.99.0.0/24 oob_tcp_if_include 10.99.0.0/24)
    local words=()
    for ((i = 0; i < ${#mca[@]}; i += 2)); do words+=(--mca "${mca[i]}" "${mca[i + 1]}"); done
    timeout 90 ip netns exec "$one" unshare --uts sh -c 'hostname one; exec "$@"' _ mpirun.openmpi "${words[@]}" \
        --bind-to none --host 10.99.0.1,10.99.0.2 -n 2 "$DDPM" train --data "$PWD/pictures" --out "$PWD/run" \
        "${TINY[@]}" --reduce exact --shares 2 --sample-every 0 --save-every 100 "$@" > output 2>&1 3>&- &
    job=$!
    wait_for test -e run/checkpoints/step-000100
}

ended() {
    status=0
    wait "$job" || status=$?
    output=$(cat output)
}

@test "the cable is unplugged for 3 seconds" {
    begin --steps 600 --rank-timeout 30
    ip -n "$one" link set cable down
    sleep 3
    ip -n "$one" link set cable up
    ended
    succeeds
    says "ranks     2 on 2 machines" "done, newest checkpoint of step 600"
    make_run straight pictures 600 --reduce exact --shares 2
    for file in model ema optimizer; do
        cmp "straight/checkpoints/latest/$file.safetensors" "run/checkpoints/latest/$file.safetensors"
    done
}

# No rank is left on either machine.
ranks_are_gone() {
    ! pgrep -f "^$DDPM train .*$PWD/run" > /dev/null
}

# The ranks end. The launcher may wait minutes for its other half.
@test "the cable is unplugged for good" {
    begin --steps 100000 --rank-timeout 4
    ip -n "$one" link set cable down
    wait_for ranks_are_gone
    kill "$job"
    ended
    says "no answer for 4 seconds (rank-timeout) from rank 1 (two)" "saved step"
    run "$DDPM" train --resume --out run --steps $(($(newest run) + 1))
    succeeds
}
