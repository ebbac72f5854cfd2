#!/usr/bin/env bash
# Build and run the tests of native/: as released, under the sanitizers, and for aarch64 under emulation.
#   native/tests/run.sh BUILD_FOLDER
# Where a tool is missing, CI (CI=true) fails; elsewhere what needs it is left out, and said so.
set -euo pipefail
source=$(cd "$(dirname "$0")/.." && pwd)
build=$1

run() {
  local name=$1
  shift
  echo "== native tests: $name"
  cmake -S "$source" -B "$build/$name" -DNEXTWORD_WERROR=ON "$@" > "$build/$name.log" || { cat "$build/$name.log"; exit 1; }
  cmake --build "$build/$name" --parallel "$(nproc)" > "$build/$name.log" || { cat "$build/$name.log"; exit 1; }
  ctest --test-dir "$build/$name" --output-on-failure --parallel "$(nproc)" ${tests:+--tests-regex "$tests"}
}

leave_out() {
  echo "not run: $1" >&2
  [ "${CI:-}" != true ]
}

if ! command -v cmake > /dev/null || ! command -v c++ > /dev/null; then
  leave_out "the native tests, which want cmake and a C++17 compiler"
  exit
fi

mkdir -p "$build"
run release -DCMAKE_BUILD_TYPE=Release
# Lightly optimised, so that checked code compiles and runs in a minute.
checked=(-DCMAKE_BUILD_TYPE=None "-DCMAKE_CXX_FLAGS=-O1 -g1")
run address-undefined "${checked[@]}" -DNEXTWORD_SANITIZE=address,undefined,float-cast-overflow
tests='threads|model' run thread "${checked[@]}" -DNEXTWORD_SANITIZE=thread

if command -v aarch64-linux-gnu-g++ > /dev/null && command -v qemu-aarch64 > /dev/null; then
  run aarch64 -DCMAKE_BUILD_TYPE=Release -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
    -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ "-DCMAKE_CROSSCOMPILING_EMULATOR=qemu-aarch64;-L;/usr/aarch64-linux-gnu"
else
  leave_out "the native tests on aarch64, which want Debian's g++-aarch64-linux-gnu and qemu-user"
fi
