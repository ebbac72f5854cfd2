// Small models of random weights, and what the tests do with them.

#ifndef NEXTWORD_TESTS_RANDOM_MODEL_H
#define NEXTWORD_TESTS_RANDOM_MODEL_H

#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "model.h"

namespace nextword {

constexpr size_t kPlenty = size_t{1} << 32;

// Odd sizes everywhere: columns that fill no group, heads that fill no vector, a gate that fills no panel.
inline Shape odd_shape() {
    Shape shape;
    shape.vocab_size = 77, shape.hidden_size = 40, shape.intermediate_size = 84;
    shape.num_layers = 3, shape.num_heads = 6, shape.num_kv_heads = 2, shape.head_dim = 12;
    shape.max_seq_len = 700, shape.norm_eps = 1e-5f, shape.attention_scale = 0.3f;
    shape.attention_soft_cap = 4.0f, shape.logit_soft_cap = 20.0f, shape.embedding_scale = 2.0f;
    shape.qk_norm = QKNorm::PerHead, shape.has_post_norm = true;
    Rope rope;
    for (int pair = 0; pair < 5; ++pair) rope.frequencies.push_back(1.0f / static_cast<float>(1 << (2 * pair)));
    shape.ropes = {rope};
    shape.layer_ropes = {0, -1, 0};
    shape.layer_windows = {0, 50, 50};
    return shape;
}

// GPT-2's ideas: layer norms, learned positions, no gate, heads tied to the embedding.
inline Shape plain_shape() {
    Shape shape;
    shape.vocab_size = 64, shape.hidden_size = 64, shape.intermediate_size = 96;
    shape.num_layers = 2, shape.num_heads = 4, shape.num_kv_heads = 4, shape.head_dim = 16;
    shape.max_seq_len = 300, shape.norm_eps = 1e-5f, shape.attention_scale = 0.25f;
    shape.is_layer_norm = true, shape.is_gated = false, shape.is_tied = true, shape.is_parallel = true;
    shape.has_position_embedding = true, shape.activation = Activation::Gelu;
    shape.layer_ropes = {-1, -1}, shape.layer_windows = {0, 0};
    return shape;
}

// The odd one, with seven experts in two of its layers.
inline Shape mixture_shape() {
    Shape shape = odd_shape();
    shape.experts.count = 7, shape.experts.per_token = 3, shape.experts.intermediate_size = 36;
    shape.experts.layers = {0, 2}, shape.experts.shared_size = 50, shape.experts.has_shared_gate = true;
    return shape;
}

struct Setting {
    WeightKind weights = WeightKind::F32;
    CacheKind cache = CacheKind::F32;
    int num_threads = 1;
    const Kernels* kernels = runnable_kernels().back();
    size_t max_cache_bytes = kPlenty;
    bool is_parted = false;  // gates have matrices of their own
};

// The cache that the backend chooses for these weights.
inline CacheKind cache_for(WeightKind weights) {
    if (weights == WeightKind::F32 || weights == WeightKind::F16) return CacheKind::F32;
    return weights == WeightKind::BF16 ? CacheKind::BF16 : CacheKind::Q8;
}

inline void load_matrix(Model& model, Random& random, const std::string& name, WeightKind kind, int rows, int columns) {
    const std::vector<float> values = random.numbers(static_cast<size_t>(rows) * columns);
    const uint8_t* bytes = reinterpret_cast<const uint8_t*>(values.data());
    model.make_matrix(name, name == "position_embedding.weight" ? WeightKind::F32 : kind);
    model.load_rows({{name, 0, rows, Encoding::F32, bytes, values.size() * sizeof(float)}});
}

inline void load_vector(Model& model, Random& random, const std::string& name, int size, float offset) {
    std::vector<float> values = random.numbers(size);
    for (float& value : values) value = offset + 0.25f * value;
    model.load_vector(name, values.data(), values.size());
}

inline void load_norm(Model& model, Random& random, const std::string& name, int size) {
    load_vector(model, random, name + ".weight", size, 1.0f);
    if (model.shape().is_layer_norm) load_vector(model, random, name + ".bias", size, 0.0f);
}

inline void load_linear(Model& model, Random& random, const std::string& name, WeightKind kind, int rows, int columns) {
    load_matrix(model, random, name + ".weight", kind, rows, columns);
    load_vector(model, random, name + ".bias", rows, 0.0f);
}

inline void load_mlp(Model& model, Random& random, const std::string& name, const Setting& setting, int wide) {
    const WeightKind kind = setting.weights;
    const int hidden = model.shape().hidden_size;
    if (setting.is_parted) {  // by two kinds, one after the other
        model.make_matrix(name + "gate_proj.weight", WeightKind::Q8);
        model.make_matrix(name + "up_proj.weight", WeightKind::Q4Min);
    }
    if (model.shape().is_gated) load_linear(model, random, name + "gate_proj", kind, wide, hidden);
    load_linear(model, random, name + "up_proj", kind, wide, hidden);
    load_linear(model, random, name + "down_proj", kind, hidden, wide);
}

inline void load_experts(Model& model, Random& random, const std::string& name, const Setting& setting) {
    const Experts& experts = model.shape().experts;
    load_linear(model, random, name + "router", WeightKind::F32, experts.count, model.shape().hidden_size);
    for (int index = 0; index < experts.count; ++index) {
        load_mlp(model, random, name + "experts." + std::to_string(index) + ".", setting, experts.intermediate_size);
    }
    if (experts.shared_size > 0) load_mlp(model, random, name + "shared_expert.", setting, experts.shared_size);
    if (experts.has_shared_gate) {
        load_linear(model, random, name + "shared_gate", WeightKind::F32, 1, model.shape().hidden_size);
    }
}

// Low-rank products, factors or offsets, each in some layers: what an adapter can change, alone and together.
inline void add_adapter(Model& model, uint64_t seed, int rank) {
    Random random(seed);
    const Shape& shape = model.shape();
    const int adapter = model.add_adapter(), hidden = shape.hidden_size, wide = shape.intermediate_size;
    const auto load = [&](const std::string& name, int rows, int columns, bool scales_inputs = false) {
        if (random.below(4) == 0) return;
        ChangeValues values;
        values.rank = random.below(4) == 0 ? 0 : rank;
        values.down = random.numbers(static_cast<size_t>(values.rank) * columns);
        values.up = random.numbers(static_cast<size_t>(values.rank) * rows);
        if (random.below(2) == 0) values.factor = random.numbers(rows);
        if (random.below(2) == 0) values.offset = random.numbers(rows);
        if (scales_inputs) values.input_factor = random.numbers(columns);
        model.load_adapter(adapter, name + ".weight", values);
    };
    for (int layer = 0; layer < shape.num_layers; ++layer) {
        const std::string name = "layers." + std::to_string(layer) + ".";
        load(name + "attention.q_proj", shape.query_size(), hidden);
        load(name + "attention.k_proj", shape.key_size(), hidden);
        load(name + "attention.v_proj", shape.key_size(), hidden);
        load(name + "attention.o_proj", hidden, shape.query_size());
        if (shape.has_experts(layer)) continue;
        if (shape.is_gated) load(name + "mlp.gate_proj", wide, hidden);
        load(name + "mlp.up_proj", wide, hidden);
        load(name + "mlp.down_proj", hidden, wide, random.below(2) == 0);
    }
    load("output_head", shape.vocab_size, hidden);
}

inline std::unique_ptr<Model> random_model(const Shape& shape, const Setting& setting) {
    auto model =
        std::make_unique<Model>(shape, setting.cache, setting.max_cache_bytes, setting.num_threads, *setting.kernels);
    Random random(23);
    const int hidden = shape.hidden_size;
    const int queries = shape.num_heads * shape.head_dim, keys = shape.num_kv_heads * shape.head_dim;
    load_matrix(*model, random, "embedding.weight", setting.weights, shape.vocab_size, hidden);
    if (shape.has_position_embedding)
        load_matrix(*model, random, "position_embedding.weight", WeightKind::F32, shape.max_seq_len, hidden);
    for (int layer = 0; layer < shape.num_layers; ++layer) {
        const std::string name = "layers." + std::to_string(layer) + ".";
        load_norm(*model, random, name + "attention_norm", hidden);
        load_norm(*model, random, name + "mlp_norm", hidden);
        if (shape.has_post_norm) load_norm(*model, random, name + "post_attention_norm", hidden);
        if (shape.has_post_norm) load_norm(*model, random, name + "post_mlp_norm", hidden);
        if (shape.qk_norm == QKNorm::PerHead) load_norm(*model, random, name + "attention.q_norm", shape.head_dim);
        if (shape.qk_norm == QKNorm::PerHead) load_norm(*model, random, name + "attention.k_norm", shape.head_dim);
        load_linear(*model, random, name + "attention.q_proj", setting.weights, queries, hidden);
        load_linear(*model, random, name + "attention.k_proj", setting.weights, keys, hidden);
        load_linear(*model, random, name + "attention.v_proj", setting.weights, keys, hidden);
        load_linear(*model, random, name + "attention.o_proj", setting.weights, hidden, queries);
        if (shape.has_experts(layer)) {
            load_experts(*model, random, name + "mlp.", setting);
        } else {
            load_mlp(*model, random, name + "mlp.", setting, shape.intermediate_size);
        }
    }
    load_norm(*model, random, "final_norm", hidden);
    if (!shape.is_tied) load_linear(*model, random, "output_head", setting.weights, shape.vocab_size, hidden);
    return model;
}

inline std::vector<int32_t> random_text(Random& random, const Shape& shape, int length) {
    std::vector<int32_t> sequence(length);
    for (int32_t& token : sequence) token = random.below(shape.vocab_size);
    return sequence;
}

inline std::vector<float> step(Model& model, const std::vector<Chunk>& chunks) {
    size_t num_rows = 0;
    for (const Chunk& chunk : chunks) num_rows += static_cast<size_t>(chunk.num_logits);
    std::vector<float> logits(num_rows * model.shape().vocab_size);
    model.step(chunks, logits.data());
    return logits;
}

// A whole sequence in one step, with all its logits.
inline std::vector<float> alone(Model& model, const std::vector<int32_t>& sequence, int adapter = 0) {
    const int64_t id = model.open_cache({}, {false, adapter});
    const std::vector<float> logits = step(model, {{id, sequence, static_cast<int>(sequence.size())}});
    model.cache().close(id);
    return logits;
}

}  // namespace nextword

#endif
