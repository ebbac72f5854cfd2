// Products of blocks that lie in the first cache, in float32, of float32 or bf16.
//
// The numbers that one instruction multiplies and adds up in a lane are a step of the sum: two of bf16 where the
// processor can, otherwise one. On the right, a step of all columns is contiguous.

#ifndef NEXTWORD_TRAINING_PRODUCTS_IMPL_H
#define NEXTWORD_TRAINING_PRODUCTS_IMPL_H

#include <cstring>
#include <memory>
#include <new>
#include <type_traits>

#include "aligned.h"
#include "training_rows_impl.h"

namespace nextword {
namespace {

// Numbers on the boundary of a cache line, not initialised.
template <class Element>
class Buffer {
public:
    explicit Buffer(int64_t size) : elements_(new (kCacheLine) Element[static_cast<size_t>(size)]) {}
    Element* data() const { return elements_.get(); }

private:
    struct Free {
        void operator()(Element* elements) const { ::operator delete[](elements, kCacheLine); }
    };
    std::unique_ptr<Element[], Free> elements_;
};

// ---- steps ----

template <class Element>
struct Step {
    static constexpr int kSize = 1;
    using Vector = F;
    static Vector load(const Element* from) { return load_element(from); }
    static Vector spread(const Element* from) { return Simd::set(one_element(*from)); }
    static F add_product(F sum, Vector a, Vector b) { return Simd::fma(a, b, sum); }
    // Which step comes as number `step`. The instruction for pairs of bf16 begins with the second of each.
    static int64_t place(int64_t step, int64_t num_steps) {
        const bool is_swapped = std::is_same_v<Element, uint16_t> && (step ^ 1) < num_steps;
        return is_swapped ? step ^ 1 : step;
    }
};

#if defined(__AVX512BF16__)
template <>
struct Step<uint16_t> {
    static constexpr int kSize = 2;
    using Vector = Simd::Pairs;
    static Vector load(const uint16_t* from) { return Simd::load_pairs(from); }
    static Vector spread(const uint16_t* from) { return Simd::spread_pair(from); }
    static F add_product(F sum, Vector a, Vector b) { return Simd::dot_pairs(sum, a, b); }
    static int64_t place(int64_t step, int64_t) { return step; }
};
#endif

template <class Element>
constexpr int64_t num_steps(int64_t size) {
    return (size + Step<Element>::kSize - 1) / Step<Element>::kSize;
}

// Lay out rows whose numbers of one column are added up: (steps, width, step size). What is missing of a step is 0.
template <class Element>
void in_steps(const Element* rows, int64_t stride, int64_t num_rows, int64_t width, Element* out) {
    constexpr int size = Step<Element>::kSize;
    for (int64_t row = 0; row < num_rows; row += size, out += width * size) {
        const Element* first = rows + row * stride;
        if constexpr (size == 1) {
            std::memcpy(out, first, static_cast<size_t>(width) * sizeof(Element));
        } else if (row + 1 < num_rows) {
            for (int64_t i = 0; i < width; ++i) out[2 * i] = first[i], out[2 * i + 1] = first[stride + i];
        } else {
            for (int64_t i = 0; i < width; ++i) out[2 * i] = first[i], out[2 * i + 1] = 0;
        }
    }
}

// Lay out rows that are each added up along themselves: (steps of a row, `out_rows`, step size). Rows that are missing
// are 0 up to the next whole vector.
template <class Element>
void turned_in_steps(const Element* rows, int64_t stride, int64_t num_rows, int64_t size, int64_t out_rows,
                     Element* out) {
    constexpr int step = Step<Element>::kSize;
    const int64_t width = (num_rows + kLanes - 1) / kLanes * kLanes;
    for (int64_t at = 0; at < size; at += step, out += out_rows * step) {
        for (int64_t row = 0; row < num_rows; ++row) {
            std::memcpy(out + row * step, rows + row * stride + at, step * sizeof(Element));
        }
        std::fill(out + num_rows * step, out + width * step, Element{0});
    }
}

// ---- products ----

// Left side: elements from one row to the next, and from one step to the next.
template <class Element>
struct LeftRows {
    const Element* first;
    int64_t row, step;
};

// Right side: elements from one step to the next.
template <class Element>
struct RightSteps {
    const Element* first;
    int64_t step;
};

// The output of a product: it overwrites the old numbers, is added to them, or to their multiples by row.
struct Sums {
    float* first;
    int64_t stride;
    bool are_kept = false;
    const float* factors = nullptr;
};

// Rows and vectors whose sums stay in registers. AVX2 has 16 registers, two for a vector: the eight sums of four rows
// keep both of its units busy, and what they multiply fits beside them.
constexpr int kProductRows = Simd::kTokens, kProductVectors = Simd::kTokens == 6 ? 4 : Simd::kTokens == 4 ? 1 : 2;

template <class Element>
struct Product {
    LeftRows<Element> left;
    RightSteps<Element> right;
    Sums sums;
    int64_t num_rows, num_steps;

    template <int vectors>
    struct Columns {
        const Product& product;
        int vector;

        template <int rows>
        void operator()(int row) const {
            product.add_tile<rows, vectors>(row, vector);
        }
    };

    template <int vectors>
    void operator()(int vector) const {
        in_blocks<kProductRows>(0, static_cast<int>(num_rows), Columns<vectors>{*this, vector});
    }

    template <int rows, int vectors>
    void add_tile(int first_row, int first_vector) const {
        const int64_t stride = sums.stride, last_step = num_steps;
        float* const out = sums.first + first_row * stride + first_vector * kLanes;
        F sum[rows][vectors];
        for (int row = 0; row < rows; ++row) {
            const F factor = Simd::set(sums.factors == nullptr ? 1.0f : sums.factors[first_row + row]);
            for (int vector = 0; vector < vectors; ++vector) {
                sum[row][vector] = sums.are_kept ? Simd::mul(Simd::load(out + row * stride + vector * kLanes), factor)
                                                 : Simd::set(0.0f);
            }
        }
        for (int64_t step = 0; step < last_step; ++step) {
            const int64_t place = Step<Element>::place(step, last_step);
            const Element* from_left = left.first + first_row * left.row + place * left.step;
            const Element* from_right = right.first + first_vector * kLanes * Step<Element>::kSize + place * right.step;
            typename Step<Element>::Vector columns[vectors];
            for (int vector = 0; vector < vectors; ++vector) {
                columns[vector] = Step<Element>::load(from_right + vector * kLanes * Step<Element>::kSize);
            }
            for (int row = 0; row < rows; ++row) {
                const auto factor = Step<Element>::spread(from_left + row * left.row);
                for (int vector = 0; vector < vectors; ++vector) {
                    sum[row][vector] = Step<Element>::add_product(sum[row][vector], factor, columns[vector]);
                }
            }
        }
        for (int row = 0; row < rows; ++row) {
            for (int vector = 0; vector < vectors; ++vector) {
                Simd::store(out + row * stride + vector * kLanes, sum[row][vector]);
            }
        }
    }
};

// Multiply rows by whole vectors of columns, adding up `num_steps` steps.
template <class Element>
void multiply(const LeftRows<Element>& left, int64_t num_rows, const RightSteps<Element>& right, int64_t num_vectors,
              int64_t num_steps, const Sums& sums) {
    in_blocks<kProductVectors>(0, static_cast<int>(num_vectors),
                               Product<Element>{left, right, sums, num_rows, num_steps});
}

}  // namespace
}  // namespace nextword

#endif
