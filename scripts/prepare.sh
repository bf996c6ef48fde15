# Sourced by scripts/demo, scripts/examples and scripts/test, from the root of the repository, with `set -eu`.
# Makes sure that the program can be built and finds an adapter to compute on.
# POSIX sh: nothing but a Rust toolchain and a system's package manager is expected.

# Mesa's device-select layer looks for a Wayland display and complains on stderr where there is none.
[ -n "${XDG_RUNTIME_DIR:-}" ] || export NODEVICE_SELECT=1

say() { printf '%s\n' "$*" >&2; }

die() {
    say "error: $*"
    exit 1
}

# The name of the system's package manager, or nothing.
package_manager() {
    for manager in apt-get dnf pacman apk zypper; do
        if command -v "$manager" >/dev/null 2>&1; then
            echo "$manager"
            return
        fi
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif ! command -v sudo >/dev/null 2>&1; then
        die "this needs root, and there is no sudo. Run as root: $*"
    elif [ -t 0 ]; then
        sudo "$@"
    else
        # Nobody is there to type a password.
        sudo -n true 2>/dev/null || die "this needs root. Run: sudo $*"
        sudo -n "$@"
    fi
}

install_packages() {
    say "installing $* with $(package_manager)"
    case $(package_manager) in
    apt-get)
        # Package lists may be missing or old; a list that cannot be updated may still do.
        as_root apt-get update -qq || say "apt-get update failed; trying with the package lists on this machine"
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >&2
        ;;
    dnf) as_root dnf install -q -y "$@" >&2 ;;
    pacman) as_root pacman -S --needed --noconfirm "$@" >&2 ;;
    apk) as_root apk add -q "$@" >&2 ;;
    zypper) as_root zypper -q -n install "$@" >&2 ;;
    esac
}

need_cargo() {
    command -v cargo >/dev/null 2>&1 || PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
    command -v cargo >/dev/null 2>&1 || die "cargo is missing. Install Rust from https://rustup.rs and run this again."
}

# Rust links with the system's C compiler.
need_c_compiler() {
    case $(uname -s) in
    Linux | Darwin) ;;
    *) return ;; # Rust's installer sees to it on Windows.
    esac
    if command -v cc >/dev/null 2>&1; then
        return
    fi
    if [ "$(uname -s)" = Darwin ]; then
        die "a C compiler is missing. Run: xcode-select --install"
    fi
    case $(package_manager) in
    apt-get) install_packages gcc libc6-dev ;;
    apk) install_packages build-base ;;
    dnf | pacman | zypper) install_packages gcc ;;
    *) die "a C compiler is missing (cc). Install gcc or clang and run this again." ;;
    esac
}

# Whether the program $1 finds an adapter.
finds_adapter() {
    devices=$("$1" devices --json 2>/dev/null | tr -d ' \t\r\n') || devices=
    case $devices in
    *'"devices":[]'*) return 1 ;;
    *'"devices":['*) return 0 ;;
    *) return 1 ;;
    esac
}

# Whether it found one otherwise than through OpenGL. After finds_adapter.
has_native_adapter() {
    case $(printf '%s' "$devices" | sed 's/"backend":"Gl"//g') in
    *'"backend":"'*) return 0 ;;
    *) return 1 ;;
    esac
}

# Installs Mesa's lavapipe, which runs Vulkan on the CPU.
install_vulkan() {
    case $(package_manager) in
    apt-get) install_packages libvulkan1 mesa-vulkan-drivers ;;
    dnf) install_packages vulkan-loader mesa-vulkan-drivers ;;
    pacman) install_packages vulkan-icd-loader vulkan-swrast ;;
    apk) install_packages vulkan-loader mesa-vulkan-swrast ;;
    zypper) install_packages libvulkan1 libvulkan_lvp ;;
    *) die "install the Vulkan loader and a driver (Mesa's lavapipe runs on any CPU) and run this again" ;;
    esac
}

# Sees that the program $1 finds an adapter, and one of Vulkan's where that is a package away.
need_adapter() {
    if finds_adapter "$1"; then
        # OpenGL will do where a better interface cannot be had, or where it is asked for.
        if has_native_adapter || [ -n "${WGPU_BACKEND:-}" ] || [ "$(uname -s)" != Linux ]; then
            return
        fi
        say "found only an OpenGL adapter; Vulkan is faster"
        (install_vulkan) || say "cannot install a Vulkan driver"
        finds_adapter "$1" || die "the OpenGL adapter found before is gone"
        has_native_adapter || say "continuing with OpenGL"
        return
    fi
    say "found no GPU adapter"
    case $(uname -s) in
    Linux) ;;
    Darwin) die "every Mac that runs a current macOS has Metal; this one offers no Metal device" ;;
    *) die "install a graphics driver with Vulkan or DirectX 12 and run this again" ;;
    esac
    install_vulkan
    finds_adapter "$1" || {
        "$1" devices >&2 || true
        die "a Vulkan driver is installed, but bantam finds no adapter. Run 'vulkaninfo --summary' to see why."
    }
}

# Builds the program with a command of cargo, and sees that it finds an adapter. $1 is the folder,
# under the target folder, in which cargo puts it; the others are the command.
build_and_prepare() {
    folder=$1
    shift
    need_cargo
    need_c_compiler
    cargo "$@"
    bantam=${CARGO_TARGET_DIR:-target}/$folder/bantam
    [ -x "$bantam" ] || bantam=$bantam.exe
    need_adapter "$bantam"
}
