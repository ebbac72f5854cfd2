// The transformer's step: tokens of many texts in, logits out. It reads in the order of models/transformer.py.

#ifndef NEXTWORD_MODEL_H
#define NEXTWORD_MODEL_H

#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernels.h"
#include "kv_cache.h"
#include "pack.h"
#include "score.h"
#include "threads.h"

namespace nextword {

// Rotary positions: radians per position of each pair, and those in texts of the long kind (LongRoPE), if they differ.
struct Rope {
    std::vector<float> frequencies, long_frequencies;
    float factor = 1.0f;  // on cosine and sine
};

enum class QKNorm { None, PerHead, AllHeads };

// ModelConfig, as far as the step needs it.
struct Shape {
    int vocab_size = 0, hidden_size = 0, intermediate_size = 0;
    int num_layers = 0, num_heads = 0, num_kv_heads = 0, head_dim = 0;
    int max_seq_len = 0;
    bool is_layer_norm = false;
    float norm_eps = 0.0f;
    bool has_pre_norm = true, has_post_norm = false;
    QKNorm qk_norm = QKNorm::None;
    Activation activation = Activation::Silu;
    bool is_gated = true, is_parallel = false, is_tied = false, has_position_embedding = false;
    float attention_scale = 1.0f, attention_soft_cap = 0.0f, logit_soft_cap = 0.0f, embedding_scale = 1.0f;
    std::vector<Rope> ropes;
    std::vector<int> layer_ropes;    // index into ropes for each layer, or -1
    std::vector<int> layer_windows;  // positions for each layer, 0 for all
};

// Tokens that continue a text, and for how many of the last of them logits are wanted.
struct Chunk {
    int64_t cache_id = 0;
    std::vector<int32_t> token_ids;
    int num_logits = 0;
};

class Model {
public:
    // What is called between the layers of a step. It may throw to end the step.
    using Pause = std::function<void()>;

    // Throws std::invalid_argument for a shape that is none, or an `isa` that cannot run here.
    Model(Shape shape, CacheKind cache_kind, size_t max_cache_bytes, int num_threads, const std::string& isa);

    // Weights, by the names of models/weights.py. A matrix is made, then filled; the halves of a gated MLP are made
    // together, under either name. Throw std::invalid_argument for what the shape does not have.
    void make_matrix(const std::string& name, WeightKind kind);
    void load_rows(const std::string& name, int first_row, int num_rows, Encoding encoding, const uint8_t* rows,
                   size_t size);
    void load_vector(const std::string& name, const float* values, size_t size);

    // Append each chunk to its text; writes num_logits rows of vocab_size for each, in order. Throws
    // std::invalid_argument for tokens or positions that the model does not have, or weights that it has not got yet,
    // std::bad_alloc if the cache cannot hold the new positions, and what `pause` throws; all texts are then as before.
    void step(const std::vector<Chunk>& chunks, float* logits, Pause pause = [] {});

    // The same, but of the logits only what they say of a given token each: as many targets, and scores written, as
    // rows of logits are wanted.
    void score(const std::vector<Chunk>& chunks, const int32_t* targets, TokenScore* scores, Pause pause = [] {});

    // Wanted before anything else in a process forked from the one that made the model, while no step was running.
    void restart_threads_if_forked() { threads_.restart_if_forked(); }

    KVCache& cache() { return cache_; }
    const Shape& shape() const { return shape_; }
    const char* isa() const { return kernels_.name; }
    int num_threads() const { return threads_.num_threads(); }
    size_t weight_bytes() const;

private:
    using Vector = std::vector<float>;

    struct Norm {
        Vector weight, bias;
    };
    struct Linear {
        Matrix matrix;
        Vector bias;
        Stretch memory() const { return {matrix.bytes.data(), matrix.bytes.size()}; }
    };
    struct Layer {
        Norm attention_norm, post_attention_norm, mlp_norm, post_mlp_norm;
        Linear query, key, value, out, up, down;  // up: gate and up side by side where the MLP is gated
        Norm query_norm, key_norm;
    };
    struct Slot {
        Linear* linear;
        PanelPart part;
        int rows, columns;
    };
    struct VectorSlot {
        Vector* vector;
        PanelPart part;
        int size;
        bool is_optional;
    };

