// Arrays of Python, as functions take them: contiguous, in the memory of the CPU.

#ifndef NEXTWORD_ARRAYS_H
#define NEXTWORD_ARRAYS_H

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>

namespace nextword {

namespace nb = nanobind;

template <class Element, size_t num_dims>
using Array = nb::ndarray<Element, nb::ndim<num_dims>, nb::c_contig, nb::device::cpu>;

using Bytes = Array<const uint8_t, 1>;
using Floats = Array<const float, 1>;
using FloatsOut = Array<float, 1>;

}  // namespace nextword

#endif
