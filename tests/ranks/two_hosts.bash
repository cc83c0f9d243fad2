# Two machines on this one: network namespaces with a cable between them. Sourced by tests and by bench/ranks.sh.

# two_hosts ONE TWO: makes namespaces of these names, with the addresses 10.99.0.1 and 10.99.0.2 on a device named
# cable, and in the current folder `reach`, which replaces ssh for a launcher. Fails without the right to make them.
two_hosts() {
    ip netns add "$1" 2> /dev/null && ip netns add "$2" || return 1
    ip link add cable netns "$1" type veth peer name cable netns "$2" || return 1
    ip -n "$1" addr add 10.99.0.1/24 dev cable
    ip -n "$2" addr add 10.99.0.2/24 dev cable
    for host in "$1" "$2"; do
        ip -n "$host" link set lo up
        ip -n "$host" link set cable up
    done
    cat > reach <<END
#!/bin/sh
# reach HOST COMMAND…: run a command on the other machine
shift
exec ip netns exec $2 unshare --uts sh -c "hostname two; \$*"
END
    chmod +x reach
}
