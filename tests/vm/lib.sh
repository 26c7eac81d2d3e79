# Virtual machines for tests that need a real kernel: stock Debian kernel, its modules, programs of this host.
#
# Source this file, then:
#   vm_prepare                         installs what is missing (apt), fetches and unpacks the kernel; sets VM_RELEASE
#   vm_module NAME...                  modules (with what they need) that the guest finds; load them with `modprobe NAME`
#   vm_build DIRECTORY NAME            a module of ours, built from a copy of DIRECTORY against the kernel's own headers
#   vm_program FILE [AS]               a program of this host, with its shared libraries; AS: its path in the guest
#   vm_file FILE AS                    any file
#   vm_image FILE < SCRIPT             packs all that into an initramfs that runs SCRIPT, for who starts qemu on their own
#   vm_boot LOG SECONDS < SCRIPT       boots, runs SCRIPT with sh in the guest, prints what it prints, keeps it in LOG;
#                                      returns the script's exit code, 124 after SECONDS, 125 when the guest died
#
# The kernel's own messages go to LOG.kernel. Everything is kept under $VM_CACHE (default: vm/ in cargo's target
# directory). VM_ACCEL=kvm is faster where /dev/kvm can be used; the default, tcg, works everywhere. VM_MEMORY_MB,
# VM_CPUS: the guest's size. VM_QEMU: more options for qemu (disks, for example).

VM_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
VM_CACHE=${VM_CACHE:-${CARGO_TARGET_DIR:-$VM_ROOT/target}/vm}
VM_TREE=$VM_CACHE/tree.$$
VM_TOOLS="qemu-system-x86_64:qemu-system-x86 busybox:busybox-static cpio:cpio depmod:kmod timeout:coreutils"
trap 'rm -rf "$VM_TREE" "$VM_CACHE"/initramfs.$$.*' EXIT

vm_say() { printf 'vm: %s\n' "$*" >&2; }

vm_fail() {
    vm_say "$@"
    exit 1
}

# What this host lacks: the test is skipped, unless KINORA_REQUIRE_VM=1 says that nothing may be.
vm_lacks() {
    [ "${KINORA_REQUIRE_VM:-0}" = 1 ] && vm_fail "$@"
    printf 'skipped: %s\n0 passed, 0 failed\n' "$*"
    exit 0
}

vm_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

vm_prepare() {
    [ "$(uname -m)" = x86_64 ] || vm_lacks "this host is $(uname -m); the guest runs its programs, so it must be x86_64"
    mkdir -p "$VM_CACHE"
    vm_install
    vm_kernel
    rm -rf "$VM_TREE"
    mkdir -p "$VM_TREE"/{bin,dev,proc,sys,tmp,etc,root,lib/modules/"$VM_RELEASE"}
    cp "$(command -v busybox)" "$VM_TREE/bin/busybox"
    ldd "$VM_TREE/bin/busybox" >/dev/null 2>&1 && vm_fail "busybox is not static; run: apt-get install busybox-static"
    cp "$VM_KERNEL"/lib/modules/"$VM_RELEASE"/modules.{order,builtin,builtin.modinfo} "$VM_TREE/lib/modules/$VM_RELEASE/"
    return 0
}

vm_install() {
    local pair missing=
    for pair in $VM_TOOLS; do
        PATH=$PATH:/usr/sbin:/sbin command -v "${pair%%:*}" >/dev/null || missing+=" ${pair##*:}"
    done
    [ -z "$missing" ] && return
    vm_say "installing$missing"
    # shellcheck disable=SC2086
    { vm_root apt-get update -q && vm_root apt-get install -qy --no-install-recommends $missing; } >&2 ||
        vm_lacks "could not install:$missing; run as root: apt-get install$missing"
}

# The kernel package is only unpacked: nothing of it is installed on this host.
vm_kernel() {
    VM_KERNEL=$VM_CACHE/kernel
    if [ ! -e "$VM_KERNEL/complete" ]; then
        local package
        package=$(apt-cache depends linux-image-amd64 | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -1)
        [ -n "$package" ] || vm_lacks "apt knows no linux-image-amd64; run: apt-get update"
        vm_say "fetching $package"
        rm -rf "$VM_KERNEL" "$VM_CACHE"/linux-image-*.deb
        (cd "$VM_CACHE" && apt-get download -q "$package" >&2) || vm_lacks "could not fetch $package; run: apt-get update"
        mkdir -p "$VM_KERNEL"
        dpkg-deb -x "$VM_CACHE"/linux-image-*.deb "$VM_KERNEL"
        rm -f "$VM_CACHE"/linux-image-*.deb
        # Debian 13 has its modules below usr/lib.
        [ -d "$VM_KERNEL/lib/modules" ] || ln -s usr/lib "$VM_KERNEL/lib"
        PATH=$PATH:/usr/sbin:/sbin depmod -b "$VM_KERNEL" "$(ls "$VM_KERNEL/lib/modules")"
        touch "$VM_KERNEL/complete"
    fi
    VM_RELEASE=$(ls "$VM_KERNEL/lib/modules")
}

vm_module() {
    local name path
    for name in "$@"; do
        PATH=$PATH:/usr/sbin:/sbin modprobe -d "$VM_KERNEL" -S "$VM_RELEASE" --show-depends "$name" >"$VM_TREE/depends" ||
            vm_fail "kernel $VM_RELEASE has no module $name"
        while read -r verb path _; do
            [ "$verb" = insmod ] && vm_unpack_module "$path"
        done <"$VM_TREE/depends"
    done
    rm -f "$VM_TREE/depends"
    PATH=$PATH:/usr/sbin:/sbin depmod -b "$VM_TREE" "$VM_RELEASE"
}

