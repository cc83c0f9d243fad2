#!/usr/bin/env bash
# Random faults in a run of several ranks on two machines. Not part of the tests, because it takes minutes and needs
# root.
#
#   tests/ranks/faults_by_hand.sh --program BUILD/programs/ddpm/ddpm --out DIR [--mpi openmpi|mpich] [--count 20]
#                                 [--seed 1] [--ranks 2]
#
# Each machine is a network namespace of this one, with a cable between the two, and has half of the ranks. With four,
# those of a machine share their packed weights. The fault, the rank and the time are drawn from the seed:
#
#   kill        a rank is killed (SIGKILL)
#   stop        a rank hangs (SIGSTOP)
#   disk        the disk of the run is full
#   not-finite  the loss becomes infinite
#   cut-5       the cable is unplugged for 5 seconds
#   cut         the cable is unplugged for good
#
# A fault is survived if all ranks end in time (after cut-5: train to the end, with the same bits), a line says what
# happened, and the newest checkpoint is no older than before the fault and can be resumed from. Prints a table of all
# faults. Exit: 0 if all were survived, 1 if not, 2 for wrong usage.
set -u -o pipefail

program= out= job= mpi=openmpi count=20 seed=1 ranks=2
while [ $# -gt 1 ]; do
    case $1 in
    --program | --out | --mpi | --count | --seed | --ranks) declare "${1#--}=$2" ;;
    *) break ;;
    esac
    shift 2
done
if [ $# -gt 0 ] || [ ! -x "$program" ] || [ -z "$out" ] || ! command -v "mpirun.$mpi" > /dev/null; then
    sed -n '2,22s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export UCX_TLS=tcp,self UCX_NET_DEVICES=cable # or MPICH would find that both are one machine, and use shared memory
program=$(realpath "$program")
. "$(dirname "$0")/two_hosts.bash"
mkdir -p "$out"
cd "$out" || exit 2
readonly LIMIT=60 WHOLE=240 TIMEOUT=4 # seconds that an end, and a whole run, may take, and --rank-timeout
one=ddpm-$$-1 two=ddpm-$$-2
tiny=(--dim 8 --dim-mults 1,2 --image-size 16 --timesteps 20 --schedule cosine --batch-size 4 --threads 1 --device cpu
    --precision fp32 --reduce exact --shares "$ranks" --sample-every 0)
pids=$(seq -f pid-%g 0 $((ranks - 1)))
RANDOM=$seed

disconnect() {
    [ -z "$job" ] || kill "$job" 2> /dev/null
    kill -KILL $(cat $pids 2> /dev/null) 2> /dev/null
    ! mountpoint -q disk || umount disk
    ip netns del "$one" 2> /dev/null
    ip netns del "$two" 2> /dev/null
}

# `reach` replaces ssh, in the folder of the run. `remember` writes its pid into pid-RANK and becomes the rank.
write_scripts() {
    cat > reach <<END
#!/bin/sh
# reach [-x] HOST COMMAND…
[ "\$1" = -x ] && shift
shift
exec ip netns exec $two unshare --uts sh -c "hostname two; cd '$PWD'; \$*"
END
    cat > remember <<'END'
#!/bin/sh
echo $$ > "pid-${OMPI_COMM_WORLD_RANK:-$PMI_RANK}"
exec "$@"
END
    chmod +x reach remember
}

# launch ARGUMENT…: ddpm train on both machines
launch() {
    local words=(mpirun.openmpi --mca plm_rsh_agent "$PWD/reach" --mca btl tcp,self
        --mca btl_tcp_if_include 10.99.0.0/24 --mca oob_tcp_if_include 10.99.0.0/24 --bind-to none
        --host "10.99.0.1:$((ranks / 2)),10.99.0.2:$((ranks / 2))")
    [ "$mpi" = openmpi ] || words=(mpirun.mpich -launcher ssh -launcher-exec "$PWD/reach" -iface cable
        -hosts 10.99.0.1,10.99.0.2 -ppn $((ranks / 2)))
    exec ip netns exec "$one" unshare --uts sh -c 'hostname one; exec "$@"' _ "${words[@]}" -n "$ranks" "$PWD/remember" \
        "$program" train "$@"
}

newest() {
    local latest
    latest=$(readlink "$1/checkpoints/latest") || latest=step-0
    echo $((10#${latest##*-}))
}

is_gone() {
    ! grep -qs '^State:[[:space:]]*[^Z]' "/proc/$(cat "$1")/status"
}

ranks_are_gone() {
    local pid
    for pid in $pids; do
        is_gone "$pid" || return 1
    done
}

launcher_is_gone() {
    ! kill -0 "$job" 2> /dev/null
}

# Both processes have started, and there is a checkpoint.
has_begun() {
    [ "$(cat $pids 2> /dev/null | wc -l)" -eq "$ranks" ] && test -e "$1/checkpoints/latest"
}

# wait_for SECONDS COMMAND…
wait_for() {
    local until=$(($(date +%s%N) + $1 * 1000000000))
    shift
    until "$@"; do
        [ "$(date +%s%N)" -lt $until ] || return 1
        sleep 0.05
    done
}

# begin RUN ARGUMENT…: trains in the background
begin() {
    local run=$1
    shift
    rm -f $pids
    : > output
    (launch --data "$PWD/pictures" --out "$PWD/$run" "${tiny[@]}" --rank-timeout $TIMEOUT "$@") >> output 2>&1 &
    job=$!
}

# strike KIND RANK: makes the fault happen, or waits for one that happens by itself. Its time is put into struck.
strike() {
    struck=$(date +%s%N)
    case $1 in
    disk | not-finite)
        wait_for $LIMIT said "$1" "$2" > /dev/null
        struck=$(date +%s%N)
        ;;
    kill) kill -KILL "$(cat "pid-$2")" ;;
    stop) kill -STOP "$(cat "pid-$2")" ;;
    cut-5)
        ip -n "$one" link set cable down
        sleep 5
        ip -n "$one" link set cable up
        ;;
    cut) ip -n "$one" link set cable down ;;
    esac
}

