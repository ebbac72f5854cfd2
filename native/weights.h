// The weights of a model: packed matrices and vectors, filled by the names of models/weights.py.

#ifndef NEXTWORD_WEIGHTS_H
#define NEXTWORD_WEIGHTS_H

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "pack.h"
#include "prefetch.h"
#include "shape.h"
#include "tensor.h"

namespace nextword {

struct Norm {
    std::vector<float> weight, bias;
};

struct Linear {
    Matrix matrix;
    std::vector<float> bias;  // in the order of the panels' rows, or empty
    MemoryRange memory() const { return {matrix.bytes.data(), matrix.bytes.size()}; }
};

// The matrices of an MLP. Those of a gate and of the values that it gates stand side by side in `up`, unless they are
// of different kinds: then `gate` has a matrix of its own.
struct Mlp {
    Linear gate, up, down;
    bool has_gate() const { return gate.matrix.rows != 0; }
    const Linear& first() const { return has_gate() ? gate : up; }  // that is multiplied by
    bool widens_int8() const { return is_quantized(gate.matrix.kind) || is_quantized(up.matrix.kind); }
};

struct Mixture {
    Linear router;
    std::vector<Mlp> experts;
    Mlp shared;          // for all tokens, or empty
    Linear shared_gate;  // one row, or empty
};

struct Layer {
    Norm attention_norm, post_attention_norm, mlp_norm, post_mlp_norm;
    Linear query, key, value, out;
    Norm query_norm, key_norm;
    Mlp mlp;
    Mixture mixture;  // instead of the MLP, or empty
};

// Put numbers, one for each row of a tensor, in the order of its panels' rows; new ones of other rows get `padding`.
void put_in_panel_order(const float* values, int size, PanelPart part, float padding, std::vector<float>& ordered);

// Rows first_row, first_row + 1, ... of a named matrix, as a file has them.
struct EncodedRows {
    std::string name;
    int first_row, num_rows;
    Encoding encoding;
    const uint8_t* rows;
    size_t size;             // in bytes
    bool is_mapped = false;  // from a file that is only read: its pages leave the memory once they are packed
};

class Weights {
public:
    // Location of the rows of a named matrix.
    struct MatrixSlot {
        Linear* linear;
        PanelPart part;
        int rows, columns;
        Mlp* mlp;  // of one half of a gated pair, or none
    };

    explicit Weights(const Shape& shape);
    Weights(const Weights&) = delete;
    Weights& operator=(const Weights&) = delete;

    // A matrix is made, then filled; all are made before any is filled. The halves of a gated MLP are made together,
    // under either name, unless the kind that comes second is another. All throw std::invalid_argument for a name or
    // size that the shape does not have.
    void make_matrix(const std::string& name, WeightKind kind);
    void load_vector(const std::string& name, const float* values, size_t size);

    // Throws std::invalid_argument for rows that the matrix made for them does not have; they begin with those of a
    // panel.
    void require_fit(const EncodedRows& part) const;
    // Rows that fit, by several threads at once. False if finite numbers are beyond the range of the matrix's kind, or
    // others are where integers are to stand for them.
    bool pack(const EncodedRows& part, const Kernels& kernels);

    // Throws std::invalid_argument that names a weight which has not been loaded.
    void require_loaded();

    size_t num_bytes() const;  // of all matrices
    // Throws std::invalid_argument for a name that the shape does not have.
    const MatrixSlot& slot_of(const std::string& name) const;
    bool is_tied() const { return is_tied_; }
    const Linear& output_head() const { return is_tied_ ? embedding : output_head_; }

    Linear embedding, position_embedding;
    Norm final_norm;
    std::vector<Layer> layers;

private:
    struct VectorSlot {
        std::vector<float>* vector;
        PanelPart part;
        int size;
        bool is_optional;
    };

    void register_layer(const std::string& name, Layer& layer, const Shape& shape);
    void register_attention(const std::string& name, Layer& layer, const Shape& shape);
    void register_mixture(const std::string& name, Mixture& mixture, const Shape& shape);
    void register_mlp(const std::string& name, Mlp& mlp, int wide, const Shape& shape);
    void register_linear(const std::string& name, Linear& linear, int rows, int columns,
                         PanelPart part = PanelPart::Whole, Mlp* mlp = nullptr);
    void part_from_gate(Mlp& mlp);
    void register_norm(const std::string& name, Norm& norm, const Shape& shape);
    void register_vector(const std::string& name, std::vector<float>& vector, int size);

    bool is_tied_, is_loaded_ = false;
    Linear output_head_;
    std::unordered_map<std::string, MatrixSlot> matrices_;
    std::unordered_map<std::string, VectorSlot> vectors_;
};

}  // namespace nextword

#endif
