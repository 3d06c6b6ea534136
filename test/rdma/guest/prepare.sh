#!/usr/bin/env bash
# Makes what the guest boots from and prints the folder that holds it: kernel/ and initramfs.gz. Does nothing when that is there already.
#
# The kernel is the one of Debian's package linux-image-amd64, downloaded and unpacked, never installed. No root is needed.
# RDMA_GUEST_CACHE names the folder; delete it to take a newer kernel. About 100 MB.
set -euo pipefail
here=$(dirname "$(realpath -- "${BASH_SOURCE[0]}")")
cache=${RDMA_GUEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/dragonfly-peer-rdma-guest}
PATH=$PATH:/usr/sbin:/sbin

# What init loads before it can see the host's files. Everything else it loads from there.
early=(virtio_pci 9pnet_virtio 9p virtio_console overlay)

# Of the package's 400 MB these are used: the RDMA devices in software, the network with its queueing disciplines, and what they depend on.
directories=(
  'drivers/infiniband/core' 'drivers/infiniband/sw' 'drivers/virtio' 'drivers/char/virtio_console.ko' 'drivers/net/veth.ko'
  'net' 'fs/9p' 'fs/netfs' 'fs/fscache' 'fs/configfs' 'fs/overlayfs' 'lib' 'crypto'
)

# kernel FOLDER: puts version, vmlinux and the modules into the folder.
kernel() {
  local into=$1 package version start
  # linux-image-amd64 holds nothing itself: it depends on the package of the current version. The variant for clouds has neither rxe nor 9p.
  package=$(apt-cache depends linux-image-amd64 | awk '$1 == "Depends:" { print $2; exit }')
  [ -n "$package" ] || { echo 'apt knows no linux-image-amd64; apt-get update may help' >&2; return 1; }
  version=${package#linux-image-}
  # Its own user for downloads may not write here, which it would complain about.
  (cd "$into" && apt-get -qq -o Acquire::Retries=3 -o APT::Sandbox::User=root download "$package" >&2)
  dpkg-deb --fsys-tarfile "$into/$package"_*.deb | tar -x -C "$into" --wildcards "./boot/vmlinuz-*" \
    "./lib/modules/$version/modules.*" "${directories[@]/#/./lib/modules/$version/kernel/}"
  depmod -b "$into" "$version"
  # vmlinuz is a small loader with the kernel proper behind it, packed with xz. QEMU starts that one directly, 3 s sooner.
  start=$(LC_ALL=C grep -aobP -m1 '\xfd7zXZ\x00' "$into/boot/vmlinuz-$version" | head -1 | cut -d: -f1)
  # There is more behind the packed part, which xz calls an error.
  tail -c "+$((start + 1))" "$into/boot/vmlinuz-$version" | xz -dc >"$into/vmlinux" 2>/dev/null || true
  if [ "$(head -c 4 "$into/vmlinux" | tail -c 3)" != ELF ]; then
    cp "$into/boot/vmlinuz-$version" "$into/vmlinux"
  fi
  echo "$version" >"$into/version"
  rm -r "${into:?}/boot" "$into/$package"_*.deb
}

# initramfs KERNEL FOLDER: makes FOLDER/initramfs.gz, with busybox, the early modules in their order, and init.
initramfs() {
  local kernel=$1 root=$2/root version number=100 module
  version=$(cat "$kernel/version")
  mkdir -p "$root"/{bin,dev,proc,sys,host,writes,root,modules}
  cp "$(command -v busybox)" "$root/bin/busybox"
  while read -r module; do
    cp "$module" "$root/modules/$number-${module##*/}"
    number=$((number + 1))
  done < <(for module in "${early[@]}"; do
    modprobe -d "$kernel" -S "$version" --show-depends "$module"
  done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }')
  install -m 755 "$here/init.sh" "$root/init"
  (cd "$root" && find . | cpio -o -H newc --quiet) | gzip -1 >"$2/initramfs.gz"
}

if ldd "$(command -v busybox)" >/dev/null 2>&1; then
  echo 'busybox needs libraries, which the guest does not have when it begins: install busybox-static' >&2
  exit 1
fi
mkdir -p "$cache"
# Two that start at once prepare once.
exec 9>"$cache/lock"
flock 9
work=$(mktemp -d "$cache/work.XXXXXX")
trap 'rm -rf "$work"' EXIT

if ! [ -e "$cache/kernel/version" ]; then
  mkdir "$work/kernel"
  kernel "$work/kernel"
  rm -rf "$cache/kernel" "$cache/initramfs.gz"
  mv "$work/kernel" "$cache/kernel"
fi
made_from=$(cat "$here/prepare.sh" "$here/init.sh" | sha256sum)
if ! [ -e "$cache/initramfs.gz" ] || [ "$(cat "$cache/made-from" 2>/dev/null)" != "$made_from" ]; then
  initramfs "$cache/kernel" "$work"
  mv "$work/initramfs.gz" "$cache/initramfs.gz"
  echo "$made_from" >"$cache/made-from"
fi
echo "$cache"
