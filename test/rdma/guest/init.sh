#!/bin/busybox sh
# shellcheck shell=dash
# The first process of the guest. Puts the host's files below a layer of memory, makes two RDMA devices, runs the command, powers off.
#
# run.sh puts two files beside it: /run/command, a bash script, and /run/modules, the folder of the kernel's modules on the host.
busybox=/bin/busybox
root=/root

fail() {
  echo "The guest could not start: $*" >/dev/console
  $busybox poweroff -f
}
host() { $busybox chroot $root /usr/bin/env PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"; }

$busybox mount -t proc proc /proc
$busybox mount -t sysfs sysfs /sys
$busybox mount -t devtmpfs devtmpfs /dev
for module in /modules/*.ko; do $busybox insmod "$module" || fail "insmod $module"; done

# The host's files do not change while the guest runs, so what was looked up is kept. Writes go to memory and are lost.
$busybox mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose host /host || fail '9p'
$busybox mount -t tmpfs tmpfs /writes
$busybox mkdir /writes/upper /writes/work
$busybox mount -t overlay -o lowerdir=/host,upperdir=/writes/upper,workdir=/writes/work overlay $root || fail 'overlay'
$busybox mount -t proc proc $root/proc
$busybox mount -t sysfs sysfs $root/sys
$busybox mount -t devtmpfs devtmpfs $root/dev
$busybox mkdir -p $root/dev/pts $root/dev/shm $root/lib/modules
$busybox mount -t devpts devpts $root/dev/pts
$busybox mount -t tmpfs tmpfs $root/dev/shm
$busybox mount -t tmpfs tmpfs $root/run
$busybox ln -s /proc/self/fd $root/dev/fd
for number in 0:stdin 1:stdout 2:stderr; do $busybox ln -s "/proc/self/fd/${number%:*}" "$root/dev/${number#*:}"; done
$busybox mount --bind "$root$($busybox cat /run/modules)" $root/lib/modules || fail 'modules'

# crc32_generic: rxe needs it and does not say so; without it `rdma link add` finds no such file.
host modprobe -a crc32_generic ib_uverbs rdma_rxe veth || fail 'modprobe'

# The two ends of a cable, 10.77.0.1 and .2. Both belong to this machine, so the kernel would send what goes from one to the other through `lo`, where rxe
# cannot follow ("Failed to modify QP to RTR"). The rules send it over the cable, as packets to UDP port 4791. Frames of 9000 bytes give rxe an MTU of 4096.
for scope in all default; do
  echo 1 >/proc/sys/net/ipv4/conf/$scope/accept_local
  echo 0 >/proc/sys/net/ipv4/conf/$scope/rp_filter
done
cat_rules() {
  $busybox cat <<'RULES'
link set lo up
link add rdma0 mtu 9000 type veth peer name rdma1 mtu 9000
link set rdma0 address 02:00:00:77:00:01 up
link set rdma1 address 02:00:00:77:00:02 up
addr add 10.77.0.1/24 dev rdma0
addr add 10.77.0.2/24 dev rdma1
neigh replace 10.77.0.2 lladdr 02:00:00:77:00:02 dev rdma0 nud permanent
neigh replace 10.77.0.1 lladdr 02:00:00:77:00:01 dev rdma1 nud permanent
route add 10.77.0.2 dev rdma0 src 10.77.0.1 table 100
route add 10.77.0.1 dev rdma1 src 10.77.0.2 table 101
rule add pref 9 iif lo from 10.77.0.2 to 10.77.0.2 lookup local
rule add pref 10 iif lo to 10.77.0.2 lookup 100
rule add pref 11 iif lo from 10.77.0.2 to 10.77.0.1 lookup 101
rule add pref 100 lookup local
rule del pref 0
RULES
}
cat_rules >$root/run/ip
host ip -batch /run/ip || fail 'ip'
printf 'link add rxe%s type rxe netdev rdma%s\n' 0 0 1 1 >$root/run/rdma
host rdma -b /run/rdma || fail 'rdma link add'

port() {
  for folder in /sys/class/virtio-ports/*; do
    [ "$($busybox cat "$folder/name")" = "$1" ] && echo "/dev/${folder##*/}"
  done
}
# Pipes in between, because programs treat a character device as a terminal.
$busybox mkfifo /out /err
$busybox cat </out >"$(port out)" &
out=$!
$busybox cat </err >"$(port err)" &
err=$!
$busybox cp /run/command $root/run/command
ulimit -l unlimited
ulimit -n 65536
$busybox chroot $root /bin/bash /run/command </dev/null >/out 2>/err
status=$?
wait $out $err
echo $status >"$(port status)"
$busybox sync
$busybox poweroff -f
