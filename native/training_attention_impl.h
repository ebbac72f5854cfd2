// Attention in training, forward and backward: a block of scores is made, used and forgotten while it is in the first
// cache (FlashAttention, arXiv:2205.14135 and 2307.08691). Of the scores nothing is kept but the logarithm of each
// query's sum, from which the backward pass computes the softmax weights again.
//
// Scores lie by key, so that all numbers of a query are in one lane, and sums need no shuffling.

#ifndef NEXTWORD_TRAINING_ATTENTION_IMPL_H
#define NEXTWORD_TRAINING_ATTENTION_IMPL_H

#include <cmath>

#include "training_products_impl.h"

namespace nextword {
namespace {

constexpr int64_t kBlock = 64;     // queries, and keys
constexpr float kUnseen = -1e30f;  // a score whose power is 0, though differences of such scores are numbers

// A block of scores by key, (num_keys, kBlock), and its place in the document.
struct ScoreBlock {
    int64_t query, num_queries, key, num_keys;

    int64_t num_vectors() const { return (num_queries + kLanes - 1) / kLanes; }
};

// Scores of pairs that do not attend to each other become kUnseen.
inline void hide_unseen(const ScoreBlock& block, int64_t window, float* scores) {
    const bool are_all_seen =
        block.key + block.num_keys - 1 <= block.query && block.query + block.num_queries - 1 < block.key + window;
    if (are_all_seen) return;
    const int64_t width = block.num_vectors() * kLanes;
    for (int64_t row = 0; row < block.num_keys; ++row, scores += kBlock) {
        const int64_t key = block.key + row - block.query;  // counted as the block's queries are
        const int64_t first = std::min(std::max<int64_t>(key, 0), width);
        const int64_t last = std::min(std::max(key + window, first), width);
        std::fill(scores, scores + first, kUnseen);
        std::fill(scores + last, scores + width, kUnseen);
    }
}

// One document's rows of a key-value head, and of the query heads that share it.
template <class Element>
struct DocumentRows {
    const PackedHeads<Element>& packed;
    int64_t first, length, kv_head;

    DocumentRows(const PackedHeads<Element>& heads, int64_t unit)
        : packed(heads),
          first(heads.starts[unit % heads.num_documents]),
          length(heads.starts[unit % heads.num_documents + 1] - first),
          kv_head(unit / heads.num_documents) {}

    int64_t group() const { return packed.num_heads / packed.num_kv_heads; }
    int64_t dim() const { return packed.head_dim; }
    int64_t query_stride() const { return packed.num_heads * dim(); }
    int64_t key_stride() const { return packed.num_kv_heads * dim(); }
    int64_t query_at(int64_t head, int64_t query) const {
        return (first + query) * query_stride() + (kv_head * group() + head) * dim();
    }
    int64_t key_at(int64_t key) const { return (first + key) * key_stride() + kv_head * dim(); }
    // Index into an array of one number for each head and token, (num_heads, num_tokens).
    int64_t number_at(int64_t head, int64_t query) const {
        return (kv_head * group() + head) * packed.starts[packed.num_documents] + first + query;
    }

    // The first block of keys that queries from this one on attend to.
    int64_t first_key(int64_t query) const { return std::max<int64_t>(0, query - packed.window + 1) / kBlock * kBlock; }
    ScoreBlock block(int64_t query, int64_t key) const {
        return {query, std::min(kBlock, length - query), key, std::min(kBlock, length - key)};
    }
};

template <class Element>
int64_t longest_of(const PackedHeads<Element>& heads) {
    int64_t longest = 0;
    for (int64_t i = 0; i < heads.num_documents; ++i)
        longest = std::max(longest, heads.starts[i + 1] - heads.starts[i]);
    return longest;
}

// On the diagonal, the first half of the queries attends to none of the keys of the second half.
constexpr int64_t kHalf = kBlock / 2;

inline bool is_halved(const ScoreBlock& block) { return block.query == block.key && block.num_keys > kHalf; }

// Scores, or gradients of the softmax weights: rows of keys, or values, times turned queries, or gradients.
template <class Element>
void multiply_scores(const DocumentRows<Element>& rows, const ScoreBlock& block, const Element* keys,
                     const Element* turned, float* out) {
    constexpr int64_t step = Step<Element>::kSize, skipped = kHalf / kLanes;
    const int64_t stride = rows.key_stride(), steps = num_steps<Element>(rows.dim());
    const Element* const first = keys + rows.key_at(block.key);
    const int64_t num_first = is_halved(block) ? kHalf : block.num_keys;
    multiply<Element>({first, stride, step}, num_first, {turned, kBlock * step}, block.num_vectors(), steps,
                      {out, kBlock});
    if (num_first == block.num_keys) return;
    multiply<Element>({first + kHalf * stride, stride, step}, block.num_keys - kHalf,
                      {turned + kHalf * step, kBlock * step}, block.num_vectors() - skipped, steps,
                      {out + kHalf * kBlock + kHalf, kBlock});
}

// For each query the sum over keys: a block by key in steps, times `all` rows of keys, or values, in steps.
template <class Element>
void multiply_keys(const DocumentRows<Element>& rows, const ScoreBlock& block, const Element* in_steps,
                   const Element* all, const Sums& sums) {
    constexpr int64_t step = Step<Element>::kSize;
    const int64_t vectors = rows.dim() / kLanes, steps = num_steps<Element>(block.num_keys);
    const RightSteps<Element> right{all + block.key * rows.dim(), rows.dim() * step};
    const int64_t num_first = is_halved(block) ? kHalf : 0;
    if (num_first > 0) multiply<Element>({in_steps, step, kBlock * step}, kHalf, right, vectors, kHalf / step, sums);
    const float* const factors = sums.factors == nullptr ? nullptr : sums.factors + num_first;
    multiply<Element>({in_steps + num_first * step, step, kBlock * step}, block.num_queries - num_first, right, vectors,
                      steps, {sums.first + num_first * sums.stride, sums.stride, sums.are_kept, factors});
}

// ---- forward ----

// The largest score and the sum of powers of each query so far, and what the last block multiplied earlier sums by.
struct RunningSoftmax {
    alignas(64) float top[kBlock], sum[kBlock], factor[kBlock];

