# Debian 13 beside this system, made by debootstrap: its rustc is the oldest supported, and it is what a Raspberry Pi OS of
# today stands on. Source this file from a script in scripts/, as root, then:
#
#   debian_make                    makes the system once, below cargo's target directory, with what a build needs
#   debian_add NAME PACKAGE...     installs packages in it once; NAME is remembered
#   debian_enter ARGUMENT...       runs the calling script again with these arguments in a mount namespace of its own, so that
#                                  no mount outlives it and nothing outside sees one
#   debian_mount                   there: this tree at /kinora, cargo's registry at /cargo/registry, /proc
#   debian_run COMMAND...          there: a command in the system, with a clean environment; FOO=bar before it sets variables
#
# Whatever fails prints the end of its log and ends the script.

TARGET=${CARGO_TARGET_DIR:-$PWD/target}
DEBIAN=$TARGET/debian13
DEBIAN_PACKAGES=rustc,cargo,gcc,g++,libc6-dev,make,cmake,nasm,libclang-dev,linux-libc-dev,pkg-config,ca-certificates

debian_say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

debian_fail() {
    tail -n 20 "$DEBIAN.log" >&2
    debian_say "$1; its whole log is $DEBIAN.log"
    exit 1
}

debian_make() {
    [ "$(id -u)" -eq 0 ] || { debian_say "needs root, for debootstrap and chroot"; exit 1; }
    [ -e "$DEBIAN/.complete" ] && return
    rm -rf "$DEBIAN"
    mkdir -p "$TARGET"
    # shellcheck disable=SC2046
    debootstrap --variant=minbase --include="$DEBIAN_PACKAGES" trixie "$DEBIAN" $(debian_mirror) >"$DEBIAN.log" 2>&1 ||
        debian_fail "debootstrap failed"
    mkdir -p "$DEBIAN/kinora" "$DEBIAN/cargo/registry" "$DEBIAN/target" "$DEBIAN/shared"
    rm -f "$DEBIAN"/var/cache/apt/archives/*.deb
    touch "$DEBIAN/.complete"
}

# The mirror that this system's own apt uses, if it is one of Debian; nothing, and so debootstrap's default, otherwise.
debian_mirror() { apt-get indextargets --format '$(SITE)' 2>/dev/null | grep -m 1 '/debian/\{0,1\}$' || true; }

debian_add() {
    local name=$1
    shift
    [ -e "$DEBIAN/.added-$name" ] && return
    cp /etc/resolv.conf "$DEBIAN/etc/resolv.conf"
    apt-config dump 2>/dev/null | grep -i '^Acquire::https\?::Proxy' >"$DEBIAN/etc/apt/apt.conf.d/90proxy" || true
    # Nothing in the system starts a service.
    printf '#!/bin/sh\nexit 101\n' >"$DEBIAN/usr/sbin/policy-rc.d"
    chmod +x "$DEBIAN/usr/sbin/policy-rc.d"
    # It can be made again: nobody waits for its disk.
    echo force-unsafe-io >"$DEBIAN/etc/dpkg/dpkg.cfg.d/unsafe-io"
    { debian_apt update && debian_apt install --no-install-recommends "$@" && debian_apt clean; } >>"$DEBIAN.log" 2>&1 ||
        debian_fail "apt could not install: $*"
    touch "$DEBIAN/.added-$name"
}

debian_apt() {
    chroot "$DEBIAN" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive \
        apt-get -q -y -o Acquire::Retries=2 -o APT::Update::Error-Mode=any "$@"
}

debian_enter() { unshare --mount --propagation private "$0" "$@"; }

# The sources and the registry come from this system, so that nothing is downloaded twice.
debian_mount() {
    mount --bind "$PWD" "$DEBIAN/kinora"
    mount --bind "${CARGO_HOME:-$HOME/.cargo}/registry" "$DEBIAN/cargo/registry"
    mount -t proc proc "$DEBIAN/proc"
}

# The build directory is the system's own: another compiler's files in it would be of no use.
debian_run() {
    chroot "$DEBIAN" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root CARGO_HOME=/cargo CARGO_TARGET_DIR=/target \
        CARGO_NET_OFFLINE=true RUSTFLAGS="--cap-lints warn" "$@"
}

# -- two architectures: amd64, which this system is, and arm64, as on a Raspberry Pi

debian_make_cross() {
    [ -e "$DEBIAN/.added-cross" ] || chroot "$DEBIAN" dpkg --add-architecture arm64
    debian_add cross libstd-rust-dev:arm64 libc6-dev:arm64 linux-libc-dev:arm64 gcc-aarch64-linux-gnu g++-aarch64-linux-gnu \
        qemu-user-static dpkg-dev
}

# Looks at units; nothing is started by it.
debian_make_systemd() { debian_add systemd systemd; }

debian_triple() { case $1 in arm64) echo aarch64-unknown-linux-gnu ;; *) echo x86_64-unknown-linux-gnu ;; esac; }

debian_tool() { case $1 in arm64) echo "aarch64-linux-gnu-$2" ;; *) echo "x86_64-linux-gnu-$2" ;; esac; }

# debian_cargo "ARCH..." COMMAND...: cargo for these architectures at once, so that neither core waits while the other links;
# what it runs of arm64 runs under qemu. EXPORT="A=1 B=2" adds variables.
debian_cargo() {
    local command=$2 targets=() arch
    for arch in $1; do targets+=(--target "$(debian_triple "$arch")"); done
    shift 2
    # shellcheck disable=SC2086
    debian_run ${EXPORT-} \
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER=qemu-aarch64-static \
        CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc CXX_aarch64_unknown_linux_gnu=aarch64-linux-gnu-g++ \
        AR_aarch64_unknown_linux_gnu=aarch64-linux-gnu-ar \
        cargo "$command" --locked --manifest-path /kinora/Cargo.toml "${targets[@]}" "$@"
}
