// Training's kernels, over the vectors that were included before.

#ifndef NEXTWORD_TRAINING_IMPL_H
#define NEXTWORD_TRAINING_IMPL_H

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "training_attention_backward_impl.h"

namespace nextword {
namespace {

// ---- RMSNorm ----

template <class Element>
void train_rms_norm(const Element* x, const Element* weight, float eps, int64_t num_rows, int64_t size, Element* out,
                    float* inverse) {
    for (int64_t row = 0; row < num_rows; ++row, x += size, out += size) {
        F squares = Simd::set(0.0f);
        by_vectors(0, size, 0.0f, [&](auto load, auto) {
            const F value = load(x);
            squares = Simd::fma(value, value, squares);
        });
        inverse[row] = 1.0f / std::sqrt(Simd::sum_lanes(squares) / static_cast<float>(size) + eps);
        const F factor = Simd::set(inverse[row]);
        by_vectors(0, size, 0.0f,
                   [&](auto load, auto store) { store(out, Simd::mul(Simd::mul(load(x), factor), load(weight))); });
    }
}

template <class Element>
void train_rms_norm_backward(const Element* x, const Element* weight, const float* inverse, const Element* grad,
                             int64_t num_rows, int64_t size, Element* x_grad, float* weight_grad) {
    for (int64_t row = 0; row < num_rows; ++row, x += size, grad += size, x_grad += size) {
        const F factor = Simd::set(inverse[row]);
        F along = Simd::set(0.0f);
        by_vectors(0, size, 0.0f, [&](auto load, auto store) {
            const F pulled = Simd::mul(load(grad), Simd::mul(load(x), factor));
            along = Simd::fma(pulled, load(weight), along);
            store(weight_grad, Simd::add(load(static_cast<const float*>(weight_grad)), pulled));
        });
        const F mean = Simd::set(-Simd::sum_lanes(along) / static_cast<float>(size));
        by_vectors(0, size, 0.0f, [&](auto load, auto store) {
            const F normed = Simd::mul(load(x), factor);
            store(x_grad, Simd::mul(factor, Simd::fma(normed, mean, Simd::mul(load(grad), load(weight)))));
        });
    }
}

// ---- activations ----

// The activation and its derivative.
template <Activation activation>
[[gnu::always_inline]] inline void differentiate(F x, F& value, F& derivative) {
    const F one = Simd::set(1.0f), zero = Simd::set(0.0f), half = Simd::set(0.5f);
    if constexpr (activation == Activation::Silu) {
        const F share = Simd::div(one, Simd::add(one, exp(Simd::sub(zero, x))));
        value = Simd::mul(x, share);
        derivative = Simd::mul(share, Simd::fma(x, Simd::sub(one, share), one));
    } else if constexpr (activation == Activation::Gelu) {
        const F below = Simd::mul(half, Simd::add(one, erf(Simd::mul(x, Simd::set(0.70710678f)))));
        const F density = Simd::mul(Simd::set(0.39894228f), exp(Simd::mul(Simd::mul(x, x), Simd::set(-0.5f))));
        value = Simd::mul(x, below);
        derivative = Simd::fma(x, density, below);
    } else if constexpr (activation == Activation::GeluTanh) {
        // x times the logistic function of z = 2 sqrt(2 / pi) (x + 0.044715 x^3).
        constexpr float kLinear = 2 * 0.79788456f, kCubic = kLinear * 0.044715f;
        const F square = Simd::mul(x, x);
        const F minus_z = Simd::mul(x, Simd::fma(square, Simd::set(-kCubic), Simd::set(-kLinear)));
        const F share = Simd::div(one, Simd::add(one, exp(minus_z)));
        const F z_derivative = Simd::fma(square, Simd::set(3 * kCubic), Simd::set(kLinear));
        value = Simd::mul(x, share);
        derivative = Simd::fma(Simd::mul(value, Simd::sub(one, share)), z_derivative, share);
    } else if constexpr (activation == Activation::Relu2) {
        const F kept = relu(x);
        value = Simd::mul(kept, kept);
        derivative = Simd::add(kept, kept);
    } else {
        static_assert(activation == Activation::Relu);
        value = relu(x);
        derivative = Simd::clear_below(x, Simd::set(1e-45f), one);
    }
}

template <Activation activation, class Element>
void activate_as(const Element* x, const Element* gated, int64_t size, Element* out) {
    by_vectors(0, size, 0.0f, [&](auto load, auto store) {
        F value, derivative;
        differentiate<activation>(load(x), value, derivative);
        store(out, gated == nullptr ? value : Simd::mul(value, load(gated)));
    });
}

template <Activation activation, class Element>
void activate_backward_as(const Element* x, const Element* gated, const Element* grad, int64_t size, Element* x_grad,
                          Element* gated_grad) {
    by_vectors(0, size, 0.0f, [&](auto load, auto store) {
        F value, derivative;
        differentiate<activation>(load(x), value, derivative);
        const F pull = load(grad);
        if (gated == nullptr) {
            store(x_grad, Simd::mul(pull, derivative));
        } else {
            const F factor = load(gated);
            store(gated_grad, Simd::mul(pull, value));
            store(x_grad, Simd::mul(Simd::mul(pull, factor), derivative));
        }
    });
}

template <class Element>
void train_activate(const Element* x, const Element* gated, Activation activation, int64_t size, Element* out) {
    switch (activation) {
        case Activation::Silu: return activate_as<Activation::Silu>(x, gated, size, out);
        case Activation::Gelu: return activate_as<Activation::Gelu>(x, gated, size, out);
        case Activation::GeluTanh: return activate_as<Activation::GeluTanh>(x, gated, size, out);
        case Activation::Relu2: return activate_as<Activation::Relu2>(x, gated, size, out);
        default: return activate_as<Activation::Relu>(x, gated, size, out);
    }
}

template <class Element>
void train_activate_backward(const Element* x, const Element* gated, const Element* grad, Activation activation,
                             int64_t size, Element* x_grad, Element* gated_grad) {
    switch (activation) {
        case Activation::Silu: return activate_backward_as<Activation::Silu>(x, gated, grad, size, x_grad, gated_grad);
        case Activation::Gelu: return activate_backward_as<Activation::Gelu>(x, gated, grad, size, x_grad, gated_grad);
        case Activation::GeluTanh:
            return activate_backward_as<Activation::GeluTanh>(x, gated, grad, size, x_grad, gated_grad);
        case Activation::Relu2:
            return activate_backward_as<Activation::Relu2>(x, gated, grad, size, x_grad, gated_grad);
        default: return activate_backward_as<Activation::Relu>(x, gated, grad, size, x_grad, gated_grad);
    }
}

// ---- rotary position embedding ----

template <class Element>
void train_rotate(const Element* heads, const Rotated<Element>& rotated, int64_t first_token, int64_t num_tokens,
                  int64_t num_heads, int64_t head_dim, Element* out) {
    const int64_t half = rotated.rotary_dim / 2;
    const F direction = Simd::set(rotated.is_backward ? -1.0f : 1.0f);
    for (int64_t token = first_token; token < first_token + num_tokens; ++token) {
        const int64_t start = token % rotated.num_positions * rotated.rotary_dim;
        const Element *cosine = rotated.cosine + start, *sine = rotated.sine + start;
        for (int64_t head = 0; head < num_heads; ++head, heads += head_dim, out += head_dim) {
            by_vectors(0, half, 0.0f, [&](auto load, auto store) {
                const F first = load(heads), second = load(heads + half);
                const F first_sine = Simd::mul(direction, load(sine));
                const F second_sine = Simd::mul(direction, load(sine + half));
                store(out, Simd::fma(second, first_sine, Simd::mul(first, load(cosine))));
                store(out + half, Simd::fma(first, second_sine, Simd::mul(second, load(cosine + half))));
            });
            std::memcpy(out + rotated.rotary_dim, heads + rotated.rotary_dim,
                        static_cast<size_t>(head_dim - rotated.rotary_dim) * sizeof(Element));
        }
    }
}

// ---- softmax of scores ----

template <class Element>
float largest_of(const Element* row, int64_t first, int64_t last) {
    F largest = Simd::set(-kInfinity);
    by_vectors(first, last, -kInfinity, [&](auto load, auto) { largest = Simd::max(largest, load(row)); });
    return Simd::max_lanes(largest);
}

template <class Element>
void clear_unattended(Element* row, int64_t first, int64_t last, int64_t size) {
    std::memset(row, 0, static_cast<size_t>(first) * sizeof(Element));
    std::memset(row + last, 0, static_cast<size_t>(size - last) * sizeof(Element));
}

template <class Element>
void train_softmax(Element* scores, const Attended& attended, float scale, int64_t first_row, int64_t num_rows) {
    std::vector<float> powers(static_cast<size_t>(attended.num_keys) + kLanes);
    const F factor = Simd::set(scale);
    for (int64_t number = first_row; number < first_row + num_rows; ++number) {
        Element* row = scores + number * attended.num_keys;
        const int64_t query = number % attended.num_queries, first = attended.first[query], last = attended.last[query];
        const F top = Simd::set(largest_of(row, first, last));
        F sum = Simd::set(0.0f);
        by_vectors(first, last, -kInfinity, [&](auto load, auto store) {
            const F power = exp(Simd::mul(Simd::sub(load(row), top), factor));
            sum = Simd::add(sum, power);
            store(powers.data(), power);
        });
        const F share = Simd::set(1.0f / Simd::sum_lanes(sum));
        const float* const kept = powers.data();
        by_vectors(first, last, 0.0f, [&](auto load, auto store) { store(row, Simd::mul(load(kept), share)); });
        clear_unattended(row, first, last, attended.num_keys);
    }
}

template <class Element>
void train_softmax_backward(const Element* weights, Element* grads, const Attended& attended, float scale,
                            int64_t first_row, int64_t num_rows) {
    const F factor = Simd::set(scale);
    for (int64_t number = first_row; number < first_row + num_rows; ++number) {
        const Element* weight = weights + number * attended.num_keys;
        Element* grad = grads + number * attended.num_keys;
        const int64_t query = number % attended.num_queries, first = attended.first[query], last = attended.last[query];
        F along = Simd::set(0.0f);
        by_vectors(first, last, 0.0f, [&](auto load, auto) {
            along = Simd::fma(load(weight), load(static_cast<const Element*>(grad)), along);
        });
        const F mean = Simd::set(Simd::sum_lanes(along));
        by_vectors(first, last, 0.0f, [&](auto load, auto store) {
            const F apart = Simd::sub(load(static_cast<const Element*>(grad)), mean);
            store(grad, Simd::mul(Simd::mul(load(weight), factor), apart));
        });
        clear_unattended(grad, first, last, attended.num_keys);
    }
}

// ---- cross-entropy ----

constexpr int64_t kSummedAtOnce = 2048;  // in float32; these sums are added up in double

template <class Element>
float log_sum_of(const Element* row, int64_t size) {
    const float largest = largest_of(row, 0, size);
    const F top = Simd::set(largest);
    double total = 0;
    for (int64_t start = 0; start < size; start += kSummedAtOnce) {
        F sum = Simd::set(0.0f);
        by_vectors(start, std::min(start + kSummedAtOnce, size), -kInfinity,
                   [&](auto load, auto) { sum = Simd::add(sum, exp(Simd::sub(load(row), top))); });
        total += static_cast<double>(Simd::sum_lanes(sum));
    }
    return largest + static_cast<float>(std::log(total));
}

template <class Element>
void train_cross_entropy(Element* logits, const int64_t* targets, float z_loss, bool has_grad, int64_t num_rows,
                         int64_t size, float* log_sums, float* target_logits) {
    for (int64_t number = 0; number < num_rows; ++number, logits += size) {
        const float log_sum = log_sums[number] = log_sum_of(static_cast<const Element*>(logits), size);
        target_logits[number] = one_element(logits[targets[number]]);
        if (!has_grad) continue;
        const F shift = Simd::set(log_sum), factor = Simd::set(1 + 2 * z_loss * log_sum);
        by_vectors(0, size, 0.0f, [&](auto load, auto store) {
            store(logits, Simd::mul(exp(Simd::sub(load(static_cast<const Element*>(logits)), shift)), factor));
        });
        const float at_target = std::exp(target_logits[number] - log_sum) * (1 + 2 * z_loss * log_sum) - 1;
        store_some(logits + targets[number], Simd::set(at_target), 1);
    }
}

template <class Element>
constexpr TrainingKernels<Element> make_training_kernels_of() {
    return {train_rms_norm<Element>,         train_rms_norm_backward<Element>,
            train_activate<Element>,         train_activate_backward<Element>,
            train_rotate<Element>,           train_softmax<Element>,
            train_softmax_backward<Element>, train_cross_entropy<Element>,
            train_attend<Element>,           train_attend_backward<Element>};
}

constexpr TrainingKernelSet make_training_kernels() {
    return {make_training_kernels_of<float>(), make_training_kernels_of<uint16_t>()};
}

}  // namespace
}  // namespace nextword

#endif