    RunningSoftmax() {
        std::fill(top, top + kBlock, kUnseen);
        std::fill(sum, sum + kBlock, 0.0f);
    }

    // Powers of a block's scores become `weights`.
    template <class Element>
    void add(const ScoreBlock& block, const float* scores, float scale, Element* weights) {
        const F by = Simd::set(scale);
        for (int64_t at = 0; at < block.num_vectors() * kLanes; at += kLanes) {
            const F old_top = Simd::load(top + at);
            F new_top = old_top;
            for (int64_t row = 0; row < block.num_keys; ++row) {
                new_top = Simd::max(Simd::load(scores + row * kBlock + at), new_top);
            }
            const F shrunk = exp(Simd::mul(Simd::sub(old_top, new_top), by));
            F total = Simd::mul(Simd::load(sum + at), shrunk);
            for (int64_t row = 0; row < block.num_keys; ++row) {
                const F score = Simd::load(scores + row * kBlock + at);
                const F power = exp(Simd::mul(Simd::sub(score, new_top), by));
                total = Simd::add(total, power);
                store_element(weights + row * kBlock + at, power);
            }
            Simd::store(top + at, new_top);
            Simd::store(sum + at, total);
            Simd::store(factor + at, shrunk);
        }
    }
};

// A thread's buffers for the forward pass.
template <class Element>
struct ForwardSpace {
    ForwardSpace(int64_t length, int64_t dim)
        : values((length + 1) * dim),
          turned(kBlock * dim),
          scores(kBlock * kBlock),
          weights(kBlock * kBlock),
          in_steps(kBlock * kBlock),
          out(kBlock * dim) {}

    Buffer<Element> values, turned;  // in steps
    Buffer<float> scores;
    Buffer<Element> weights, in_steps;
    Buffer<float> out;
};

template <class Element>
void attend_queries(const DocumentRows<Element>& rows, int64_t head, int64_t query, const ForwardSpace<Element>& space,
                    Element* mixed, float* log_sums) {
    const int64_t dim = rows.dim(), start = rows.query_at(head, query);
    const int64_t num_queries = rows.block(query, query).num_queries;
    turned_in_steps(rows.packed.queries + start, rows.query_stride(), num_queries, dim, kBlock, space.turned.data());
    RunningSoftmax softmax;
    const int64_t first_key = rows.first_key(query);
    for (int64_t key = first_key; key <= query; key += kBlock) {
        const ScoreBlock block = rows.block(query, key);
        multiply_scores(rows, block, rows.packed.keys, space.turned.data(), space.scores.data());
        hide_unseen(block, rows.packed.window, space.scores.data());
        softmax.add(block, space.scores.data(), rows.packed.scale, space.weights.data());
        in_steps(space.weights.data(), kBlock, block.num_keys, kBlock, space.in_steps.data());
        multiply_keys(rows, block, space.in_steps.data(), space.values.data(),
                      {space.out.data(), dim, key > first_key, softmax.factor});
    }
    for (int64_t row = 0; row < num_queries; ++row) {
        const float* const out = space.out.data() + row * dim;
        Element* const to = mixed + start + row * rows.query_stride();
        const F share = Simd::set(1.0f / softmax.sum[row]);
        for (int64_t i = 0; i < dim; i += kLanes) store_element(to + i, Simd::mul(Simd::load(out + i), share));
        log_sums[rows.number_at(head, query + row)] = softmax.top[row] * rows.packed.scale + std::log(softmax.sum[row]);
    }
}

template <class Element>
void train_attend(const PackedHeads<Element>& heads, int64_t first_unit, int64_t last_unit, Element* mixed,
                  float* log_sums) {
    const ForwardSpace<Element> space(longest_of(heads), heads.head_dim);
    for (int64_t unit = first_unit; unit < last_unit; ++unit) {
        const DocumentRows<Element> rows(heads, unit);
        in_steps(heads.values + rows.key_at(0), rows.key_stride(), rows.length, rows.dim(), space.values.data());
        for (int64_t head = 0; head < rows.group(); ++head) {
            for (int64_t query = 0; query < rows.length; query += kBlock) {
                attend_queries(rows, head, query, space, mixed, log_sums);
            }
        }
    }
}

}  // namespace
}  // namespace nextword

#endif