    // Some tokens of a chunk within the block that runs.
    struct Piece {
        int64_t cache_id;
        int position;  // of its first token
        int row;       // of its first token in the block
        int count;
    };
    // Queries of one key-value head of a piece, and the segments of positions they meet.
    struct AttentionUnit {
        int piece, kv_head, token, num_tokens, first_segment, last_segment;
        int split;  // the number of the token and head whose segments are shared out, if this is a part of them, or -1
        size_t place;  // where a part's mixture is kept until all are merged
    };
    // Rows of floats with their int8 form.
    struct Rows {
        Vector values;
        std::vector<int8_t> quants;
        Vector scales, totals;
        std::vector<int32_t> sums;

        void resize(int num_tokens, int columns, bool is_quantized);
        QuantizedRows quantized() { return {quants.data(), scales.data(), sums.data(), totals.data()}; }
    };
    // The queries of a unit and, for keys of 8 bits, what their int8 form leaves of them, in int8.
    struct Queries {
        Rows rows, residual;
    };
    struct Product {
        const Linear* linear;
        Output out;
    };

    void register_weights();
    void register_linear(const std::string& name, Linear& linear, int rows, int columns,
                         PanelPart part = PanelPart::Whole);
    void register_norm(const std::string& name, Norm& norm, int size, bool has_bias);

    // `finish` is called with the rows, of the block that ran, whose logits are wanted.
    template <class Finish>
    void run(const std::vector<Chunk>& chunks, const Finish& finish, const Pause& pause);
    template <class Finish>
    void run_blocks(const std::vector<Chunk>& chunks, const Finish& finish, const Pause& pause);
    void require_weights();
    void check(const std::vector<Chunk>& chunks) const;
    void run_block(const std::vector<Piece>& pieces, const int32_t* token_ids, int num_tokens, const Pause& pause);
    void embed(int row, int32_t token_id, int position);
    void find_rotation(size_t rope, int row, int position, bool is_long);
    void run_layer(int index, const std::vector<Piece>& pieces, int num_tokens);
    void attend(int index, const std::vector<Piece>& pieces, int num_tokens);
    void store_keys_and_values(int index, const std::vector<Piece>& pieces, int num_tokens);
    void rotate(float* heads, int num_heads, int rope, int row) const;
    std::vector<AttentionUnit> attention_units(int layer, const std::vector<Piece>& pieces, size_t& num_floats) const;
    // `next` is the unit that the thread probably does after this one, if there is one.
    void attend_unit(int layer, const std::vector<Piece>& pieces, const AttentionUnit& unit, const AttentionUnit* next);
    void find_pages(int layer, const Piece& piece, const AttentionUnit& unit, int segment,
                    const uint8_t* (&found)[kSegmentPages]) const;
    void gather_queries(const std::vector<Piece>& pieces, const AttentionUnit& unit, Queries& queries) const;
    void merge_parts(const std::vector<Piece>& pieces, const std::vector<AttentionUnit>& units, size_t first);
    void write_mixture(const Mixture& mixture, const Piece& piece, const AttentionUnit& unit);
    void project_into_hidden(const Linear& linear, const Rows& input, const Norm& post_norm, int num_tokens);
    void find_logits(const std::vector<int>& rows, float* logits);
    void score_rows(const std::vector<int>& rows, const int32_t* targets, TokenScore* scores);

    void normalize(const Norm& norm, const float* x, int size, float* out) const;
    // Fill `rows` for each token by write(row, values), with its int8 form if a matrix that reads it is quantised.
    template <class Write>
    void make_rows(Rows& rows, int num_tokens, int columns, bool is_quantized, const Write& write);
    Activations view(const Rows& rows, int num_tokens, int columns) const;
    void multiply(const std::vector<Product>& products, const Activations& x);

    Shape shape_;
    const Kernels& kernels_;
    KVCache cache_;
    ThreadPool threads_;

    Linear embedding_, position_embedding_, output_head_;
    Norm final_norm_;
    std::vector<Layer> layers_;
    bool has_weights_ = false;
    std::unordered_map<std::string, Slot> slots_;
    std::unordered_map<std::string, VectorSlot> vectors_;

    // Of the block that runs; its tokens are the rows.
    Vector hidden_, queries_, keys_, values_, projected_, parts_, logits_;
    std::vector<Vector> cosines_, sines_;  // for each rope
    std::vector<int> piece_of_row_;
    Rows normed_, mlp_normed_, mixed_, widened_;
    std::vector<Queries> split_queries_;
};

}  // namespace nextword

#endif
