// The list of training's kernels: passes over activations, forward and backward, for rows of float32 or bf16. Sums are
// kept in float32. Written once in training_impl.h and compiled for each instruction set, with bitwise equal results.

#ifndef NEXTWORD_TRAINING_H
#define NEXTWORD_TRAINING_H

#include <cstdint>

#include "kernels.h"

namespace nextword {

// Scores of attention: row r belongs to query r % num_queries, which attends to keys from first up to last, exclusive.
struct Attended {
    int64_t num_queries = 0;
    int64_t num_keys = 0;
    const int32_t* first = nullptr;
    const int32_t* last = nullptr;
};

// Rotary position embedding: token t has the cosines and sines of row t % num_positions, (rotary_dim) each, the first
// half of the sines negated; dimensions from rotary_dim on are copied.
template <class Element>
struct Rotated {
    const Element* cosine = nullptr;
    const Element* sine = nullptr;
    int64_t num_positions = 0;
    int64_t rotary_dim = 0;
    bool is_backward = false;  // by the opposite angles
};

// Causal attention within documents whose tokens follow one another. A token's row holds its heads one after the other;
// query heads that share a key-value head are adjacent.
template <class Element>
struct PackedHeads {
    const Element* queries = nullptr;  // (tokens, num_heads, head_dim)
    const Element* keys = nullptr;     // (tokens, num_kv_heads, head_dim), as the values
    const Element* values = nullptr;
    const int64_t* starts = nullptr;  // each document's first token, and last the number of tokens
    int64_t num_documents = 0;
    int64_t num_heads = 0;
    int64_t num_kv_heads = 0;
    int64_t head_dim = 0;  // whole vectors
    int64_t window = 0;    // latest keys that a query attends to, its own included
    float scale = 1.0f;    // of the scores

    // A unit of work is a document's key-value head.
    int64_t num_units() const { return num_documents * num_kv_heads; }
};

// `Element` is float, or uint16_t for bf16.
template <class Element>
struct TrainingKernels {
    // x / rms(x) * weight, and 1 / rms(x) of each row.
    void (*rms_norm)(const Element* x, const Element* weight, float eps, int64_t num_rows, int64_t size, Element* out,
                     float* inverse);
    // Gradient of x from that of the output; the weight's is added to `weight_grad`.
    void (*rms_norm_backward)(const Element* x, const Element* weight, const float* inverse, const Element* grad,
                              int64_t num_rows, int64_t size, Element* x_grad, float* weight_grad);
    // activation(x), times `gated` where that is not null.
    void (*activate)(const Element* x, const Element* gated, Activation activation, int64_t size, Element* out);
    void (*activate_backward)(const Element* x, const Element* gated, const Element* grad, Activation activation,
                              int64_t size, Element* x_grad, Element* gated_grad);
    // Rotates tokens from first_token on, (num_tokens, num_heads, head_dim); `heads` and `out` begin at that token.
    void (*rotate)(const Element* heads, const Rotated<Element>& rotated, int64_t first_token, int64_t num_tokens,
                   int64_t num_heads, int64_t head_dim, Element* out);
    // softmax(scale * scores) over the keys attended, 0 elsewhere; rows from first_row on, in place.
    void (*softmax)(Element* scores, const Attended& attended, float scale, int64_t first_row, int64_t num_rows);
    // Gradients of the weights in, gradients of the scores out, in place.
    void (*softmax_backward)(const Element* weights, Element* grads, const Attended& attended, float scale,
                             int64_t first_row, int64_t num_rows);
    // Of each row log(sum(exp(logits))), and the target's logit; if asked, the logits become the derivative of
    // log_sum - target's logit + z_loss * log_sum^2 by them.
    void (*cross_entropy)(Element* logits, const int64_t* targets, float z_loss, bool has_grad, int64_t num_rows,
                          int64_t size, float* log_sums, float* target_logits);
    // Causal attention: for each query the values weighted by its softmax, laid out as the queries, and the logarithm
    // of its sum of exponentials (num_heads, tokens), for the units from first_unit to last_unit.
    void (*attend)(const PackedHeads<Element>& heads, int64_t first_unit, int64_t last_unit, Element* mixed,
                   float* log_sums);
    // Gradients of queries, keys and values from that of `mixed`.
    void (*attend_backward)(const PackedHeads<Element>& heads, int64_t first_unit, int64_t last_unit,
                            const Element* mixed, const float* log_sums, const Element* grad, Element* query_grad,
                            Element* key_grad, Element* value_grad);
};

struct TrainingKernelSet {
    TrainingKernels<float> f32;
    TrainingKernels<uint16_t> bf16;
};

const TrainingKernelSet& portable_training_kernels();
const TrainingKernelSet* avx2_training_kernels();  // compiled in on x86-64 only, as what follows of AVX-512
const TrainingKernelSet* avx512_training_kernels();
const TrainingKernelSet* avx512bf16_training_kernels();  // the same with products of bf16; null from an old compiler
bool runs_avx512bf16();
const TrainingKernelSet* neon_training_kernels();  // on aarch64 only

// The best that this processor runs.
const TrainingKernelSet& choose_training_kernels();

}  // namespace nextword

#endif
