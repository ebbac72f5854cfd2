// Training's kernels as functions of Python, for tensors by their address: nextword/models/passes.py, which alone calls
// them, has made sure of types, shapes and layouts.

#include <nanobind/nanobind.h>

#include <algorithm>
#include <vector>

#include "gil.h"
#include "parallel.h"
#include "training.h"

namespace nb = nanobind;

namespace nextword {
namespace {

// The address of a tensor's first element; 0 for none.
using Address = uintptr_t;

template <class T>
T* at(Address address) {
    return reinterpret_cast<T*>(address);
}

constexpr int64_t kLeastElements = 1 << 14;  // for another thread to be worth its start

int64_t least_rows(int64_t size) { return std::max<int64_t>(1, kLeastElements / std::max<int64_t>(size, 1)); }

// Call with the kernels for the type of the elements, and a number of that type.
template <class Call>
void for_type(bool is_bf16, const Call& call) {
    const GilRelease release;
    const TrainingKernelSet& kernels = choose_training_kernels();
    if (is_bf16) {
        call(kernels.bf16, uint16_t{});
    } else {
        call(kernels.f32, float{});
    }
}

void rms_norm(bool is_bf16, Address x, Address weight, float eps, int64_t num_rows, int64_t size, Address out,
              Address inverse) {
    for_type(is_bf16, [&](const auto& kernels, auto element) {
        using Element = decltype(element);
        share_out(num_rows, least_rows(size), [&](int64_t first, int64_t last) {
            kernels.rms_norm(at<const Element>(x) + first * size, at<const Element>(weight), eps, last - first, size,
                             at<Element>(out) + first * size, at<float>(inverse) + first);
        });
    });
}

// Rows are summed in so many parts, whatever the number of threads, so that the sum of the parts is always the same.
constexpr int64_t kParts = 16;

void rms_norm_backward(bool is_bf16, Address x, Address weight, Address inverse, Address grad, int64_t num_rows,
                       int64_t size, Address x_grad, Address weight_grad) {
    for_type(is_bf16, [&](const auto& kernels, auto element) {
        using Element = decltype(element);
        std::vector<float> sums(static_cast<size_t>(kParts * size));
        share_out(kParts, 1, [&](int64_t first_part, int64_t last_part) {
            for (int64_t part = first_part; part < last_part; ++part) {
                const int64_t first = num_rows * part / kParts, last = num_rows * (part + 1) / kParts;
                kernels.rms_norm_backward(at<const Element>(x) + first * size, at<const Element>(weight),
                                          at<const float>(inverse) + first, at<const Element>(grad) + first * size,
                                          last - first, size, at<Element>(x_grad) + first * size,
                                          sums.data() + part * size);
            }
        });
        float* const total = at<float>(weight_grad);
        for (int64_t part = 0; part < kParts; ++part) {
            for (int64_t i = 0; i < size; ++i)
                total[i] = (part == 0 ? 0.0f : total[i]) + sums[static_cast<size_t>(part * size + i)];
        }
    });
}

template <class Element>
Element* offset(Address address, int64_t elements) {
    return address == 0 ? nullptr : at<Element>(address) + elements;
}

void activate(bool is_bf16, Address x, Address gated, Activation activation, int64_t size, Address out) {
    for_type(is_bf16, [&](const auto& kernels, auto element) {
        using Element = decltype(element);
        share_out(size, kLeastElements, [&](int64_t first, int64_t last) {
            kernels.activate(at<const Element>(x) + first, offset<const Element>(gated, first), activation,
                             last - first, at<Element>(out) + first);
        });
    });
}

void activate_backward(bool is_bf16, Address x, Address gated, Address grad, Activation activation, int64_t size,
                       Address x_grad, Address gated_grad) {
    for_type(is_bf16, [&](const auto& kernels, auto element) {
        using Element = decltype(element);
        share_out(size, kLeastElements, [&](int64_t first, int64_t last) {
            kernels.activate_backward(at<const Element>(x) + first, offset<const Element>(gated, first),
                                      at<const Element>(grad) + first, activation, last - first,
                                      at<Element>(x_grad) + first, offset<Element>(gated_grad, first));
        });
    });
}

void softmax(bool is_bf16, Address scores, int64_t num_rows, int64_t num_queries, int64_t num_keys, Address first_seen,
             Address last_seen, float scale) {
    const Seen seen{num_queries, num_keys, at<const int32_t>(first_seen), at<const int32_t>(last_seen)};
    for_type(is_bf16, [&](const auto& kernels, auto element) {
        using Element = decltype(element);
        share_out(num_rows, least_rows(num_keys), [&](int64_t first, int64_t last) {
            kernels.softmax(at<Element>(scores), seen, scale, first, last - first);
        });
    });
}

void softmax_backward(bool is_bf16, Address weights, Address grads, int64_t num_rows, int64_t num_queries,
                      int64_t num_keys, Address first_seen, Address last_seen, float scale) {
    const Seen seen{num_queries, num_keys, at<const int32_t>(first_seen), at<const int32_t>(last_seen)};
    for_type(is_bf16, [&](const auto& kernels, auto element) {
        using Element = decltype(element);
        share_out(num_rows, least_rows(num_keys), [&](int64_t first, int64_t last) {
            kernels.softmax_backward(at<const Element>(weights), at<Element>(grads), seen, scale, first, last - first);
        });
    });
}

void cross_entropy(bool is_bf16, Address logits, Address targets, float z_loss, bool has_slopes, int64_t num_rows,
                   int64_t size, Address log_sums, Address target_logits) {
    for_type(is_bf16, [&](const auto& kernels, auto element) {
        using Element = decltype(element);
        share_out(num_rows, least_rows(size), [&](int64_t first, int64_t last) {
            kernels.cross_entropy(at<Element>(logits) + first * size, at<const int64_t>(targets) + first, z_loss,
                                  has_slopes, last - first, size, at<float>(log_sums) + first,
                                  at<float>(target_logits) + first);
        });
    });
}

}  // namespace

void bind_training(nb::module_& m) {
    m.def("rms_norm", &rms_norm);
    m.def("rms_norm_backward", &rms_norm_backward);
    m.def("activate", &activate);
    m.def("activate_backward", &activate_backward);
    m.def("softmax", &softmax);
    m.def("softmax_backward", &softmax_backward);
    m.def("cross_entropy", &cross_entropy);
}

}  // namespace nextword
