#!/usr/bin/env bash
# Build and run the tests of native/: as released, under the sanitizers, and for aarch64 under emulation.
#   native/tests/run.sh BUILD_FOLDER [PYTHON]      the Python that has nanobind
# Where a tool is missing, CI (CI=true) fails; elsewhere what needs it is left out, and said so.
set -euo pipefail
source=$(cd "$(dirname "$0")/.." && pwd)
build=$1
python=${2:-python3}
unset tests  # of the caller

# Build and run all tests, or those that `tests` names.
run() {
  local name=$1 only targets pattern
  shift
  read -ra only <<< "${tests:-}"
  targets=("${only[@]/#/test_}")
  pattern=$(IFS='|' && echo "${only[*]}")
  echo "== native tests: $name"
  cmake -S "$source" -B "$build/$name" -DNEXTWORD_WERROR=ON "$@" > "$build/$name.log" || { cat "$build/$name.log"; exit 1; }
  cmake --build "$build/$name" --parallel "$(nproc)" ${tests:+--target "${targets[@]}"} > "$build/$name.log" ||
    { cat "$build/$name.log"; exit 1; }
  ctest --test-dir "$build/$name" --output-on-failure --parallel "$(nproc)" ${tests:+--tests-regex "^($pattern)"}
  grep --max-count=1 '^instruction sets:' "$build/$name/Testing/Temporary/LastTest.log" || echo "no instruction set compared"
}

# Compile the library and its tests with clang: it has other warnings, and is what macOS compiles with.
compile_with_clang() {
  local name=clang-$1
  echo "== native sources: $name"
  cmake -S "$source" -B "$build/$name" -DNEXTWORD_WERROR=ON -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS=-O0 \
    -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR="$1" \
    -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_CXX_COMPILER_TARGET="$1-linux-gnu" > "$build/$name.log" || { cat "$build/$name.log"; exit 1; }
  cmake --build "$build/$name" --parallel "$(nproc)" > "$build/$name.log" || { cat "$build/$name.log"; exit 1; }
}

compile_bindings_with_clang() {
  local folders
  folders=$("$python" -c 'import nanobind, sysconfig; print(nanobind.include_dir(), sysconfig.get_path("include"), sep="\n")')
  echo "== native sources: clang, bindings"
  # Warnings in the headers of others are theirs.
  printf '%s\n' "$source"/bind*.cpp "$source"/gil.cpp | xargs -P "$(nproc)" -I {} clang++ -std=c++17 -fsyntax-only \
    -Wall -Wextra -Werror -isystem "${folders%%$'\n'*}" -isystem "${folders##*$'\n'}" {}
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
tests='schedules model threads packing' run thread "${checked[@]}" -DNEXTWORD_SANITIZE=thread

if command -v aarch64-linux-gnu-g++ > /dev/null && command -v qemu-aarch64 > /dev/null; then
  emulated=(-DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++
    "-DCMAKE_CROSSCOMPILING_EMULATOR=qemu-aarch64;-L;/usr/aarch64-linux-gnu")
  run aarch64 -DCMAKE_BUILD_TYPE=Release "${emulated[@]}"
  # That emulates every extension. These processors lack the products of matrices, and those of vectors as well.
  for cpu in neoverse-n1 cortex-a72; do
    echo "== native tests: aarch64, $cpu"
    QEMU_CPU=$cpu ctest --test-dir "$build/aarch64" --output-on-failure --parallel "$(nproc)" \
      --tests-regex 'kernels|training|select'
  done
  # Only the tests of the kernels' own arithmetic: the rest is the same code as on x86-64.
  tests='kernels select training' run aarch64-undefined "${checked[@]}" "${emulated[@]}" \
    -DNEXTWORD_SANITIZE=undefined,float-cast-overflow
else
  leave_out "the native tests on aarch64, which want Debian's g++-aarch64-linux-gnu and qemu-user"
fi

if command -v clang++ > /dev/null && command -v aarch64-linux-gnu-g++ > /dev/null; then
  compile_with_clang x86_64
  compile_with_clang aarch64
  if "$python" -c 'import nanobind' 2> /dev/null; then
    compile_bindings_with_clang
  else
    leave_out "clang's warnings in the bindings, which want a Python with nanobind: native/tests/run.sh BUILD_FOLDER PYTHON"
  fi
else
  leave_out "clang's warnings, which want Debian's clang and g++-aarch64-linux-gnu"
fi
