#!/bin/sh
# The libraries that the benchmarks compare with, in an environment on top of the project's own:
#   benchmarks/peers/install.sh .venv build/peers
# llama.cpp and its fork are compiled for this processor, which takes about ten minutes each on two cores. What cannot be
# installed is left out, and the benchmark says so.
set -eu
base=$1
target=$2
python=$target/bin/python
pip="$python -m pip --quiet --disable-pip-version-check"

"$base/bin/python" -m venv "$target"
"$python" -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["bench"], sep="\n")' \
  > "$target/requirements.txt"
while read -r requirement; do
  echo "installing $requirement"
  CMAKE_ARGS=-DGGML_NATIVE=ON $pip install "$requirement" || echo "$requirement: cannot be installed here"
done < "$target/requirements.txt"

# The fork's package on the index is compiled for any processor with AVX2, and its source package does not build as a
# whole: take its bindings, and compile the library alone.
compile_ik() {
  mkdir -p "$target/ik"
  $pip download --no-deps --no-binary :all: --dest "$target/ik" "$1"
  tar xzf "$target"/ik/*.tar.gz -C "$target/ik" --strip-components 1
  $pip install cmake ninja
  PATH=$(cd "$target/bin" && pwd):$PATH
  cmake -G Ninja -S "$target/ik/vendor/ik_llama.cpp" -B "$target/ik/build" -DCMAKE_BUILD_TYPE=Release \
    -DBUILD_SHARED_LIBS=ON -DGGML_NATIVE=ON -DCMAKE_BUILD_RPATH_USE_ORIGIN=ON '-DCMAKE_BUILD_RPATH=$ORIGIN' \
    -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF
  cmake --build "$target/ik/build" --target llama
  cp "$target/ik/build/src/libllama.so" "$target/ik/build/ggml/src/libggml.so" "$target"/lib/python3*/site-packages/ik_llama_cpp/lib/
}
echo "compiling ik_llama.cpp"
version=$("$python" -c 'from importlib.metadata import version; print(version("ik-llama-cpp-python"))')
compile_ik "ik-llama-cpp-python==$version" > "$target/ik.log" 2>&1 || echo "ik_llama.cpp: cannot be compiled here, see $target/ik.log; its package stays as it is"

# Last, so that nothing above took what is there for installed.
site=$("$base/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo "import site; site.addsitedir('$site')" > "$(echo "$target"/lib/python3*/site-packages)/below.pth"
