// The kernels, written once over the vectors of `Simd`, which the file that includes this has chosen: the list of those
// in the other *_impl.h.

#ifndef NEXTWORD_KERNELS_IMPL_H
#define NEXTWORD_KERNELS_IMPL_H

#include "attention_impl.h"
#include "kernels.h"
#include "matmul_impl.h"
#include "quantize_impl.h"
#include "rows_impl.h"
#include "select_impl.h"

namespace nextword {
namespace {

constexpr Kernels make_kernels(const char* name) {
    return {name,
            Simd::kTokens,
            Simd::kTokens,
            kMaxQueryRows,
            multiply,
            activate_row,
            quantize_weights,
            quantize<Simd::kTokens>,
            quantize_words<Simd::kTokens>,
            rms_norm,
            layer_norm,
            store_position,
            attend,
            merge,
            softmax,
            soft_cap,
            softmax_weights,
            has_nan,
            sum_from,
            maxima,
            collect};
}

}  // namespace
}  // namespace nextword

#endif
