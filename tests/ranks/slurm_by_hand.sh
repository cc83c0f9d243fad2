#!/usr/bin/env bash
# Runs the job script for Slurm, with two nodes on this machine. Not part of the tests, because it needs root and the
# packages slurmctld, slurmd, slurm-client and munge.
#
#   tests/ranks/slurm_by_hand.sh --program BUILD/programs/ddpm/ddpm --out DIR
#
# Each node is a slurmd with its own /tmp, so DIR must be elsewhere. The job gets the signal that Slurm sends before the
# time limit, is requeued, and ends. Its weights are compared with those of a run that was never stopped. Exit: 0 if
# they are the same, 1 if not, 2 for wrong usage.
set -u -o pipefail

program= out=
while [ $# -gt 1 ]; do
    case $1 in
    --program | --out) declare "${1#--}=$2" ;;
    *) break ;;
    esac
    shift 2
done
if [ $# -gt 0 ] || [ ! -x "$program" ] || [ -z "$out" ]; then
    sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
script=$(realpath "$(dirname "$0")/../../scripts/slurm/train.sbatch")
DDPM=$(realpath "$program")
mkdir -p "$out"
out=$(realpath "$out")
cd "$out" || exit 2
export DDPM SLURM_CONF=$out/slurm.conf
pids=()
tiny=(--dim 8 --dim-mults 1,2 --image-size 16 --timesteps 20 --schedule cosine --batch-size 4 --threads 1 --device cpu
    --precision fp32 --reduce exact --shares 2 --sample-every 0 --save-every 100 --steps 400)

start() {
    mkdir -p munge state
    chmod 755 . munge
    dd if=/dev/urandom of=munge/key bs=128 count=1 2> /dev/null
    chown -R munge munge && chmod 400 munge/key
    cat > slurm.conf <<END
ClusterName=test
SlurmctldHost=$(hostname)
SlurmctldPort=16817
AuthType=auth/munge
AuthInfo=socket=$out/munge/socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$out/state
SlurmdSpoolDir=$out/spool-%n
SlurmctldPidFile=$out/slurmctld.pid
SlurmdPidFile=$out/slurmd-%n.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
NodeName=n1 NodeHostname=$(hostname) NodeAddr=127.0.0.1 Port=17001 CPUs=1
NodeName=n2 NodeHostname=$(hostname) NodeAddr=127.0.0.1 Port=17002 CPUs=1
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
END
    runuser -u munge -- munged --foreground --socket="$out/munge/socket" --key-file="$out/munge/key" \
        --log-file="$out/munge/log" --pid-file="$out/munge/pid" --seed-file="$out/munge/seed" > munged.out 2>&1 &
    pids+=($!)
    slurmctld -D > slurmctld.out 2>&1 &
    pids+=($!)
    for node in n1 n2; do
        unshare --mount --uts sh -c "hostname $node; mount -t tmpfs tmpfs /tmp; exec slurmd -D -N $node" \
            > "$node.out" 2>&1 &
        pids+=($!)
    done
}

# wait_for SECONDS COMMAND…
wait_for() {
    local left=$(($1 * 5))
    shift
    until "$@"; do
        [ $((left--)) -gt 0 ] || { echo "waited in vain for: $*" >&2; exit 1; }
        sleep 0.2
    done
}

both_idle() {
    [ "$(sinfo -h -t idle -o %D 2> /dev/null)" = 2 ]
}

# is JOB TEXT: Slurm's description of the job contains TEXT.
is() {
    scontrol show job "$1" | grep -q "$2"
}

trap 'scancel --me 2> /dev/null; kill "${pids[@]}" 2> /dev/null' EXIT
start
wait_for 30 both_idle
rm -rf run straight job.out
[ -d pictures ] || "$DDPM" synth --out pictures --count 12 --size 16 2> /dev/null
job=$(sbatch --parsable --nodes 2 --ntasks-per-node 1 --output "$out/job.out" "$script" "$out/run" \
    --data "$out/pictures" "${tiny[@]}") || exit 1
wait_for 60 test -e run/checkpoints/step-000100
scancel --signal USR1 "$job"
wait_for 60 is "$job" Restarts=1
wait_for 60 is "$job" JobState=PENDING
scontrol update JobId="$job" StartTime=now # instead of two minutes later
wait_for 120 is "$job" JobState=COMPLETED
grep -E '^(ranks|stopped|run|done)|rank [01] on' job.out
"$DDPM" train --data pictures --out straight "${tiny[@]}" 2> /dev/null
for file in model ema optimizer; do
    cmp {straight,run}/checkpoints/latest/$file.safetensors || exit 1
done
echo "the weights, averages and moments are those of a run that was never stopped"
