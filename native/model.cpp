#include "model.h"

#include <algorithm>
#include <stdexcept>

namespace nextword {

namespace {

// Tokens that run through the layers together: enough that reading the weights takes little time beside computing.
constexpr int kTokensAtOnce = 512;
// Tokens of a block where the weights of a layer are small enough to stay in the caches for the next block: then only a
// block's activations take memory, not those of all tokens. Twice as many as a product unpacks its weights for.
constexpr int kSmallBlockTokens = 192;
constexpr size_t kSmallLayerBytes = size_t{4} << 20;
// Rows of logits that are scored together, few enough to stay in the caches: 12 MiB for a vocabulary of 49,152.
constexpr int kScoredRows = 64;

CacheShape cache_shape(const Shape& shape, CacheKind kind, size_t max_bytes) {
    return {{kind, shape.head_dim}, shape.num_kv_heads, shape.layer_windows, max_bytes};
}

Output rows_of(float* rows, int width, Epilogue epilogue = Epilogue::Store, Activation activation = Activation::None) {
    return {rows, width, width, nullptr, epilogue, activation};
}

}  // namespace

Model::Model(Shape shape, CacheKind cache_kind, size_t max_cache_bytes, int num_threads, const Kernels& kernels)
    : shape_(checked(std::move(shape))),
      kernels_(kernels),
      cache_(cache_shape(shape_, cache_kind, max_cache_bytes)),
      threads_(num_threads),
      weights_(shape_),
      adapters_(kernels_, threads_, weights_),
      attention_(shape_, kernels_, cache_, threads_, adapters_),
      experts_(shape_, kernels_, threads_) {}

void Model::load_rows(std::vector<EncodedRows> parts) {
    const std::unique_ptr<Packing> packing = pack(std::move(parts));
    while (!packing->run(std::chrono::seconds(1))) {
    }
}

int64_t Model::open_cache(const std::vector<int32_t>& prompt, SequenceKind kind) {
    if (kind.adapter < 0 || kind.adapter > adapters_.count()) {
        throw std::invalid_argument("no adapter has the number " + std::to_string(kind.adapter));
    }
    return cache_.open(prompt, kind);
}

// ---- the step ----

void Model::step(const std::vector<Chunk>& chunks, float* logits, BetweenLayers between_layers) {
    const auto finish = [&](const Block& block) {
        find_logits(block, block.rows_of_logits, logits);
        logits += block.rows_of_logits.size() * shape_.vocab_size;
    };
    run(chunks, finish, between_layers);
}

void Model::score(const std::vector<Chunk>& chunks, const int32_t* targets, TokenScore* scores,
                  BetweenLayers between_layers) {
    const auto finish = [&](const Block& block) {
        const std::vector<int>& rows = block.rows_of_logits;
        const int count = static_cast<int>(rows.size());
        for (int done = 0; done < count; done += kScoredRows) {
            const auto first = rows.begin() + done, last = rows.begin() + std::min(count, done + kScoredRows);
            score_rows(block, {first, last}, targets, scores);
            targets += last - first, scores += last - first;
            between_layers();
        }
    };
    run(chunks, finish, between_layers);
}

void Model::check(const std::vector<Chunk>& chunks) const {
    std::vector<int64_t> ids;
    std::vector<int> counts;
    for (const Chunk& chunk : chunks) {
        check_tokens(chunk);
        if (std::find(ids.begin(), ids.end(), chunk.cache_id) != ids.end()) {
            throw std::invalid_argument("a step has two chunks of one sequence");
        }
        ids.push_back(chunk.cache_id);
        counts.push_back(static_cast<int>(chunk.token_ids.size()));
    }
    if (!cache_.has_room(ids, counts)) throw CacheFull();
}

void Model::check_tokens(const Chunk& chunk) const {
    const int count = static_cast<int>(chunk.token_ids.size());
    if (cache_.length(chunk.cache_id) + count > shape_.max_seq_len) {
        throw std::invalid_argument("a sequence would be longer than the model's context");
    }
    if (chunk.num_logits < 0 || chunk.num_logits > count) {
        throw std::invalid_argument("more logits are wanted than a chunk has tokens");
    }
    if (chunk.num_drafted < 0 || chunk.num_drafted > count) {
        throw std::invalid_argument("more tokens are drafted than a chunk has");
    }
    for (const int32_t token : chunk.token_ids) {
        if (token < 0 || token >= shape_.vocab_size) throw std::invalid_argument("a token is not in the vocabulary");
    }
}

template <class Finish>
void Model::run(const std::vector<Chunk>& chunks, const Finish& finish, const BetweenLayers& between_layers) {
    weights_.require_loaded();
    check(chunks);
    std::vector<int> lengths;
    for (const Chunk& chunk : chunks) lengths.push_back(cache_.length(chunk.cache_id));
    try {
        for (const Chunk& chunk : chunks) cache_.grow(chunk.cache_id, chunk.token_ids);
        run_blocks(chunks, finish, between_layers);
    } catch (...) {
        for (size_t i = 0; i < chunks.size(); ++i) cache_.shrink(chunks[i].cache_id, lengths[i]);
        throw;
    }
    for (const Chunk& chunk : chunks) cache_.settle(chunk.cache_id, chunk.num_drafted);
}

template <class Finish>
void Model::run_blocks(const std::vector<Chunk>& chunks, const Finish& finish, const BetweenLayers& between_layers) {
    const int most = block_tokens();
    std::vector<Block> blocks;
    int num_tokens = 0;
    const auto run_all = [&] {
        run_layers(blocks, num_tokens, between_layers);
        for (const Block& block : blocks) finish(block);
        blocks.clear(), num_tokens = 0;
    };
    for (const Chunk& chunk : chunks) {
        const int count = static_cast<int>(chunk.token_ids.size());
        int position = cache_.length(chunk.cache_id) - count;
        for (int done = 0; done < count;) {
            if (num_tokens == kTokensAtOnce) run_all();
            if (blocks.empty() || blocks.back().num_tokens() == most) {
                blocks.emplace_back();
                blocks.back().first_row = num_tokens;
            }
            Block& block = blocks.back();
            const int row = block.num_tokens(),
                      taken = std::min({count - done, most - row, kTokensAtOnce - num_tokens});
            block.piece_of_row.insert(block.piece_of_row.end(), taken, static_cast<int>(block.pieces.size()));
            block.adapter_of_row.insert(block.adapter_of_row.end(), taken, cache_.kind(chunk.cache_id).adapter);
            block.pieces.push_back({chunk.cache_id, position, row, taken});
            for (int i = 0; i < taken; ++i, ++done, ++position) {
                block.token_ids.push_back(chunk.token_ids[done]);
                if (done >= count - chunk.num_logits) block.rows_of_logits.push_back(row + i);
            }
            num_tokens += taken;
        }
    }
    if (num_tokens > 0) run_all();
}

// All tokens where the next block would read the weights from memory again, or an expert would get few of each block.
int Model::block_tokens() const {
    const Layer& layer = weights_.layers.front();
    size_t num_bytes = 0;
    const Linear* const linears[] = {&layer.query,    &layer.key,    &layer.value,   &layer.out,
                                     &layer.mlp.gate, &layer.mlp.up, &layer.mlp.down};
    for (const Linear* linear : linears) num_bytes += linear->matrix.bytes.size();
    const bool is_small = num_bytes <= kSmallLayerBytes && shape_.experts.count == 0;
    return is_small ? kSmallBlockTokens : kTokensAtOnce;
}

// Each layer takes the blocks one after the other: a token attends to none of a later block.
void Model::run_layers(const std::vector<Block>& blocks, int num_tokens, const BetweenLayers& between_layers) {
    hidden_.resize(static_cast<size_t>(num_tokens) * shape_.hidden_size);
    attention_.begin(num_tokens);
    for (const Block& block : blocks) {
        threads_.run(block.num_tokens(), [&](int first, int last) {
            for (int row = first; row < last; ++row) {
                embed(block.token_ids[row], block.position_of(row), hidden_of(block, row));
                attention_.find_rotation(block, row);
            }
        });
    }
    for (int layer = 0; layer < shape_.num_layers; ++layer) {
        for (const Block& block : blocks) run_layer(layer, block);
        between_layers();
    }
}

void Model::embed(int32_t token_id, int position, float* hidden) const {
    const int size = shape_.hidden_size;
    unpack_row(weights_.embedding.matrix, token_id, hidden);
    for (int d = 0; d < size; ++d) hidden[d] *= shape_.embedding_scale;
    if (!shape_.has_position_embedding) return;
    Vector learned(size);
    unpack_row(weights_.position_embedding.matrix, position + shape_.position_offset, learned.data());
    for (int d = 0; d < size; ++d) hidden[d] += learned[d];
}

// ---- a layer ----

void Model::run_layer(int index, const Block& block) {
    const Layer& layer = weights_.layers[index];
    const bool attention_reads_int8 = is_quantized(layer.query.matrix.kind) || is_quantized(layer.key.matrix.kind) ||
                                      is_quantized(layer.value.matrix.kind);
    const bool has_experts = shape_.has_experts(index);
    const bool mlp_reads_int8 = !has_experts && layer.mlp.widens_int8();
    normalize_hidden(layer.attention_norm, block, attention_reads_int8, normed_);
    if (shape_.is_parallel) {
        const Norm& norm = shape_.is_norm_shared ? layer.attention_norm : layer.mlp_norm;
        normalize_hidden(norm, block, mlp_reads_int8, parallel_normed_);
    }

    threads_.prefetch_next({layer.out.memory()});
    attention_.attend(index, layer, block, normed_, inner_);
    threads_.prefetch_next({has_experts ? layer.mixture.router.memory() : layer.mlp.first().memory()});
    project_into_hidden(layer.out, inner_, layer.post_attention_norm, block);

    if (!shape_.is_parallel) normalize_hidden(layer.mlp_norm, block, mlp_reads_int8, normed_);
    Rows& normed = shape_.is_parallel ? parallel_normed_ : normed_;
    return has_experts ? run_experts(index, normed, block) : run_mlp(index, normed, block);
}

// hidden += residual_scale * post_norm(down(activation(gate) * up)) of the normed rows.
void Model::run_mlp(int index, const Rows& normed, const Block& block) {
    const Mlp& mlp = weights_.layers[index].mlp;
    const int num_tokens = block.num_tokens(), wide = shape_.intermediate_size;
    inner_.resize(num_tokens, wide, false);
    threads_.prefetch_next({mlp.down.memory()});
    for (const WideningStep& step : widening_steps(mlp, shape_)) widen(step, normed, block);
    prefetch_after_mlp(index);
    adapters_.scale_inputs(mlp.down, block.adapter_of_row, inner_.values.data());
    if (is_quantized(mlp.down.matrix.kind)) quantize_rows(kernels_, threads_, inner_, num_tokens, wide);
    project_into_hidden(mlp.down, inner_, weights_.layers[index].post_mlp_norm, block);
}

// A step towards widened = activation(gate) * up; in two passes, with the same bits, where adapters change the sums.
void Model::widen(const WideningStep& step, const Rows& normed, const Block& block) {
    const Linear& up = *step.linear;
    const int num_tokens = block.num_tokens(), wide = shape_.intermediate_size,
              num_sums = up.matrix.num_panels() * kPanelRows;
    const Output out = rows_of(inner_.values.data(), wide, step.epilogue, step.activation);
    const Activations x = normed.view(num_tokens, shape_.hidden_size);
    if (!adapters_.change(up, block.adapter_of_row)) return multiply(kernels_, threads_, {{&up, out}}, x);
    sums_.resize(static_cast<size_t>(num_tokens) * num_sums);
    multiply(kernels_, threads_, {{&up, rows_of(sums_.data(), num_sums)}}, x);
    adapters_.apply(up, block.adapter_of_row, x.rows, sums_.data(), num_sums);
    threads_.run(num_tokens, [&](int first, int last) {
        for (int row = first; row < last; ++row) {
            Output of_row = out;
            of_row.rows += static_cast<size_t>(row) * wide;
            kernels_.activate_row(sums_.data() + static_cast<size_t>(row) * num_sums, of_row);
        }
    });
}

// The same with the MLPs that the router chooses.
void Model::run_experts(int index, Rows& normed, const Block& block) {
    const Layer& layer = weights_.layers[index];
    const int num_tokens = block.num_tokens();
    projected_.resize(static_cast<size_t>(num_tokens) * shape_.hidden_size);
    experts_.run(layer.mixture, normed, num_tokens, projected_.data());
    prefetch_after_mlp(index);
    add_projected(layer.post_mlp_norm, block);
}

void Model::prefetch_after_mlp(int index) {
    if (index + 1 < shape_.num_layers) {
        const Layer& next = weights_.layers[index + 1];
        threads_.prefetch_next({next.query.memory(), next.key.memory(), next.value.memory()});
    } else {
        threads_.prefetch_next({weights_.output_head().memory()});
    }
}

// hidden += residual_scale * post_norm(linear(input)), without the norm where the model has none.
void Model::project_into_hidden(const Linear& linear, const Rows& input, const Norm& post_norm, const Block& block) {
    const int hidden = shape_.hidden_size, num_tokens = block.num_tokens();
    const Activations x = input.view(num_tokens, linear.matrix.columns);
    const bool is_plain = !shape_.has_post_norm && shape_.residual_scale == 1.0f;
    if (is_plain && !adapters_.change(linear, block.adapter_of_row)) {
        return multiply(kernels_, threads_, {{&linear, rows_of(hidden_of(block), hidden, Epilogue::Add)}}, x);
    }
    projected_.resize(static_cast<size_t>(num_tokens) * hidden);
    multiply(kernels_, threads_, {{&linear, rows_of(projected_.data(), hidden)}}, x);
    adapters_.apply(linear, block.adapter_of_row, x.rows, projected_.data(), hidden);
    add_projected(post_norm, block);
}

// hidden += residual_scale * post_norm(projected), without the norm where the model has none.
void Model::add_projected(const Norm& post_norm, const Block& block) {
    const int hidden = shape_.hidden_size;
    threads_.run(block.num_tokens(), [&](int first, int last) {
        Vector normed(hidden);
        for (int row = first; row < last; ++row) {
            float* to = hidden_of(block, row);
            const float* from = projected_.data() + static_cast<size_t>(row) * hidden;
            if (shape_.has_post_norm) {
                normalize(post_norm, from, normed.data());
                from = normed.data();
            }
            for (int d = 0; d < hidden; ++d) to[d] += shape_.residual_scale * from[d];
        }
    });
}

// The hidden states by a norm, or as they are where the model has none before its layers.
void Model::normalize_hidden(const Norm& norm, const Block& block, bool is_quantized, Rows& out) {
    const int hidden = shape_.hidden_size;
    make_rows(kernels_, threads_, out, block.num_tokens(), hidden, is_quantized, [&](int row, float* to) {
        const float* x = hidden_of(block, row);
        if (shape_.has_pre_norm) {
            normalize(norm, x, to);
        } else {
            std::copy(x, x + hidden, to);
        }
    });
}

void Model::normalize(const Norm& norm, const float* x, float* out) const {
    if (shape_.is_layer_norm) {
        kernels_.layer_norm(x, norm.weight.data(), norm.bias.data(), shape_.norm_eps, shape_.hidden_size, out);
    } else {
        kernels_.rms_norm(x, norm.weight.data(), shape_.norm_eps, shape_.hidden_size, out);
    }
}

// ---- logits ----

void Model::find_logits(const Block& block, const std::vector<int>& rows, float* logits) {
    const int count = static_cast<int>(rows.size()), hidden = shape_.hidden_size, vocab_size = shape_.vocab_size;
    if (count == 0) return;
    const Linear& head = weights_.output_head();
    make_rows(kernels_, threads_, normed_, count, hidden, is_quantized(head.matrix.kind), [&](int row, float* out) {
        normalize(weights_.final_norm, hidden_of(block, rows[row]), out);
        for (int d = 0; d < hidden; ++d) out[d] *= shape_.logit_scale;
    });
    multiply(kernels_, threads_, {{&head, rows_of(logits, vocab_size)}}, normed_.view(count, hidden));
    std::vector<int> adapters;
    for (const int row : rows) adapters.push_back(block.adapter_of_row[row]);
    adapters_.apply(head, adapters, normed_.values.data(), logits, vocab_size);
    if (shape_.logit_soft_cap <= 0.0f) return;
    const auto cap = [&](int first, int last) {
        for (int row = first; row < last; ++row) {
            kernels_.soft_cap(logits + static_cast<size_t>(row) * vocab_size, vocab_size, shape_.logit_soft_cap);
        }
    };
    threads_.run(count, cap, 0);
}

void Model::score_rows(const Block& block, const std::vector<int>& rows, const int32_t* targets, TokenScore* scores) {
    const int vocab_size = shape_.vocab_size;
    const size_t width = vocab_size;
    logits_.resize(rows.size() * width);
    find_logits(block, rows, logits_.data());
    threads_.run(static_cast<int>(rows.size()), [&](int first, int last) {
        thread_local Vector weights;
        weights.resize(width);
        for (int row = first; row < last; ++row) {
            scores[row] = score_token(kernels_, logits_.data() + row * width, vocab_size, targets[row], weights.data());
        }
    });
}

}  // namespace nextword
