// The shape of a model: ModelConfig, as far as the forward pass needs it.

#ifndef NEXTWORD_SHAPE_H
#define NEXTWORD_SHAPE_H

#include <algorithm>
#include <vector>

#include "kernels.h"

namespace nextword {

// Rotary position embedding: radians per position of each pair of dimensions. LongRoPE has other frequencies for
// sequences beyond the original context; elsewhere those are empty.
struct Rope {
    std::vector<float> frequencies, long_frequencies;
    float factor = 1.0f;  // on cosine and sine
};

enum class QKNorm { None, PerHead, AllHeads };

// MLPs that a router chooses from, in some layers; a count of 0 means none.
struct Experts {
    int count = 0, per_token = 0, intermediate_size = 0;
    bool is_normalized = false;    // the weights of a token's experts add up to 1
    int shared_size = 0;           // width of one more MLP, for all tokens, or none
    bool has_shared_gate = false;  // its output is multiplied by the sigmoid of a projection of the token
    std::vector<int> layers;
};

struct Shape {
    int vocab_size = 0, hidden_size = 0, intermediate_size = 0;
    int num_layers = 0, num_heads = 0, num_kv_heads = 0, head_dim = 0;
    int max_seq_len = 0;
    bool is_layer_norm = false, norm_weight = true, norm_bias = true;
    float norm_eps = 0.0f;
    bool has_pre_norm = true, has_post_norm = false;
    QKNorm qk_norm = QKNorm::None;
    Activation activation = Activation::Silu;
    bool is_gated = true, is_parallel = false, is_norm_shared = false, is_tied = false;
    bool has_position_embedding = false;
    int position_offset = 0;  // row of the first position
    float qkv_clip = 0.0f;    // largest magnitude of queries, keys and values, 0 for any
    float attention_scale = 1.0f, attention_soft_cap = 0.0f, logit_soft_cap = 0.0f;  // no cap if 0
    float embedding_scale = 1.0f, residual_scale = 1.0f, logit_scale = 1.0f;
    std::vector<Rope> ropes;
    std::vector<int> layer_ropes;    // index into ropes for each layer, or -1
    std::vector<int> layer_windows;  // positions for each layer, 0 for all
    Experts experts;

    bool has_experts(int layer) const {
        return std::find(experts.layers.begin(), experts.layers.end(), layer) != experts.layers.end();
    }
    int query_size() const { return num_heads * head_dim; }
    int key_size() const { return num_kv_heads * head_dim; }
    int group_size() const { return num_heads / num_kv_heads; }  // query heads that share a key-value head
};

// Return the shape. Throws std::invalid_argument if it is not that of a model.
Shape checked(Shape shape);

}  // namespace nextword

#endif