# said KIND RANK: prints the line of the output that says what happened. If a rank was killed, it is the launcher's.
said() {
    case $1 in
    kill) grep -aEim1 'signal 9|KILLED BY SIGNAL: 9|no answer for|EXIT CODE: 9' output ;;
    stop) grep -aEm1 "no answer for $TIMEOUT seconds \(rank-timeout\) from rank $2" output ;;
    disk) grep -am1 'No space left' output ;;
    not-finite) grep -am1 'first in' output ;;
    cut-5) grep -am1 '^done, newest checkpoint' output ;;
    cut) grep -aEm1 "no answer for $TIMEOUT seconds \(rank-timeout\)|the network between them fails" output ;;
    esac
}

# same_bits RUN: the weights are those of an undisturbed run.
same_bits() {
    [ -d straight ] || "$program" train --data pictures --out straight "${tiny[@]}" --steps 400 2> /dev/null
    cmp -s straight/checkpoints/latest/model.safetensors "$1/checkpoints/latest/model.safetensors"
}

# goes_on RUN STEP: its newest checkpoint is no older than STEP and can be resumed from.
goes_on() {
    local last
    last=$(newest "$1")
    [ "$last" -ge "$2" ] && [ "$last" -gt 0 ] &&
        "$program" train --resume --out "$1" --data pictures --steps $((last + 1)) --threads 1 --lr 1e-4 \
            --weight-decay 0.01 > resumed 2>&1
}

# fault NUMBER KIND RANK DELAY: one fault, and its row of the table
fault() {
    local kind=$2 run=run-$1 delay=$4 before ended message verdict=survived
    rm -rf "$run"
    case $kind in
    disk)
        mkdir -p disk
        mount -t tmpfs -o size=3m tmpfs disk || return 1
        run=disk/run delay=0
        begin $run --steps 100000 --save-every 1 --keep 0
        ;;
    not-finite)
        "$program" train --data pictures --out "$run" "${tiny[@]}" --steps 20 2> /dev/null
        begin "$run" --resume --steps 1000 --lr 90 --weight-decay 100
        delay=0
        ;;
    cut-5) begin "$run" --steps 400 --save-every 20 --rank-timeout 30 ;;
    *) begin "$run" --steps 100000 --save-every 20 ;;
    esac
    wait_for $LIMIT has_begun "$run" || verdict="did not start"
    sleep "$delay"
    before=$(newest "$run")
    strike "$kind" "$3"
    wait_for $([ "$kind" = cut-5 ] && echo $WHOLE || echo $LIMIT) ranks_are_gone || verdict=HANGS
    ended=$(date +%s%N)
    # A launcher that cannot reach its other half waits for minutes.
    wait_for 5 launcher_is_gone || kill "$job"
    wait_for 5 launcher_is_gone || kill -KILL "$job"
    wait "$job" 2> /dev/null
    job=
    kill -KILL $(cat $pids) 2> /dev/null
    ip -n "$one" link set cable up
    message=$(said "$kind" "$3") || verdict+=", NO MESSAGE"
    if [ "$kind" = cut-5 ]; then
        same_bits "$run" || verdict+=", OTHER BITS"
    fi
    if [ "$kind" = disk ]; then
        rm -rf "run-$1"
        cp -r disk/run "run-$1"
        umount disk
        run=run-$1
    fi
    goes_on "$run" "$before" || verdict+=", CHECKPOINT LOST"
    [ "$verdict" = survived ] || { failed=1; cp output "output-$1"; }
    printf '| %d | %s | %s | %s s | %d.%d s | %s | %s |\n' "$1" "$kind" "$3" "$delay" \
        $(((ended - struck) / 1000000000)) $(((ended - struck) / 100000000 % 10)) "$(cut -c 1-100 <<< "${message//|/ }")" "$verdict"
    rm -rf "$run"
}

trap disconnect EXIT
two_hosts "$one" "$two" || { echo "may not make network namespaces" >&2; exit 1; }
sleep 2 # until the kernel sees that the cable is up
write_scripts
[ -d pictures ] || "$program" synth --out pictures --count 12 --size 16 2> /dev/null
rm -rf straight
failed=0
kinds=()
echo "$(mpirun.$mpi --version | grep -aEim1 'version|open'), seed $seed"
echo
echo "| | fault | rank | at the first checkpoint and | ended after | message | |"
echo "|---|---|---|---|---|---|---|"
for ((number = 1; number <= count; ++number)); do
    [ ${#kinds[@]} -gt 0 ] || kinds=(kill stop disk not-finite cut-5 cut) # each once in any order, then again
    drawn=$((RANDOM % ${#kinds[@]}))
    fault "$number" "${kinds[drawn]}" $((RANDOM % ranks)) "$((RANDOM % 2)).$((RANDOM % 10))"
    kinds=("${kinds[@]:0:drawn}" "${kinds[@]:drawn+1}")
done
exit $failed
