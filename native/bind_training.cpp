// Training's kernels as functions of Python, for tensors as arrays: contiguous, float32, or bfloat16 as uint16.
//
// Types, shapes and layouts are checked here: TypeError for another type, ValueError for the rest. Results are written
// into arrays of the caller.

#include "bind_training.h"

#include <nanobind/stl/optional.h>

#include <algorithm>
#include <optional>
#include <vector>

namespace nextword {
namespace {

// The elements from number `first` on, or null for none.
template <class Element>
Element* from(Element* data, int64_t first) {
    return data == nullptr ? nullptr : data + first;
}

// ---- RMSNorm ----

void rms_norm(const AnyArray& x_array, const AnyArray& weight_array, float eps, const AnyArray& out_array,
              const AnyArray& inverse_array) {
    const Tensor x(x_array, "x"), weight(weight_array, "weight"), out(out_array, "out"),
        inverse(inverse_array, "inverse");
    const int64_t num_rows = x.num_rows(), size = x.last_size();
    weight.require_size(size), out.require_size(x.size()), inverse.require_size(num_rows);
    for_type(x, [&](const auto& kernels, auto element) {
        using Element = decltype(element);
        const Element *xs = x.data<const Element>(), *weights = weight.data<const Element>();
        Element* outs = out.data<Element>();
        float* inverses = inverse.data<float>();
        share_out_without_gil(num_rows, min_rows(size), [&](int64_t first, int64_t last) {
            kernels.rms_norm(xs + first * size, weights, eps, last - first, size, outs + first * size,
                             inverses + first);
        });
    });
}

// Rows are summed in this many parts, whatever the number of threads, so that the sum of the parts is always the same.
constexpr int64_t kParts = 16;

void add_parts(const std::vector<float>& sums, int64_t size, float* total) {
    for (int64_t part = 0; part < kParts; ++part) {
        for (int64_t i = 0; i < size; ++i) {
            total[i] = (part == 0 ? 0.0f : total[i]) + sums[static_cast<size_t>(part * size + i)];
        }
    }
}

void rms_norm_backward(const AnyArray& x_array, const AnyArray& weight_array, const AnyArray& inverse_array,
                       const AnyArray& grad_array, const AnyArray& x_grad_array, const AnyArray& weight_grad_array) {
    const Tensor x(x_array, "x"), weight(weight_array, "weight"), inverse(inverse_array, "inverse");
    const Tensor grad(grad_array, "grad"), x_grad(x_grad_array, "x_grad"),
        weight_grad(weight_grad_array, "weight_grad");
    const int64_t num_rows = x.num_rows(), size = x.last_size();
    weight.require_size(size), weight_grad.require_size(size), inverse.require_size(num_rows);
    grad.require_size(x.size()), x_grad.require_size(x.size());
    for_type(x, [&](const auto& kernels, auto element) {
        using Element = decltype(element);
        const Element *xs = x.data<const Element>(), *weights = weight.data<const Element>();
        const Element* grads = grad.data<const Element>();
        const float* inverses = inverse.data<const float>();
        Element* x_grads = x_grad.data<Element>();
        float* const total = weight_grad.data<float>();
        std::vector<float> sums(static_cast<size_t>(kParts * size));
        share_out_without_gil(kParts, 1, [&](int64_t first_part, int64_t last_part) {
            for (int64_t part = first_part; part < last_part; ++part) {
                const int64_t first = num_rows * part / kParts, last = num_rows * (part + 1) / kParts;
                kernels.rms_norm_backward(xs + first * size, weights, inverses + first, grads + first * size,
                                          last - first, size, x_grads + first * size, sums.data() + part * size);
            }
        });
        add_parts(sums, size, total);
    });
}

// ---- activations ----

void activate(const AnyArray& x_array, const std::optional<AnyArray>& gated_array, Activation activation,
              const AnyArray& out_array) {
    const Tensor x(x_array, "x"), out(out_array, "out"), gated(gated_array ? *gated_array : x_array, "gated");
    out.require_size(x.size()), gated.require_size(x.size());
    for_type(x, [&](const auto& kernels, auto element) {
        using Element = decltype(element);
        const Element* xs = x.data<const Element>();
        const Element* factors = gated_array ? gated.data<const Element>() : nullptr;
        Element* outs = out.data<Element>();
        share_out_without_gil(x.size(), kMinElements, [&](int64_t first, int64_t last) {
            kernels.activate(xs + first, from(factors, first), activation, last - first, outs + first);
        });
    });
}

void activate_backward(const AnyArray& x_array, const std::optional<AnyArray>& gated_array, const AnyArray& grad_array,
                       Activation activation, const AnyArray& x_grad_array,
                       const std::optional<AnyArray>& gated_grad_array) {
    const Tensor x(x_array, "x"), grad(grad_array, "grad"), x_grad(x_grad_array, "x_grad");
    const Tensor gated(gated_array ? *gated_array : x_array, "gated");
    const Tensor gated_grad(gated_grad_array ? *gated_grad_array : x_array, "gated_grad");
    if (gated_array.has_value() != gated_grad_array.has_value()) gated_grad.refuse("and gated come together");
    grad.require_size(x.size()), x_grad.require_size(x.size());
    gated.require_size(x.size()), gated_grad.require_size(x.size());
    for_type(x, [&](const auto& kernels, auto element) {
        using Element = decltype(element);
        const Element *xs = x.data<const Element>(), *grads = grad.data<const Element>();
        const Element* factors = gated_array ? gated.data<const Element>() : nullptr;
        Element* x_grads = x_grad.data<Element>();
        Element* factor_grads = gated_array ? gated_grad.data<Element>() : nullptr;
        share_out_without_gil(x.size(), kMinElements, [&](int64_t first, int64_t last) {
            kernels.activate_backward(xs + first, from(factors, first), grads + first, activation, last - first,
                                      x_grads + first, from(factor_grads, first));
        });
    });
}

// ---- rotary position embedding ----

void rotate(const AnyArray& heads_array, const AnyArray& cosine_array, const AnyArray& sine_array, int64_t num_heads,
            bool is_backward, const AnyArray& out_array) {
    const Tensor heads(heads_array, "heads"), cosine(cosine_array, "cosine"), sine(sine_array, "sine"),
        out(out_array, "out");
    const int64_t head_dim = heads.last_size(), rotary_dim = cosine.last_size(), num_positions = cosine.num_rows();
    out.require_size(heads.size()), sine.require_size(cosine.size());
    if (num_heads < 1 || heads.num_rows() % num_heads != 0) heads.refuse("are not of that many heads for each token");
    const int64_t num_tokens = heads.num_rows() / num_heads, width = num_heads * head_dim;
    if (rotary_dim % 2 != 0 || rotary_dim > head_dim) cosine.refuse("does not fit the dimensions of a head");
    if (num_positions == 0 || num_tokens % num_positions != 0) cosine.refuse("does not divide the tokens");
    for_type(heads, [&](const auto& kernels, auto element) {
        using Element = decltype(element);
        const Rotated<Element> rotated{cosine.data<const Element>(), sine.data<const Element>(), num_positions,
                                       rotary_dim, is_backward};
        const Element* from_heads = heads.data<const Element>();
        Element* outs = out.data<Element>();
        share_out_without_gil(num_tokens, min_rows(width), [&](int64_t first, int64_t last) {
            kernels.rotate(from_heads + first * width, rotated, first, last - first, num_heads, head_dim,
                           outs + first * width);
        });
    });
}

// ---- softmax of scores ----

// For the rows of `scores` (..., num_keys): the keys that each query attends to.
Attended attended_keys(const Tensor& scores, const Tensor& first, const Tensor& last) {
    const int64_t num_queries = first.size(), num_keys = scores.last_size();
    last.require_size(num_queries);
    if (num_queries == 0 || scores.num_rows() % num_queries != 0)
        first.refuse("does not divide the rows of the scores");
    const Attended attended{num_queries, num_keys, first.data<const int32_t>(), last.data<const int32_t>()};
    for (int64_t query = 0; query < num_queries; ++query) {
        const int32_t begin = attended.first[query], end = attended.last[query];
        if (begin < 0 || begin >= end || end > num_keys) first.refuse("and last name no range of keys for a query");
    }
    return attended;
}

void softmax(const AnyArray& scores_array, const AnyArray& first_array, const AnyArray& last_array, float scale) {
    const Tensor scores(scores_array, "scores"), first(first_array, "first"), last(last_array, "last");
    const Attended attended = attended_keys(scores, first, last);
    for_type(scores, [&](const auto& kernels, auto element) {
        auto* const elements = scores.data<decltype(element)>();
        share_out_without_gil(scores.num_rows(), min_rows(attended.num_keys), [&](int64_t begin, int64_t end) {
            kernels.softmax(elements, attended, scale, begin, end - begin);
        });
    });
}

void softmax_backward(const AnyArray& weights_array, const AnyArray& grads_array, const AnyArray& first_array,
                      const AnyArray& last_array, float scale) {
    const Tensor weights(weights_array, "weights"), grads(grads_array, "grads");
    const Tensor first(first_array, "first"), last(last_array, "last");
    const Attended attended = attended_keys(weights, first, last);
    grads.require_size(weights.size());
    for_type(weights, [&](const auto& kernels, auto element) {
        using Element = decltype(element);
        const Element* elements = weights.data<const Element>();
        Element* gradients = grads.data<Element>();
        share_out_without_gil(weights.num_rows(), min_rows(attended.num_keys), [&](int64_t begin, int64_t end) {
            kernels.softmax_backward(elements, gradients, attended, scale, begin, end - begin);
        });
    });
}

// ---- cross-entropy ----

void cross_entropy(const AnyArray& logits_array, const AnyArray& targets_array, float z_loss, bool has_grad,
                   const AnyArray& log_sums_array, const AnyArray& target_logits_array) {
    const Tensor logits(logits_array, "logits"), targets(targets_array, "targets");
    const Tensor log_sums(log_sums_array, "log_sums"), target_logits(target_logits_array, "target_logits");
    const int64_t num_rows = logits.num_rows(), size = logits.last_size();
    targets.require_size(num_rows), log_sums.require_size(num_rows), target_logits.require_size(num_rows);
    const int64_t* ids = targets.data<const int64_t>();
    const bool is_known = std::all_of(ids, ids + num_rows, [&](int64_t id) { return id >= 0 && id < size; });
    if (!is_known) targets.refuse("are not all in the vocabulary");
    for_type(logits, [&](const auto& kernels, auto element) {
        auto* const elements = logits.data<decltype(element)>();
        float *sums = log_sums.data<float>(), *at_targets = target_logits.data<float>();
        share_out_without_gil(num_rows, min_rows(size), [&](int64_t first, int64_t last) {
            kernels.cross_entropy(elements + first * size, ids + first, z_loss, has_grad, last - first, size,
                                  sums + first, at_targets + first);
        });
    });
}

}  // namespace

void bind_training(nb::module_& m) {
    m.def("rms_norm", &rms_norm, nb::arg("x"), nb::arg("weight"), nb::arg("eps"), nb::arg("out"), nb::arg("inverse"));
    m.def("rms_norm_backward", &rms_norm_backward, nb::arg("x"), nb::arg("weight"), nb::arg("inverse"), nb::arg("grad"),
          nb::arg("x_grad"), nb::arg("weight_grad"));
    m.def("activate", &activate, nb::arg("x"), nb::arg("gated").none(), nb::arg("activation"), nb::arg("out"));
    m.def("activate_backward", &activate_backward, nb::arg("x"), nb::arg("gated").none(), nb::arg("grad"),
          nb::arg("activation"), nb::arg("x_grad"), nb::arg("gated_grad").none());
    m.def("rotate", &rotate, nb::arg("heads"), nb::arg("cosine"), nb::arg("sine"), nb::arg("num_heads"),
          nb::arg("is_backward"), nb::arg("out"));
    m.def("softmax", &softmax, nb::arg("scores"), nb::arg("first"), nb::arg("last"), nb::arg("scale"));
    m.def("softmax_backward", &softmax_backward, nb::arg("weights"), nb::arg("grads"), nb::arg("first"),
          nb::arg("last"), nb::arg("scale"));
    bind_training_attention(m);
    m.def("cross_entropy", &cross_entropy, nb::arg("logits"), nb::arg("targets"), nb::arg("z_loss"),
          nb::arg("has_grad"), nb::arg("log_sums"), nb::arg("target_logits"));
}

}  // namespace nextword
