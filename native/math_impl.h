// Functions of one number over the vectors of `Simd`, which the file that includes this has chosen, and loops in
// blocks.

#ifndef NEXTWORD_MATH_IMPL_H
#define NEXTWORD_MATH_IMPL_H

#include <initializer_list>

#include "kernels.h"

namespace nextword {
namespace {

using F = Simd::F;
using I = Simd::I;

constexpr float kInfinity = __builtin_huge_valf();

// e^x to the last bit or two, 0 below -87.
F exp(F x) {
    const F lowest = Simd::set(-87.0f);
    const F clipped = Simd::min(Simd::set(88.0f), Simd::max(lowest, x));  // in this order NaN stays NaN
    const F n = Simd::round(Simd::mul(clipped, Simd::set(1.44269504f)));
    F r = Simd::fma(n, Simd::set(-0.693359375f), clipped);  // ln 2 in two parts, the first exact in few bits
    r = Simd::fma(n, Simd::set(2.12194440e-4f), r);
    F p = Simd::set(1.0f / 720);
    for (const float coefficient : {1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f}) {
        p = Simd::fma(p, r, Simd::set(coefficient));
    }
    return Simd::clear_below(x, lowest, Simd::mul(p, Simd::pow2(n)));
}

// 1 - 2 / (e^2|x| + 1), with the sign of x.
F tanh(F x) {
    const F one = Simd::set(1.0f);
    const F e = exp(Simd::min(Simd::set(40.0f), Simd::mul(Simd::abs(x), Simd::set(2.0f))));
    const F magnitude = Simd::sub(one, Simd::div(Simd::set(2.0f), Simd::add(e, one)));
    return Simd::copysign(magnitude, x);
}

// Abramowitz and Stegun 7.1.26: within 1.5e-7.
F erf(F x) {
    const F one = Simd::set(1.0f), magnitude = Simd::abs(x);
    const F t = Simd::div(one, Simd::fma(magnitude, Simd::set(0.3275911f), one));
    F p = Simd::set(1.061405429f);
    for (const float coefficient : {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f}) {
        p = Simd::fma(p, t, Simd::set(coefficient));
    }
    const F tail = Simd::mul(Simd::mul(p, t), exp(Simd::sub(Simd::set(0.0f), Simd::mul(magnitude, magnitude))));
    return Simd::copysign(Simd::sub(one, tail), x);
}

// The larger one of x and 0; NaN stays NaN, -0 becomes 0.
inline F relu(F x) {
    const F zero = Simd::set(0.0f);
    return Simd::add(Simd::max(zero, x), zero);
}

inline F activate(F x, Activation activation) {
    const F half_x = Simd::mul(x, Simd::set(0.5f)), one = Simd::set(1.0f), zero = Simd::set(0.0f);
    switch (activation) {
        case Activation::None: return x;
        case Activation::Silu: return Simd::div(x, Simd::add(one, exp(Simd::sub(zero, x))));
        case Activation::Gelu: return Simd::mul(half_x, Simd::add(one, erf(Simd::mul(x, Simd::set(0.70710678f)))));
        case Activation::GeluTanh: {
            const F cubic = Simd::mul(Simd::mul(x, x), Simd::mul(x, Simd::set(0.044715f)));
            return Simd::mul(half_x, Simd::add(one, tanh(Simd::mul(Simd::add(x, cubic), Simd::set(0.79788456f)))));
        }
        case Activation::Relu: return relu(x);
        case Activation::Relu2: return Simd::mul(relu(x), relu(x));
    }
    return x;
}

// Call work<count>(at) for blocks of N from `first` up to `last`, and for the rest.
template <int N, class Work>
void last_block(int first, int last, Work& work) {
    if (last - first == N) {
        work.template operator()<N>(first);
    } else if constexpr (N > 1) {
        last_block<N - 1>(first, last, work);
    }
}

template <int N, class Work>
void in_blocks(int first, int last, Work&& work) {
    for (; first + N <= last; first += N) work.template operator()<N>(first);
    if constexpr (N > 1) last_block<N - 1>(first, last, work);
}

}  // namespace
}  // namespace nextword

#endif
