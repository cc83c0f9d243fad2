#!/usr/bin/env bash
# Measures the goals of docs/scaling.md for several ranks, on a quiet machine with two cores.
#
#   bench/ranks.sh --program BUILD/programs/ddpm/ddpm --out DIR [--parts cores,link] [--rounds 3] [--steps 40]
#                  [--rate 1gbit] [--dim 32] [--size 64] [--shard none|optimizer] [--recipe article|best]
#
#   cores   one rank of two threads against two ranks of one thread, over Open MPI and MPICH, batch 16
#   link    two ranks in two network namespaces with a cable between them, without a limit and with --rate (tc tbf),
#           with gradients as fp32 and as bf16, batch 64, over Open MPI; needs root
#
# A figure is the median of the seconds per step in log.csv. The first five steps do not count: they include start-up
# and the first use of memory. Every round runs all variants once, in turn; the table has the median of the rounds.
# "Of the first" compares pictures a second with one-rank, and with the same link without the limit; the goals are 0.95
# and, for bf16 at 1gbit, 0.85. What is missing (an MPI, the right to make namespaces) gives a line "not measured". Exit:
# 0, or 2 for wrong usage.
set -u -o pipefail

program= out= parts=cores,link rounds=3 steps=40 rate=1gbit dim=32 size=64 shard=none wire=fp32 recipe=article
while [ $# -gt 1 ]; do
    case $1 in
    --program | --out | --parts | --rounds | --steps | --rate | --dim | --size | --shard | --recipe) declare "${1#--}=$2" ;;
    *) break ;;
    esac
    shift 2
done
if [ $# -gt 0 ] || [ ! -x "$program" ] || [ -z "$out" ]; then
    sed -n '2,16s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
program=$(realpath "$program")
. "$(dirname "$0")/../tests/ranks/two_hosts.bash"
mkdir -p "$out"
cd "$out" || exit 2
[ -d pictures ] || "$program" synth --out pictures --count 256 --size "$size" 2> /dev/null
: > figures

# The middle one of the numbers on stdin.
median() {
    sort -g | awk '{ x[NR] = $1 } END { if (NR) print x[int((NR + 1) / 2)] }'
}

# measure NAME BATCH THREADS LAUNCHER…: trains, and adds a line to the figures.
measure() {
    local name=$1 batch=$2 threads=$3
    shift 3
    rm -rf run
    if "$@" "$program" train --data "$PWD/pictures" --out "$PWD/run" --dim "$dim" --image-size "$size" \
        --recipe "$recipe" --batch-size "$batch" --steps "$steps" --threads "$threads" --validation off \
        --save-every 0 --sample-every 0 --shard "$shard" --wire "$wire" > output 2>&1; then
        echo "$name $(tail -n +7 run/log.csv | awk -F, -v batch="$batch" '{ print batch / $5 }' | median) $batch" >> figures
    else
        echo "$name not measured: $(grep -m 1 -i error output)" >&2
    fi
}

cores() {
    measure one-rank 16 2
    command -v mpirun.openmpi > /dev/null && measure openmpi 16 1 mpirun.openmpi --bind-to none -n 2
    command -v mpirun.mpich > /dev/null && measure mpich 16 1 mpirun.mpich -n 2
}

disconnect() {
    ip netns del ddpm-1
    ip netns del ddpm-2
} 2> /dev/null

# over_link NAME WIRE
over_link() {
    wire=$2
    measure "$1-$2" 64 1 ip netns exec ddpm-1 unshare --uts sh -c 'hostname one; exec "$@"' _ mpirun.openmpi \
        --mca plm_rsh_agent "$PWD/reach" --mca btl tcp,self --mca btl_tcp_if_include 10.99.0.0/24 \
        --mca oob_tcp_if_include 10.99.0.0/24 --bind-to none --host 10.99.0.1,10.99.0.2 -n 2
}

link() {
    if ! two_hosts ddpm-1 ddpm-2 2> /dev/null; then
        echo "link not measured: may not make network namespaces" >&2
        disconnect
        return
    fi
    for wire in fp32 bf16; do over_link link-free "$wire"; done
    for k in 1 2; do
        ip netns exec ddpm-$k tc qdisc add dev cable root tbf rate "$rate" burst 256kb latency 50ms
    done
    for wire in fp32 bf16; do over_link "link-$rate" "$wire"; done
    wire=fp32
    disconnect
}

for ((round = 0; round < rounds; ++round)); do
    case ,$parts, in *,cores,*) cores ;; esac
    case ,$parts, in *,link,*) link ;; esac
done

echo "| what | seconds of a step | pictures a second | of the first |"
echo "|---|---|---|---|"
for group in "one-rank openmpi mpich" "link-free-fp32 link-$rate-fp32" "link-free-bf16 link-$rate-bf16"; do
    first=
    for name in $group; do
        figure=$(awk -v name="$name" '$1 == name { print $2 }' figures | median)
        [ -n "$figure" ] || continue
        batch=$(awk -v name="$name" '$1 == name { print $3; exit }' figures)
        first=${first:-$figure}
        awk -v name="$name" -v batch="$batch" -v x="$figure" -v y="$first" \
            'BEGIN { printf "| %s | %.4f | %.2f | %.3f |\n", name, x, batch / x, y / x }'
    done
done
