// Choosing a token, as functions of Python: see select.h.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstring>
#include <memory>
#include <vector>

#include "arrays.h"
#include "gil.h"
#include "kernels.h"
#include "philox.h"
#include "select.h"

namespace nextword {
namespace {

using Positions = nb::ndarray<nb::numpy, int64_t, nb::ndim<1>>;

// All instruction sets give the same selection, so none can be chosen by hand.
const Kernels& best_kernels() {
    static const Kernels& kernels = choose_kernels("");
    return kernels;
}

int size_of(const Floats& row) { return static_cast<int>(row.size()); }

template <class Select>
Positions without_gil(const Select& select) {
    auto positions = [&] {
        const GilRelease release;
        return std::make_unique<std::vector<int64_t>>(select());
    }();
    int64_t* const first = positions->data();
    const size_t count = positions->size();
    const nb::capsule owner(positions.release(),
                            [](void* held) noexcept { delete static_cast<std::vector<int64_t>*>(held); });
    return Positions(first, {count}, owner);
}

double softmax_weights(const Floats& logits, float highest, float divisor, int bits, const FloatsOut& out) {
    if (out.size() != logits.size()) throw nb::value_error("the array for the weights has another length");
    const GilRelease release;
    best_kernels().softmax_weights(logits.data(), size_of(logits), highest, divisor, bits, out.data());
    return best_kernels().sum_from(out.data(), 0.0f, out.data(), size_of(logits));
}

Positions bound_largest(const Floats& keys, int64_t k) {
    return without_gil([&] { return largest(best_kernels(), keys.data(), size_of(keys), k); });
}

Positions bound_smallest_set(const Floats& keys, const Floats& weights, double wanted, double total) {
    if (weights.size() != keys.size() || keys.size() == 0)
        throw nb::value_error("as many weights as keys are needed, at least one");
    return without_gil(
        [&] { return smallest_set(best_kernels(), keys.data(), weights.data(), size_of(keys), wanted, total); });
}

int64_t bound_position_at(const Floats& weights, int64_t target) {
    const GilRelease release;
    return position_at(best_kernels(), weights.data(), size_of(weights), target);
}

void bound_keep_allowed(const Floats& logits, const Flags& allowed, const FloatsOut& out) {
    if (allowed.size() != logits.size() || out.size() != logits.size())
        throw nb::value_error("the mask or the array for the logits has another length");
    const float* const from = logits.data();
    const auto* const keeps = reinterpret_cast<const uint8_t*>(allowed.data());
    float* const to = out.data();
    const uint32_t lowest = 0xff800000u;  // the bits of -inf
    const size_t size = logits.size();
    for (size_t i = 0; i < size; ++i) {  // by bits, without a branch: compilers make vectors of it
        uint32_t bits;
        std::memcpy(&bits, from + i, sizeof bits);
        const uint32_t kept = 0u - keeps[i];  // all bits or none
        bits = (bits & kept) | (lowest & ~kept);
        std::memcpy(to + i, &bits, sizeof bits);
    }
}

int64_t bound_argmax(const Floats& logits) {
    if (logits.size() == 0) return -1;
    const GilRelease release;
    return argmax(best_kernels(), logits.data(), size_of(logits));
}

// The draw of decoding/sampler.py, with the random number of decoding/random_stream.py (where numpy's generator counts
// up before it draws).
int64_t bound_draw(const Floats& logits, float divisor, int64_t top_k, double top_p, uint64_t seed,
                   uint64_t sample_index, uint64_t position) {
    if (logits.size() == 0) return -1;
    const GilRelease release;
    const uint64_t number = philox({position + 1, 0, 0, 0}, {seed, sample_index})[0] >> (64 - 53);
    return draw(best_kernels(), logits.data(), size_of(logits), {divisor, top_k, top_p}, number);
}

}  // namespace

void bind_selection(nb::module_& m) {
    m.def("softmax_weights", &softmax_weights, nb::arg("logits").noconvert(), nb::arg("highest"), nb::arg("divisor"),
          nb::arg("bits"), nb::arg("out").noconvert());
    m.def("largest", &bound_largest, nb::arg("keys").noconvert(), nb::arg("k"));
    m.def("smallest_set", &bound_smallest_set, nb::arg("keys").noconvert(), nb::arg("weights").noconvert(),
          nb::arg("wanted"), nb::arg("total"));
    m.def("keep_allowed", &bound_keep_allowed, nb::arg("logits").noconvert(), nb::arg("allowed").noconvert(),
          nb::arg("out").noconvert());
    m.def("argmax", &bound_argmax, nb::arg("logits").noconvert());
    m.def("draw", &bound_draw, nb::arg("logits").noconvert(), nb::arg("divisor"), nb::arg("top_k"), nb::arg("top_p"),
          nb::arg("seed"), nb::arg("sample_index"), nb::arg("position"));
    m.def("position_at", &bound_position_at, nb::arg("weights").noconvert(), nb::arg("target"));
}

}  // namespace nextword
