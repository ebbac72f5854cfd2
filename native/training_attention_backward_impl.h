// The backward pass of training_attention_impl.h.

#ifndef NEXTWORD_TRAINING_ATTENTION_BACKWARD_IMPL_H
#define NEXTWORD_TRAINING_ATTENTION_BACKWARD_IMPL_H

#include "training_attention_impl.h"

namespace nextword {
namespace {

// A thread's buffers for the backward pass.
template <class Element>
struct BackwardSpace {
    BackwardSpace(int64_t length, int64_t dim)
        : keys((length + 1) * dim),
          queries(kBlock * dim),
          grads(kBlock * dim),
          turned_queries(kBlock * dim),
          turned_grads(kBlock * dim),
          scores(kBlock * kBlock),
          pulls(kBlock * kBlock),
          weights(kBlock * kBlock),
          score_grads(kBlock * kBlock),
          in_steps(kBlock * kBlock),
          query_grads(kBlock * dim),
          key_grads(length * dim),
          value_grads(length * dim) {}

    Buffer<Element> keys, queries, grads, turned_queries, turned_grads;  // in steps, keys of the whole document
    Buffer<float> scores, pulls;                                         // pulls: gradients of the softmax weights
    Buffer<Element> weights, score_grads, in_steps;
    Buffer<float> query_grads, key_grads, value_grads;
    alignas(64) float log_sums[kBlock], along[kBlock];  // along: each query's output times its gradient
};

// Softmax weights and gradients of scores, from scores and pulls.
template <class Element>
void differentiate_softmax(const ScoreBlock& block, float scale, const BackwardSpace<Element>& space) {
    const F by = Simd::set(scale);
    for (int64_t row = 0; row < block.num_keys; ++row) {
        for (int64_t at = 0; at < block.num_vectors() * kLanes; at += kLanes) {
            const int64_t place = row * kBlock + at;
            const F shift = Simd::load(space.log_sums + at), along = Simd::load(space.along + at);
            const F weight = exp(Simd::sub(Simd::mul(Simd::load(space.scores.data() + place), by), shift));
            const F apart = Simd::sub(Simd::load(space.pulls.data() + place), along);
            store_element(space.weights.data() + place, weight);
            store_element(space.score_grads.data() + place, Simd::mul(Simd::mul(weight, by), apart));
        }
    }
}

// Read a block of queries and the gradient of their output.
template <class Element>
void take_queries(const DocumentRows<Element>& rows, int64_t head, int64_t query, const Element* mixed,
                  const float* log_sums, const Element* grad, BackwardSpace<Element>& space) {
    const int64_t dim = rows.dim(), stride = rows.query_stride(), start = rows.query_at(head, query);
    const int64_t count = rows.block(query, query).num_queries;
    const Element* queries = rows.packed.queries + start;
    in_steps(queries, stride, count, dim, space.queries.data());
    in_steps(grad + start, stride, count, dim, space.grads.data());
    turned_in_steps(queries, stride, count, dim, kBlock, space.turned_queries.data());
    turned_in_steps(grad + start, stride, count, dim, kBlock, space.turned_grads.data());
    std::fill(space.along, space.along + kBlock, 0.0f);
    std::fill(space.log_sums, space.log_sums + kBlock, 0.0f);
    for (int64_t row = 0; row < count; ++row) {
        const Element *out = mixed + start + row * stride, *pull = grad + start + row * stride;
        F sum = Simd::set(0.0f);
        for (int64_t i = 0; i < dim; i += kLanes) sum = Simd::fma(load_element(out + i), load_element(pull + i), sum);
        space.along[row] = Simd::sum_lanes(sum);
        space.log_sums[row] = log_sums[rows.number_at(head, query + row)];
    }
}

// For each key the sum over queries: a block by key, times queries, or gradients, in steps.
template <class Element>
void multiply_queries(const DocumentRows<Element>& rows, const ScoreBlock& block, const Element* by_key,
                      const Element* in_steps, float* out) {
    constexpr int64_t step = Step<Element>::kSize;
    const int64_t dim = rows.dim(), steps = num_steps<Element>(block.num_queries);
    const int64_t num_first = is_halved(block) ? kHalf : block.num_keys;
    float* const sums = out + block.key * dim;
    multiply<Element>({by_key, kBlock, step}, num_first, {in_steps, dim * step}, dim / kLanes, steps,
                      {sums, dim, true});
    if (num_first == block.num_keys) return;
    multiply<Element>({by_key + kHalf * kBlock + kHalf, kBlock, step}, block.num_keys - kHalf,
                      {in_steps + kHalf * dim, dim * step}, dim / kLanes, steps - kHalf / step,
                      {sums + kHalf * dim, dim, true});
}

template <class Element>
void write_rows(const float* from, int64_t num_rows, int64_t dim, int64_t stride, Element* to) {
    for (int64_t row = 0; row < num_rows; ++row) {
        for (int64_t i = 0; i < dim; i += kLanes)
            store_element(to + row * stride + i, Simd::load(from + row * dim + i));
    }
}

// Gradients of a block of queries, and their part of those of the keys and values. The queries were taken.
template <class Element>
void attend_queries_backward(const DocumentRows<Element>& rows, int64_t head, int64_t query,
                             const BackwardSpace<Element>& space, Element* query_grad) {
    const int64_t first_key = rows.first_key(query);
    for (int64_t key = first_key; key <= query; key += kBlock) {
        const ScoreBlock block = rows.block(query, key);
        multiply_scores(rows, block, rows.packed.keys, space.turned_queries.data(), space.scores.data());
        multiply_scores(rows, block, rows.packed.values, space.turned_grads.data(), space.pulls.data());
        hide_unseen(block, rows.packed.window, space.scores.data());
        differentiate_softmax(block, rows.packed.scale, space);
        multiply_queries(rows, block, space.weights.data(), space.grads.data(), space.value_grads.data());
        multiply_queries(rows, block, space.score_grads.data(), space.queries.data(), space.key_grads.data());
        in_steps(space.score_grads.data(), kBlock, block.num_keys, kBlock, space.in_steps.data());
        multiply_keys(rows, block, space.in_steps.data(), space.keys.data(),
                      {space.query_grads.data(), rows.dim(), key > first_key});
    }
    write_rows(space.query_grads.data(), rows.block(query, query).num_queries, rows.dim(), rows.query_stride(),
               query_grad + rows.query_at(head, query));
}

template <class Element>
void train_attend_backward(const PackedHeads<Element>& heads, int64_t first_unit, int64_t last_unit,
                           const Element* mixed, const float* log_sums, const Element* grad, Element* query_grad,
                           Element* key_grad, Element* value_grad) {
    BackwardSpace<Element> space(longest_of(heads), heads.head_dim);
    for (int64_t unit = first_unit; unit < last_unit; ++unit) {
        const DocumentRows<Element> rows(heads, unit);
        const int64_t dim = rows.dim(), start = rows.key_at(0);
        in_steps(heads.keys + start, rows.key_stride(), rows.length, dim, space.keys.data());
        for (float* sums : {space.key_grads.data(), space.value_grads.data()}) {
            std::fill(sums, sums + rows.length * dim, 0.0f);
        }
        for (int64_t head = 0; head < rows.group(); ++head) {
            for (int64_t query = 0; query < rows.length; query += kBlock) {
                take_queries(rows, head, query, mixed, log_sums, grad, space);
                attend_queries_backward(rows, head, query, space, query_grad);
            }
        }
        write_rows(space.key_grads.data(), rows.length, dim, rows.key_stride(), key_grad + start);
        write_rows(space.value_grads.data(), rows.length, dim, rows.key_stride(), value_grad + start);
    }
}

}  // namespace
}  // namespace nextword

#endif
