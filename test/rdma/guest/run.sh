#!/usr/bin/env bash
# Runs a command in a virtual machine whose kernel has RDMA devices in software (Soft-RoCE), on a host that has none.
#
#   run.sh [--timeout=SECONDS] [--memory=MIB] [--] COMMAND [ARGUMENT…]
#
# The guest sees all files of the host at their places, so it runs the host's programs on this checkout. What it writes is lost when it ends. The command starts in
# the same folder, with the same environment, as root, without standard input; its output arrives here as it is written, and its exit code is that of this script.
# There: rxe0 on rdma0 with 10.77.0.1, rxe1 on rdma1 with 10.77.0.2, the two ends of one cable; GID index 1 is the RoCE v2 one. No way out to other machines.
#
# Nothing needs root: QEMU emulates the processor, 8 to 25 times slower than the real one. RDMA_GUEST_ACCEL and RDMA_GUEST_CPU are QEMU's -accel and -cpu.
# Exit codes of its own: 124 the time was over, 125 the guest could not be prepared or ended without an answer (the end of its console is shown).
set -euo pipefail
here=$(dirname "$(realpath -- "${BASH_SOURCE[0]}")")

# An old processor on purpose. Newer ones have PCID and ERMS, with which emulated task switches take 8 times and copies in the kernel twice as long.
# rdrand gives the kernel its first random numbers; Node is quicker at TLS with aes.
cpu=${RDMA_GUEST_CPU:-Nehalem,+rdrand,+aes}
accel=${RDMA_GUEST_ACCEL:-tcg,thread=multi,tb-size=512}
timeout=1200
memory=3072

while [ $# -gt 0 ]; do
  case $1 in
    --timeout=*) timeout=${1#*=} && shift ;;
    --memory=*) memory=${1#*=} && shift ;;
    --) shift && break ;;
    -*) echo "run.sh knows no option $1" >&2 && exit 125 ;;
    *) break ;;
  esac
done
[ $# -gt 0 ] || { echo 'Usage: run.sh [--timeout=SECONDS] [--memory=MIB] [--] COMMAND [ARGUMENT…]' >&2 && exit 125; }
cache=$("$here/prepare.sh") || exit 125

work=$(mktemp -d)
machine='' readers=()
# Whatever ends this script ends the machine too. SIGKILL cannot be caught: then the kernel tells the machine (setpriv below).
# shellcheck disable=SC2317
finish() {
  local process
  for process in $machine "${readers[@]}"; do kill "$process" 2>/dev/null || true; done
  [ -z "$machine" ] || wait "$machine" || true
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# The command travels as a second archive behind the first one: the kernel unpacks both.
mkdir "$work/run"
echo "$(realpath "$cache")/kernel/lib/modules" >"$work/run/modules"
{
  export -p
  printf 'cd %q && exec' "$PWD"
  printf ' %q' "$@"
} >"$work/run/command"
{
  cat "$cache/initramfs.gz"
  cd "$work" && find run | cpio -o -H newc --quiet | gzip -1
} >"$work/initramfs"

mkfifo "$work/out" "$work/err"
# When our reader leaves (`| head`), the guest must be able to go on writing: somebody reads to the end.
{ cat 2>/dev/null || exec cat >/dev/null; } <"$work/out" &
readers+=($!)
{ cat >&2 2>/dev/null || exec cat >/dev/null; } <"$work/err" &
readers+=($!)

qemu=(
  qemu-system-x86_64 -M 'q35,usb=off' -accel "$accel" -cpu "$cpu" -smp 2 -m "$memory"
  -nodefaults -no-user-config -display none -no-reboot
  -kernel "$cache/kernel/vmlinux" -initrd "$work/initramfs"
  # tsc=unstable: the kernel keeps time by the emulated HPET, which a busy host cannot spoil while the guest boots.
  -append 'console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off nokaslr tsc=unstable random.trust_cpu=on apparmor=0'
  -chardev "file,id=console,path=$work/console" -serial 'chardev:console'
  -device 'virtio-serial-pci,max_ports=8'
)
for port in out err status; do
  qemu+=(-chardev "file,id=$port,path=$work/$port" -device "virtserialport,chardev=$port,name=$port")
done
# The host's root may consist of several file systems with the same inode numbers.
qemu+=(-virtfs 'local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap')

setpriv --pdeathsig TERM timeout --kill-after 5 "$timeout" "${qemu[@]}" </dev/null 2>"$work/errors" &
machine=$!
status=0
wait "$machine" || status=$?
machine=''
# A machine that never started has not opened the pipes: their readers would wait for ever.
for port in out err; do : 1<>"$work/$port"; done
wait "${readers[@]}" || true
readers=()
if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
  echo "The guest was ended after $timeout s" >&2
  exit 124
fi
answer=$(cat "$work/status" 2>/dev/null || true)
if ! [[ $answer =~ ^[0-9]+$ ]]; then
  echo "The guest ended without an answer (QEMU: $status)" >&2
  tail -n 5 "$work/errors" >&2
  tail -n 40 "$work/console" >&2
  exit 125
fi
exit "$answer"
