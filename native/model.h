// The forward pass: tokens of many sequences in, logits out. It reads in the order of models/transformer.py.

#ifndef NEXTWORD_MODEL_H
#define NEXTWORD_MODEL_H

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "adapters.h"
#include "aligned.h"
#include "attention.h"
#include "block.h"
#include "experts.h"
#include "kernels.h"
#include "kv_cache.h"
#include "packing.h"
#include "products.h"
#include "score.h"
#include "shape.h"
#include "threads.h"
#include "weights.h"

namespace nextword {

// Tokens that continue a sequence, and for how many of the last of them logits are wanted. The last num_drafted are a
// draft: KVCache::truncate may take them back before the sequence's next step.
struct Chunk {
    int64_t cache_id = 0;
    std::vector<int32_t> token_ids;
    int num_logits = 0;
    int num_drafted = 0;
};

class Model {
public:
    // Called between the layers of a step. It may throw to end the step.
    using BetweenLayers = std::function<void()>;

    // The kernels outlive it. Throws std::invalid_argument for an invalid shape.
    Model(Shape shape, CacheKind cache_kind, size_t max_cache_bytes, int num_threads, const Kernels& kernels);

    // Weights as weights.h has them.
    void make_matrix(const std::string& name, WeightKind kind) { weights_.make_matrix(name, kind); }
    void load_vector(const std::string& name, const float* values, size_t size) {
        weights_.load_vector(name, values, size);
    }
    // Begin to pack rows as packing.h has it. It uses this model, which stays where it is and is not used meanwhile.
    std::unique_ptr<Packing> pack(std::vector<EncodedRows> parts) {
        return std::make_unique<Packing>(weights_, std::move(parts), kernels_, num_threads());
    }
    void load_rows(std::vector<EncodedRows> parts);

    // Adapters as adapters.h has them, over weights that have all been loaded.
    int add_adapter() { return adapters_.add(); }
    void load_adapter(int adapter, const std::string& name, const ChangeValues& values) {
        adapters_.load(adapter, name, values);
    }
    // Open a sequence as KVCache does. Throws std::invalid_argument for an adapter that has not been added.
    int64_t open_cache(const std::vector<int32_t>& prompt, SequenceKind kind);

    // Append each chunk to its sequence; writes num_logits rows of vocab_size for each, in order. Throws
    // std::invalid_argument for tokens or positions that the model does not have, or weights that have not been loaded,
    // CacheFull if the KV cache cannot hold the new positions, std::bad_alloc if the system has no more memory, and
    // what `between_layers` throws; all sequences are then as before.
    void step(const std::vector<Chunk>& chunks, float* logits, BetweenLayers between_layers = [] {});

    // The same, but compute the score of one target token per row instead of the logits: as many targets and scores as
    // rows of logits.
    void score(
        const std::vector<Chunk>& chunks, const int32_t* targets, TokenScore* scores,
        BetweenLayers between_layers = [] {});

    // Call first in a process that was forked, while no step was running, from the one that made the model.
    void restart_threads_if_forked() { threads_.restart_if_forked(); }

    KVCache& cache() { return cache_; }
    ThreadPool& threads() { return threads_; }  // between steps
    const Shape& shape() const { return shape_; }
    const char* isa() const { return kernels_.name; }
    int num_threads() const { return threads_.num_threads(); }
    size_t weight_bytes() const { return weights_.num_bytes(); }
    size_t adapter_bytes() const { return adapters_.num_bytes(); }

private:
    using Vector = AlignedVector<float>;

    // `finish` is called for each block, once all blocks of a run are through all layers, for the rows whose logits are
    // wanted.
    template <class Finish>
    void run(const std::vector<Chunk>& chunks, const Finish& finish, const BetweenLayers& between_layers);
    template <class Finish>
    void run_blocks(const std::vector<Chunk>& chunks, const Finish& finish, const BetweenLayers& between_layers);
    void check(const std::vector<Chunk>& chunks) const;
    void check_tokens(const Chunk& chunk) const;
    int block_tokens() const;
    void run_layers(const std::vector<Block>& blocks, int num_tokens, const BetweenLayers& between_layers);
    void embed(int32_t token_id, int position, float* hidden) const;
    void run_layer(int index, const Block& block);
    void run_mlp(int index, const Rows& normed, const Block& block);
    void widen(const WideningStep& step, const Rows& normed, const Block& block);
    void run_experts(int index, Rows& normed, const Block& block);
    void project_into_hidden(const Linear& linear, const Rows& input, const Norm& post_norm, const Block& block);
    void add_projected(const Norm& post_norm, const Block& block);
    void normalize_hidden(const Norm& norm, const Block& block, bool is_quantized, Rows& out);
    float* hidden_of(const Block& block, int row = 0) {
        return hidden_.data() + static_cast<size_t>(block.first_row + row) * shape_.hidden_size;
    }
    void normalize(const Norm& norm, const float* x, float* out) const;
    void prefetch_after_mlp(int index);
    void find_logits(const Block& block, const std::vector<int>& rows, float* logits);
    void score_rows(const Block& block, const std::vector<int>& rows, const int32_t* targets, TokenScore* scores);

    const Shape shape_;
    const Kernels& kernels_;
    KVCache cache_;
    ThreadPool threads_;
    Weights weights_;
    Adapters adapters_;
    Attention attention_;
    ExpertMlp experts_;

    Vector hidden_;  // of the tokens of all blocks that run through the layers
    // State of the current block; its tokens are the rows. What a layer no longer needs makes room for what comes.
    Vector projected_, sums_, logits_;
    Rows normed_, parallel_normed_;  // the latter for an MLP beside attention
    Rows inner_;                     // between two products: attended, then widened
};

}  // namespace nextword

#endif
