// Choosing a token, as functions of Python: see select.h.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <optional>
#include <tuple>
#include <vector>

#include "arrays.h"
#include "choose.h"
#include "gil.h"
#include "kernels.h"
#include "locked_model.h"
#include "select.h"

namespace nextword {
namespace {

using Positions = nb::ndarray<nb::numpy, int64_t, nb::ndim<1>>;

// All instruction sets give the same selection, so none can be chosen by hand.
const Kernels& best_kernels() {
    static const Kernels& kernels = *kernels_without_tiles().back();
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

// A bit for each token, from the lowest bit of the first byte on; none of the bytes: all are allowed.
using Mask = std::optional<Bytes>;

void check_mask(const Bytes& mask, const Floats& logits) {
    if (mask.size() != (logits.size() + 7) / 8) throw nb::value_error("the mask has another length");
}

// Copies the logits of the tokens whose bit is set; those of the others become -inf.
void keep_allowed(const float* from, const uint8_t* mask, size_t size, float* to) {
    constexpr float kLowest = -HUGE_VALF;
    for (size_t start = 0; start < size; start += 8) {
        const uint8_t bits = mask[start / 8];
        const size_t count = std::min<size_t>(8, size - start);
        if (bits == 0xff) std::memcpy(to + start, from + start, count * sizeof(float));
        else if (bits == 0) std::fill_n(to + start, count, kLowest);
        else
            for (size_t i = 0; i < count; ++i)
                std::memcpy(to + start + i, (bits >> i & 1) ? from + start + i : &kLowest, sizeof(float));
    }
}

void bound_keep_allowed(const Floats& logits, const Bytes& mask, const FloatsOut& out) {
    check_mask(mask, logits);
    if (out.size() != logits.size()) throw nb::value_error("the array for the logits has another length");
    keep_allowed(logits.data(), mask.data(), logits.size(), out.data());
}

// Calls `choose` with the logits of the allowed tokens; the copy stays in the cache of its thread.
template <class Choose>
int64_t among_allowed(const Floats& logits, const Mask& mask, const Choose& choose) {
    if (logits.size() == 0) return -1;
    if (mask) check_mask(*mask, logits);
    const GilRelease release;
    if (!mask) return choose(logits.data());
    static thread_local std::vector<float> kept;
    kept.resize(logits.size());
    keep_allowed(logits.data(), mask->data(), logits.size(), kept.data());
    return choose(kept.data());
}

int64_t bound_argmax(const Floats& logits, const Mask& mask) {
    return among_allowed(logits, mask,
                         [&](const float* keys) { return argmax(best_kernels(), keys, size_of(logits)); });
}

// The draw of decoding/sampler.py.
int64_t bound_draw(const Floats& logits, float divisor, int64_t top_k, double top_p, uint64_t seed,
                   uint64_t sample_index, uint64_t position, const Mask& mask) {
    const uint64_t number = random_number({seed, sample_index, position});
    return among_allowed(logits, mask, [&](const float* keys) {
        return draw(best_kernels(), keys, size_of(logits), {divisor, top_k, top_p}, number);
    });
}

// Divisor, top_k, top_p, seed, sample index and position.
using Drawn = std::tuple<float, int64_t, double, uint64_t, uint64_t, uint64_t>;

std::vector<int64_t> bound_choose(LockedModel& model, const std::vector<Floats>& rows,
                                  const std::vector<Drawn>& draws) {
    if (rows.size() != draws.size()) throw nb::value_error("as many draws as rows are needed");
    std::vector<Choice> choices;
    for (size_t i = 0; i < rows.size(); ++i) {
        const auto [divisor, top_k, top_p, seed, sample_index, position] = draws[i];
        if (rows[i].size() == 0) throw nb::value_error("a row is empty");
        choices.push_back({rows[i].data(), size_of(rows[i]), {divisor, top_k, top_p}, {seed, sample_index, position}});
    }
    return model.with([&](Model& unlocked) { return choose(best_kernels(), unlocked.threads(), choices); });
}

}  // namespace

void bind_selection(nb::module_& m) {
    m.def("softmax_weights", &softmax_weights, nb::arg("logits").noconvert(), nb::arg("highest"), nb::arg("divisor"),
          nb::arg("bits"), nb::arg("out").noconvert());
    m.def("largest", &bound_largest, nb::arg("keys").noconvert(), nb::arg("k"));
    m.def("smallest_set", &bound_smallest_set, nb::arg("keys").noconvert(), nb::arg("weights").noconvert(),
          nb::arg("wanted"), nb::arg("total"));
    m.def("keep_allowed", &bound_keep_allowed, nb::arg("logits").noconvert(), nb::arg("mask").noconvert(),
          nb::arg("out").noconvert());
    m.def("argmax", &bound_argmax, nb::arg("logits").noconvert(), nb::arg("mask").noconvert() = nb::none());
    m.def("draw", &bound_draw, nb::arg("logits").noconvert(), nb::arg("divisor"), nb::arg("top_k"), nb::arg("top_p"),
          nb::arg("seed"), nb::arg("sample_index"), nb::arg("position"), nb::arg("mask").noconvert() = nb::none());
    m.def("choose", &bound_choose, nb::arg("model"), nb::arg("rows").noconvert(), nb::arg("draws"));
    m.def("position_at", &bound_position_at, nb::arg("weights").noconvert(), nb::arg("target"));
}

}  // namespace nextword
