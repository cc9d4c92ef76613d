# What building Farthing needs beside Rust: sourced by testnet/up and tests/run.
#
# RocksDB is compiled from source with a C++ compiler, and its bindings are generated with libclang.

say() { printf '%s\n' "$*" >&2; }

fail() {
  say "$*"
  exit 1
}

# Whether the bindings' generator will find libclang and the headers that come with it: where it is told to look, or where
# distributions put them.
have_libclang() {
  [ -n "${LIBCLANG_PATH-}" ] && return 0
  local libraries
  for libraries in /usr/lib/llvm-*/lib /usr/lib64/llvm*/lib /usr/lib64 /usr/lib /usr/local/lib; do
    if compgen -G "$libraries/libclang[.-][!c]*" > /dev/null && compgen -G "$libraries/clang/*/include/stddef.h" > /dev/null; then
      return 0
    fi
  done
  return 1
}

# What building needs: installs with apt what is missing; where that cannot be done, says what to install.
require_build_tools() {
  command -v cargo > /dev/null || fail "cargo is missing: install Rust from https://rustup.rs, then run this again"
  local packages=()
  command -v c++ > /dev/null || packages+=(g++)
  have_libclang || packages+=(libclang-dev)
  install_packages "install a C++ compiler and libclang (Debian and Ubuntu: apt-get install g++ libclang-dev; Fedora: dnf install gcc-c++ clang-devel; Arch: pacman -S gcc clang), then run this again" "${packages[@]}"
}

# What the tests of faults need beside that: strace makes system calls fail, libfaketime gives a process another clock.
require_fault_tools() {
  local packages=()
  command -v strace > /dev/null || packages+=(strace)
  compgen -G "/usr/lib*/*/faketime/libfaketimeMT.so.1" > /dev/null || compgen -G "/usr/*lib*/faketime/libfaketimeMT.so.1" > /dev/null ||
    packages+=(libfaketime)
  install_packages "install strace and libfaketime (with apt-get, dnf or pacman; the packages are called so), then run this again" "${packages[@]}"
}

# Installs packages with apt, if there are any: install_packages ADVICE [PACKAGE...]
install_packages() {
  local advice=$1 packages=("${@:2}")
  [ "${#packages[@]}" -eq 0 ] && return 0
  command -v apt-get > /dev/null || fail "missing: ${packages[*]}; $advice"
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo > /dev/null || fail "missing: ${packages[*]}; as root, run: apt-get install ${packages[*]}"
    as_root=(sudo)
    [ -t 0 ] || as_root=(sudo -n) # nobody is there to type a password
  fi
  as_root+=(env DEBIAN_FRONTEND=noninteractive)
  say "installing ${packages[*]} with apt"
  local install=("${as_root[@]}" apt-get install -y --no-install-recommends "${packages[@]}")
  "${install[@]}" < /dev/null >&2 && return 0
  say "updating apt's lists and trying again"
  "${as_root[@]}" apt-get update < /dev/null >&2 || true
  "${install[@]}" < /dev/null >&2 || fail "apt cannot install ${packages[*]}; $advice"
}

# The directory of what cargo builds for the workspace at $1, whatever configures it.
target_directory() {
  cargo metadata --manifest-path "$1/Cargo.toml" --no-deps --format-version 1 |
    sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}