# The headers of that very kernel, unpacked like it. Their makefile names its companion by where it would be installed.
vm_headers() {
    VM_HEADERS=$VM_CACHE/headers/usr/src/linux-headers-$VM_RELEASE
    [ ! -e "$VM_CACHE/headers/complete" ] || [ ! -d "$VM_HEADERS" ] || return 0
    local packages
    packages=$(apt-cache depends "linux-headers-$VM_RELEASE" |
        sed -n 's/^ *Depends: \(linux-headers-.*-common\|linux-kbuild-.*\)/\1/p')
    [ -n "$packages" ] || vm_lacks "apt knows no linux-headers-$VM_RELEASE; remove $VM_KERNEL, run apt-get update, and start again"
    vm_say "fetching linux-headers-$VM_RELEASE"
    rm -rf "$VM_CACHE/headers"
    mkdir -p "$VM_CACHE/headers/usr/src" "$VM_CACHE/headers/usr/lib"
    # shellcheck disable=SC2086
    (cd "$VM_CACHE/headers" && apt-get download -q "linux-headers-$VM_RELEASE" $packages >&2) ||
        vm_lacks "could not fetch linux-headers-$VM_RELEASE; run: apt-get update"
    local package
    for package in "$VM_CACHE"/headers/*.deb; do dpkg-deb -x "$package" "$VM_CACHE/headers"; done
    rm -f "$VM_CACHE"/headers/*.deb
    sed -i "s#/usr/src/#$VM_CACHE/headers/usr/src/#g" "$VM_HEADERS/Makefile"
    touch "$VM_CACHE/headers/complete"
}

vm_build() {
    local source=$1 name=$2 copy=$VM_CACHE/$2 compiler dependency
    vm_headers
    compiler=$(sed -n 's/^CC = .*)\(gcc-[0-9]*\)$/\1/p' "$VM_HEADERS/.kernelvariables")
    [ -z "$compiler" ] || command -v "$compiler" >/dev/null || VM_TOOLS="$compiler:$compiler" vm_install
    mkdir -p "$copy"
    cp -pu "$source"/Kbuild "$source"/*.[ch] "$copy/"
    make -s -C "$VM_HEADERS" M="$copy" modules >"$copy/log" 2>&1 || vm_fail "$name does not build; see $copy/log"
    for dependency in $(PATH=$PATH:/usr/sbin:/sbin modinfo -F depends "$copy/$name.ko" | tr ',' ' '); do
        vm_module "$dependency"
    done
    vm_file "$copy/$name.ko" "/lib/modules/$VM_RELEASE/updates/$name.ko"
    PATH=$PATH:/usr/sbin:/sbin depmod -b "$VM_TREE" "$VM_RELEASE"
}

# Uncompressed, so that the guest needs no decompressor.
vm_unpack_module() {
    local target
    target=$VM_TREE/lib/modules/$VM_RELEASE/${1#*/"$VM_RELEASE"/}
    mkdir -p "$(dirname "$target")"
    case $1 in
    *.xz) xz -dc "$1" >"${target%.xz}" ;;
    *.zst) zstd -qdc "$1" >"${target%.zst}" ;;
    *) cp "$1" "$target" ;;
    esac
}

vm_program() {
    local library
    vm_file "$1" "${2:-/bin/$(basename "$1")}"
    for library in $(ldd "$1" | grep -o '/[^ ]*'); do
        [ -e "$VM_TREE$library" ] || vm_file "$library" "$library"
    done
}

vm_file() { install -D -m "$(stat -Lc %a "$1")" "$1" "$VM_TREE$2"; }

vm_image() {
    local image=$1
    cat >"$VM_TREE/script"
    cat >"$VM_TREE/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs -o size=75% tmp /tmp
stty -F /dev/ttyS1 raw
sh /script >/dev/ttyS1 2>&1 </dev/null
echo "vm exit code: $?" >/dev/ttyS1
sync
poweroff -f
INIT
    chmod 755 "$VM_TREE/init"
    (cd "$VM_TREE" && find . | cpio --quiet -o -H newc | gzip -1) >"$image"
}

vm_boot() {
    local log=$1 seconds=$2 image=$VM_CACHE/initramfs.$$.gz code
    vm_image "$image"
    # shellcheck disable=SC2086
    timeout --kill-after=10 "$seconds" qemu-system-x86_64 -accel "${VM_ACCEL:-tcg}" -cpu "${VM_CPU:-max}" \
        -m "${VM_MEMORY_MB:-1024}" -smp "${VM_CPUS:-2}" -kernel "$VM_KERNEL/boot/vmlinuz-$VM_RELEASE" -initrd "$image" \
        -append "console=ttyS0 quiet panic=-1" -no-reboot -display none -monitor none -nic none \
        -serial "file:$log.kernel" -serial stdio ${VM_QEMU:-} </dev/null | tee "$log" |
        grep --line-buffered -v '^vm exit code: '
    code=${PIPESTATUS[0]}
    rm -f "$image"
    [ "$code" = 124 ] && vm_say "no end after $seconds s" && return 124
    code=$(sed -n 's/^vm exit code: \([0-9]*\).*/\1/p' "$log" | tail -1)
    [ -n "$code" ] || { vm_say "the guest died; the end of $log.kernel:" && tail -20 "$log.kernel" >&2 && return 125; }
    return "$code"
}
