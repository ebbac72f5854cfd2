#include "weights.h"

#include <stdexcept>

namespace nextword {

namespace {

const std::string kWeight = ".weight", kBias = ".bias";

}  // namespace

void put_in_panel_order(const float* values, int size, PanelPart part, float padding, std::vector<float>& ordered) {
    const int panel_rows = rows_in_panel(part), first_lane = part == PanelPart::Second ? kLanes : 0;
    ordered.resize(static_cast<size_t>(ceil_div(size, panel_rows)) * kPanelRows, padding);
    for (int i = 0; i < size; ++i) ordered[i / panel_rows * kPanelRows + first_lane + i % panel_rows] = values[i];
}

Weights::Weights(const Shape& shape) : layers(shape.num_layers), is_tied_(shape.is_tied) {
    const int hidden = shape.hidden_size;
    register_linear("embedding", embedding, shape.vocab_size, hidden);
    if (shape.has_position_embedding) {
        register_linear("position_embedding", position_embedding, shape.max_seq_len + shape.position_offset, hidden);
    }
    for (int index = 0; index < shape.num_layers; ++index) {
        const std::string name = "layers." + std::to_string(index) + ".";
        register_layer(name, layers[index], shape);
        if (shape.has_experts(index)) {
            register_mixture(name + "mlp.", layers[index].mixture, shape);
        } else {
            register_mlp(name + "mlp.", layers[index].mlp, shape.intermediate_size, shape);
        }
    }
    register_norm("final_norm", final_norm, shape);
    if (!shape.is_tied) register_linear("output_head", output_head_, shape.vocab_size, hidden);
}

void Weights::register_layer(const std::string& name, Layer& layer, const Shape& shape) {
    if (shape.has_pre_norm) {
        register_norm(name + "attention_norm", layer.attention_norm, shape);
        if (!shape.is_norm_shared) register_norm(name + "mlp_norm", layer.mlp_norm, shape);
    }
    if (shape.has_post_norm) {
        register_norm(name + "post_attention_norm", layer.post_attention_norm, shape);
        register_norm(name + "post_mlp_norm", layer.post_mlp_norm, shape);
    }
    register_attention(name + "attention.", layer, shape);
}

void Weights::register_attention(const std::string& name, Layer& layer, const Shape& shape) {
    const int hidden = shape.hidden_size, queries = shape.query_size(), keys = shape.key_size();
    register_linear(name + "q_proj", layer.query, queries, hidden);
    register_linear(name + "k_proj", layer.key, keys, hidden);
    register_linear(name + "v_proj", layer.value, keys, hidden);
    register_linear(name + "o_proj", layer.out, hidden, queries);
    if (shape.qk_norm == QKNorm::None) return;
    const bool is_per_head = shape.qk_norm == QKNorm::PerHead;
    register_vector(name + "q_norm" + kWeight, layer.query_norm.weight, is_per_head ? shape.head_dim : queries);
    register_vector(name + "k_norm" + kWeight, layer.key_norm.weight, is_per_head ? shape.head_dim : keys);
}

void Weights::register_mixture(const std::string& name, Mixture& mixture, const Shape& shape) {
    mixture.experts.resize(static_cast<size_t>(shape.experts.count));
    register_linear(name + "router", mixture.router, shape.experts.count, shape.hidden_size);
    for (int index = 0; index < shape.experts.count; ++index) {
        register_mlp(name + "experts." + std::to_string(index) + ".", mixture.experts[index],
                     shape.experts.intermediate_size, shape);
    }
    if (shape.experts.shared_size > 0) {
        register_mlp(name + "shared_expert.", mixture.shared, shape.experts.shared_size, shape);
    }
    if (shape.experts.has_shared_gate) register_linear(name + "shared_gate", mixture.shared_gate, 1, shape.hidden_size);
}

void Weights::register_mlp(const std::string& name, Mlp& mlp, int wide, const Shape& shape) {
    const int hidden = shape.hidden_size;
    if (shape.is_gated) {
        register_linear(name + "gate_proj", mlp.up, wide, hidden, PanelPart::First, &mlp);
        register_linear(name + "up_proj", mlp.up, wide, hidden, PanelPart::Second, &mlp);
    } else {
        register_linear(name + "up_proj", mlp.up, wide, hidden);
    }
    register_linear(name + "down_proj", mlp.down, hidden, wide);
}

void Weights::register_linear(const std::string& name, Linear& linear, int rows, int columns, PanelPart part,
                              Mlp* mlp) {
    matrices_[name + kWeight] = {&linear, part, rows, columns, mlp};
    vectors_[name + kBias] = {&linear.bias, part, rows, true};
}

// Norm of the hidden states; a missing weight or bias of a layer norm is neutral.
void Weights::register_norm(const std::string& name, Norm& norm, const Shape& shape) {
    const int size = shape.hidden_size;
    norm.weight.assign(shape.norm_weight ? 0 : size, 1.0f);
    norm.bias.assign(shape.norm_bias ? 0 : size, 0.0f);
    if (shape.norm_weight) register_vector(name + kWeight, norm.weight, size);
    if (shape.is_layer_norm && shape.norm_bias) register_vector(name + kBias, norm.bias, size);
}

void Weights::register_vector(const std::string& name, std::vector<float>& vector, int size) {
    vectors_[name] = {&vector, PanelPart::Whole, size, false};
}

const Weights::MatrixSlot& Weights::slot_of(const std::string& name) const {
    const auto found = matrices_.find(name);
    if (found == matrices_.end()) throw std::invalid_argument("no matrix has the name " + name);
    return found->second;
}

void Weights::make_matrix(const std::string& name, WeightKind kind) {
    const MatrixSlot& slot = slot_of(name);
    const bool is_half = slot.part != PanelPart::Whole;
    if (is_half && slot.linear->matrix.rows != 0) {
        if (slot.linear->matrix.kind == kind) return;  // made together with the other half
        part_from_gate(*slot.mlp);
    }
    const int rows = slot.part == PanelPart::Whole ? slot.rows : ceil_div(slot.rows, kLanes) * kPanelRows;
    slot.linear->matrix = Matrix(kind, rows, slot.columns);
}

// Give the gate and the values that it gates a matrix each: of the kind that both have, until another is made.
void Weights::part_from_gate(Mlp& mlp) {
    const WeightKind kind = mlp.up.matrix.kind;
    mlp.up.matrix = {};
    for (auto& [name, slot] : matrices_) {
        if (slot.mlp != &mlp) continue;
        VectorSlot& bias = vectors_.at(name.substr(0, name.size() - kWeight.size()) + kBias);
        if (slot.part == PanelPart::First) slot.linear = &mlp.gate, bias.vector = &mlp.gate.bias;
        slot.part = bias.part = PanelPart::Whole;
        slot.linear->matrix = Matrix(kind, slot.rows, slot.columns);
    }
}

void Weights::require_fit(const EncodedRows& part) const {
    const MatrixSlot& slot = slot_of(part.name);
    const Matrix& matrix = slot.linear->matrix;
    const bool fits = matrix.rows != 0 && part.first_row >= 0 && part.num_rows >= 0 &&
                      part.num_rows <= slot.rows - part.first_row && part.first_row % rows_in_panel(slot.part) == 0 &&
                      part.size == row_bytes(part.encoding, slot.columns) * part.num_rows;
    if (!fits || !can_pack(matrix.kind, part.encoding, slot.columns)) {
        throw std::invalid_argument("rows of " + part.name + " do not fit the matrix made for them");
    }
}

bool Weights::pack(const EncodedRows& part, const Kernels& kernels) {
    const MatrixSlot& slot = slot_of(part.name);
    return pack_rows(slot.linear->matrix, slot.part, part.first_row, part.num_rows, part.encoding, part.rows, kernels);
}

void Weights::load_vector(const std::string& name, const float* values, size_t size) {
    const auto found = vectors_.find(name);
    if (found == vectors_.end()) throw std::invalid_argument("no vector has the name " + name);
    const auto& [vector, part, expected, is_optional] = found->second;
    if (size != static_cast<size_t>(expected)) {
        throw std::invalid_argument(name + " has " + std::to_string(size) + " values; the shape has " +
                                    std::to_string(expected));
    }
    put_in_panel_order(values, expected, part, 0.0f, *vector);
}

void Weights::require_loaded() {
    if (is_loaded_) return;
    const auto require = [](bool is_loaded, const std::string& name) {
        if (!is_loaded) throw std::invalid_argument(name + " has not been loaded");
    };
    for (const auto& [name, slot] : matrices_) require(slot.linear->matrix.rows != 0, name);
    for (const auto& [name, slot] : vectors_) require(slot.is_optional || !slot.vector->empty(), name);
    is_loaded_ = true;
}

size_t Weights::num_bytes() const {
    size_t bytes = 0;
    for (const auto& [name, slot] : matrices_) {
        if (slot.part != PanelPart::Second) bytes += slot.linear->matrix.bytes.size();  // not the other half again
    }
    return bytes;
}

}  // namespace nextword
