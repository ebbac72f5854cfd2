#include "model.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <new>
#include <stdexcept>

namespace nextword {

namespace {

// Tokens that run through the layers together: enough to keep the products busy, few enough for their activations to
// stay in the caches.
constexpr int kBlockTokens = 512;
// Rows of logits that are scored together, for the same reason: 12 MiB for a vocabulary of 49,152.
constexpr int kScoredRows = 64;

CacheShape cache_shape(const Shape& shape, CacheKind kind, size_t max_bytes) {
    return {{kind, shape.head_dim}, shape.num_kv_heads, shape.layer_windows, max_bytes};
}

const std::string kWeight = ".weight", kBias = ".bias";

// For rows whose floats are there already.
void kept(int, float*) {}

bool is_rope(const Rope& rope, int head_dim) {
    const size_t num_pairs = rope.frequencies.size(), num_long = rope.long_frequencies.size();
    return num_pairs <= static_cast<size_t>(head_dim) / 2 && (num_long == 0 || num_long == num_pairs);
}

// The shape itself. Throws std::invalid_argument if the step would go astray in it.
Shape checked(Shape shape) {
    const auto require = [](bool holds, const char* what) {
        if (!holds) throw std::invalid_argument(std::string("not the shape of a model: ") + what);
    };
    for (const int size : {shape.vocab_size, shape.hidden_size, shape.intermediate_size, shape.num_layers,
                           shape.num_heads, shape.num_kv_heads, shape.head_dim, shape.max_seq_len}) {
        require(size > 0, "a size is not above 0");
    }
    require(shape.num_heads % shape.num_kv_heads == 0, "key-value heads are not shared by equally many heads");
    const size_t num_layers = static_cast<size_t>(shape.num_layers);
    require(shape.layer_ropes.size() == num_layers && shape.layer_windows.size() == num_layers,
            "not one rope and window a layer");
    for (const Rope& rope : shape.ropes) require(is_rope(rope, shape.head_dim), "a rope turns more than a head has");
    for (const int rope : shape.layer_ropes)
        require(rope >= -1 && rope < static_cast<int>(shape.ropes.size()), "no such rope");
    for (const int window : shape.layer_windows) require(window >= 0, "a window is below 0");
    return shape;
}

}  // namespace

Model::Model(Shape shape, CacheKind cache_kind, size_t max_cache_bytes, int num_threads, const std::string& isa)
    : shape_(checked(std::move(shape))),
      kernels_(choose_kernels(isa.c_str())),
      cache_(cache_shape(shape_, cache_kind, max_cache_bytes)),
      threads_(num_threads),
      layers_(shape_.num_layers),
      cosines_(shape_.ropes.size()),
      sines_(shape_.ropes.size()) {
    register_weights();
}

// ---- weights ----

void Model::register_weights() {
    const int hidden = shape_.hidden_size, wide = shape_.intermediate_size;
    const int queries = shape_.num_heads * shape_.head_dim, keys = shape_.num_kv_heads * shape_.head_dim;
    const bool has_bias = shape_.is_layer_norm;
    register_linear("embedding", embedding_, shape_.vocab_size, hidden);
    if (shape_.has_position_embedding)
        register_linear("position_embedding", position_embedding_, shape_.max_seq_len, hidden);
    for (int index = 0; index < shape_.num_layers; ++index) {
        Layer& layer = layers_[index];
        const std::string name = "layers." + std::to_string(index) + ".";
        if (shape_.has_pre_norm) register_norm(name + "attention_norm", layer.attention_norm, hidden, has_bias);
        register_linear(name + "attention.q_proj", layer.query, queries, hidden);
        register_linear(name + "attention.k_proj", layer.key, keys, hidden);
        register_linear(name + "attention.v_proj", layer.value, keys, hidden);
        if (shape_.qk_norm != QKNorm::None) {
            const bool is_per_head = shape_.qk_norm == QKNorm::PerHead;
            register_norm(name + "attention.q_norm", layer.query_norm, is_per_head ? shape_.head_dim : queries, false);
            register_norm(name + "attention.k_norm", layer.key_norm, is_per_head ? shape_.head_dim : keys, false);
        }
        register_linear(name + "attention.o_proj", layer.out, hidden, queries);
        if (shape_.has_post_norm)
            register_norm(name + "post_attention_norm", layer.post_attention_norm, hidden, has_bias);
        if (shape_.has_pre_norm) register_norm(name + "mlp_norm", layer.mlp_norm, hidden, has_bias);
        if (shape_.is_gated) register_linear(name + "mlp.gate_proj", layer.up, wide, hidden, PanelPart::First);
        register_linear(name + "mlp.up_proj", layer.up, wide, hidden,
                        shape_.is_gated ? PanelPart::Second : PanelPart::Whole);
        register_linear(name + "mlp.down_proj", layer.down, hidden, wide);
        if (shape_.has_post_norm) register_norm(name + "post_mlp_norm", layer.post_mlp_norm, hidden, has_bias);
    }
    register_norm("final_norm", final_norm_, hidden, has_bias);
    if (!shape_.is_tied) register_linear("output_head", output_head_, shape_.vocab_size, hidden);
}

void Model::register_linear(const std::string& name, Linear& linear, int rows, int columns, PanelPart part) {
    slots_[name + kWeight] = {&linear, part, rows, columns};
    vectors_[name + kBias] = {&linear.bias, part, rows, true};
}

void Model::register_norm(const std::string& name, Norm& norm, int size, bool has_bias) {
    vectors_[name + kWeight] = {&norm.weight, PanelPart::Whole, size, false};
    if (has_bias) vectors_[name + kBias] = {&norm.bias, PanelPart::Whole, size, false};
}

void Model::make_matrix(const std::string& name, WeightKind kind) {
    const auto found = slots_.find(name);
    if (found == slots_.end()) throw std::invalid_argument("no matrix has the name " + name);
    const Slot& slot = found->second;
    Matrix& matrix = slot.linear->matrix;
    const int rows_in_panel = slot.part == PanelPart::Whole ? kPanelRows : kLanes;
    const int rows = ceil_div(slot.rows, rows_in_panel) * kPanelRows;
    if (matrix.rows != 0 && matrix.kind == kind && slot.part != PanelPart::Whole) return;
    matrix = Matrix(kind, slot.part == PanelPart::Whole ? slot.rows : rows, slot.columns);
}

void Model::load_rows(const std::string& name, int first_row, int num_rows, Encoding encoding, const uint8_t* rows,
                      size_t size) {
    const auto found = slots_.find(name);
    if (found == slots_.end()) throw std::invalid_argument("no matrix has the name " + name);
    const Slot& slot = found->second;
    Matrix& matrix = slot.linear->matrix;
    const bool fits = matrix.rows != 0 && first_row >= 0 && num_rows >= 0 && num_rows <= slot.rows - first_row &&
                      size == row_bytes(encoding, slot.columns) * num_rows;
    const bool is_readable = encoding <= Encoding::BF16 || is_same(matrix.kind, encoding);
    if (!fits || !is_readable || (matrix.kind == WeightKind::Q4 && encoding != Encoding::Q4_0)) {
        throw std::invalid_argument("rows of " + name + " do not fit the matrix made for them");
    }
    const size_t stride = row_bytes(encoding, slot.columns);
    threads_.run(num_rows, [&](int first, int last) {
        pack_rows(matrix, slot.part, first_row + first, last - first, encoding, rows + stride * first);
    });
}

void Model::load_vector(const std::string& name, const float* values, size_t size) {
    const auto found = vectors_.find(name);
    if (found == vectors_.end()) throw std::invalid_argument("no vector has the name " + name);
    const auto& [vector, part, expected, is_optional] = found->second;
    if (size != static_cast<size_t>(expected))
        throw std::invalid_argument("the size of " + name + " is not the shape's");
    // A bias stands in the order of its panels' rows, with zeros for those that pad them.
    const int rows_in_panel = part == PanelPart::Whole ? kPanelRows : kLanes;
    vector->resize(static_cast<size_t>(ceil_div(expected, rows_in_panel)) * kPanelRows);
    const int first_lane = part == PanelPart::Second ? kLanes : 0;
    for (int i = 0; i < expected; ++i)
        (*vector)[i / rows_in_panel * kPanelRows + first_lane + i % rows_in_panel] = values[i];
}

size_t Model::weight_bytes() const {
    size_t bytes =
        embedding_.matrix.bytes.size() + position_embedding_.matrix.bytes.size() + output_head_.matrix.bytes.size();
    for (const Layer& layer : layers_) {
        for (const Linear* linear : {&layer.query, &layer.key, &layer.value, &layer.out, &layer.up, &layer.down}) {
            bytes += linear->matrix.bytes.size();
        }
    }
    return bytes;
}

// ---- the step ----

void Model::require_weights() {
    if (has_weights_) return;
    const auto require = [](bool is_here, const std::string& name) {
        if (!is_here) throw std::invalid_argument(name + " has not been loaded");
    };
    for (const auto& [name, slot] : slots_) require(slot.linear->matrix.rows != 0, name);
    for (const auto& [name, slot] : vectors_) require(slot.is_optional || !slot.vector->empty(), name);
    has_weights_ = true;
}

void Model::check(const std::vector<Chunk>& chunks) const {
    std::vector<int64_t> ids;
    std::vector<int> counts;
    for (const Chunk& chunk : chunks) {
        const int count = static_cast<int>(chunk.token_ids.size());
        const int length = cache_.length(chunk.cache_id) + count;
        if (length > shape_.max_seq_len) throw std::invalid_argument("a text would be longer than the model's context");
        if (chunk.num_logits < 0 || chunk.num_logits > count)
            throw std::invalid_argument("logits are asked for tokens not given");
        for (const int32_t token : chunk.token_ids) {
            if (token < 0 || token >= shape_.vocab_size)
                throw std::invalid_argument("a token is not in the vocabulary");
        }
        if (std::find(ids.begin(), ids.end(), chunk.cache_id) != ids.end()) {
            throw std::invalid_argument("a text stands twice in a step");
        }
        ids.push_back(chunk.cache_id);
        counts.push_back(count);
    }
    if (!cache_.has_room(ids, counts)) throw std::bad_alloc();
}

void Model::step(const std::vector<Chunk>& chunks, float* logits, Pause pause) {
    const auto finish = [&](const std::vector<int>& rows) {
        find_logits(rows, logits);
        logits += rows.size() * shape_.vocab_size;
    };
    run(chunks, finish, pause);
}

void Model::score(const std::vector<Chunk>& chunks, const int32_t* targets, TokenScore* scores, Pause pause) {
    const auto finish = [&](const std::vector<int>& rows) {
        const int count = static_cast<int>(rows.size());
        for (int done = 0; done < count; done += kScoredRows) {
            const auto first = rows.begin() + done, last = rows.begin() + std::min(count, done + kScoredRows);
            score_rows({first, last}, targets, scores);
            targets += last - first, scores += last - first;
            pause();
        }
    };
    run(chunks, finish, pause);
}

void Model::score_rows(const std::vector<int>& rows, const int32_t* targets, TokenScore* scores) {
    const size_t width = shape_.vocab_size;
    logits_.resize(rows.size() * width);
    find_logits(rows, logits_.data());
    threads_.run(static_cast<int>(rows.size()), [&](int first, int last) {
        thread_local Vector masses;
        masses.resize(width);
        for (int row = first; row < last; ++row) {
            scores[row] =
                score_token(kernels_, logits_.data() + row * width, shape_.vocab_size, targets[row], masses.data());
        }
    });
}

template <class Finish>
void Model::run(const std::vector<Chunk>& chunks, const Finish& finish, const Pause& pause) {
    require_weights();
    check(chunks);
    std::vector<int> lengths;
    for (const Chunk& chunk : chunks) lengths.push_back(cache_.length(chunk.cache_id));
    try {
        for (const Chunk& chunk : chunks) cache_.grow(chunk.cache_id, chunk.token_ids);
        run_blocks(chunks, finish, pause);
    } catch (...) {
        for (size_t i = 0; i < chunks.size(); ++i) cache_.shrink(chunks[i].cache_id, lengths[i]);
        throw;
    }
    for (const Chunk& chunk : chunks) cache_.settle(chunk.cache_id);
}

template <class Finish>
void Model::run_blocks(const std::vector<Chunk>& chunks, const Finish& finish, const Pause& pause) {
    std::vector<Piece> pieces;
    std::vector<int32_t> token_ids;
    std::vector<int> wanted;
    const auto run_tokens = [&] {
        run_block(pieces, token_ids.data(), static_cast<int>(token_ids.size()), pause);
        finish(wanted);
        pieces.clear(), token_ids.clear(), wanted.clear();
    };
    for (const Chunk& chunk : chunks) {
        const int count = static_cast<int>(chunk.token_ids.size());
        int position = cache_.length(chunk.cache_id) - count;
        for (int done = 0; done < count;) {
            const int row = static_cast<int>(token_ids.size());
            const int taken = std::min(count - done, kBlockTokens - row);
            pieces.push_back({chunk.cache_id, position, row, taken});
            for (int i = 0; i < taken; ++i, ++done, ++position) {
                token_ids.push_back(chunk.token_ids[done]);
                if (done >= count - chunk.num_logits) wanted.push_back(row + i);
            }
            if (row + taken == kBlockTokens) run_tokens();
        }
    }
    if (!token_ids.empty()) run_tokens();
}

void Model::run_block(const std::vector<Piece>& pieces, const int32_t* token_ids, int num_tokens, const Pause& pause) {
    hidden_.resize(static_cast<size_t>(num_tokens) * shape_.hidden_size);
    piece_of_row_.resize(num_tokens);
    for (size_t piece = 0; piece < pieces.size(); ++piece) {
        std::fill_n(piece_of_row_.begin() + pieces[piece].row, pieces[piece].count, static_cast<int>(piece));
    }
    for (size_t rope = 0; rope < shape_.ropes.size(); ++rope) {
        cosines_[rope].resize(shape_.ropes[rope].frequencies.size() * num_tokens);
        sines_[rope].resize(cosines_[rope].size());
    }
    threads_.run(num_tokens, [&](int first, int last) {
        for (int row = first; row < last; ++row) {
            const Piece& piece = pieces[piece_of_row_[row]];
            const int position = piece.position + row - piece.row;
            embed(row, token_ids[row], position);
            const bool is_long = cache_.is_long(piece.cache_id);
            for (size_t rope = 0; rope < shape_.ropes.size(); ++rope) find_rotation(rope, row, position, is_long);
        }
    });
    for (int layer = 0; layer < shape_.num_layers; ++layer) {
        run_layer(layer, pieces, num_tokens);
        pause();
    }
}

void Model::embed(int row, int32_t token_id, int position) {
    const int size = shape_.hidden_size;
    float* hidden = hidden_.data() + static_cast<size_t>(row) * size;
    unpack_row(embedding_.matrix, token_id, hidden);
    for (int d = 0; d < size; ++d) hidden[d] *= shape_.embedding_scale;
    if (!shape_.has_position_embedding) return;
    Vector learned(size);
    unpack_row(position_embedding_.matrix, position, learned.data());
    for (int d = 0; d < size; ++d) hidden[d] += learned[d];
}

void Model::find_rotation(size_t index, int row, int position, bool is_long) {
    const Rope& rope = shape_.ropes[index];
    const Vector& frequencies = is_long && !rope.long_frequencies.empty() ? rope.long_frequencies : rope.frequencies;
    float* cosine = cosines_[index].data() + frequencies.size() * row;
    float* sine = sines_[index].data() + frequencies.size() * row;
    for (size_t pair = 0; pair < frequencies.size(); ++pair) {
        const double angle = static_cast<float>(position) * frequencies[pair];
        cosine[pair] = static_cast<float>(std::cos(angle)) * rope.factor;
        sine[pair] = static_cast<float>(std::sin(angle)) * rope.factor;
    }
}

void Model::run_layer(int index, const std::vector<Piece>& pieces, int num_tokens) {
    const Layer& layer = layers_[index];
    const int hidden = shape_.hidden_size, wide = shape_.intermediate_size;
    const auto from_hidden = [&](const Norm& norm) {
        return [&, this](int row, float* out) {
            const float* x = hidden_.data() + static_cast<size_t>(row) * hidden;
            if (shape_.has_pre_norm) {
                normalize(norm, x, hidden, out);
            } else {
                std::copy(x, x + hidden, out);
            }
        };
    };
    const bool attention_quants = is_quantized(layer.query.matrix.kind) || is_quantized(layer.key.matrix.kind) ||
                                  is_quantized(layer.value.matrix.kind);
    const bool mlp_quants = is_quantized(layer.up.matrix.kind);
    make_rows(normed_, num_tokens, hidden, attention_quants, from_hidden(layer.attention_norm));
    if (shape_.is_parallel) make_rows(mlp_normed_, num_tokens, hidden, mlp_quants, from_hidden(layer.mlp_norm));

    threads_.expect({layer.out.memory()});
    attend(index, pieces, num_tokens);
    threads_.expect({layer.up.memory()});
    project_into_hidden(layer.out, mixed_, layer.post_attention_norm, num_tokens);

    if (!shape_.is_parallel) make_rows(mlp_normed_, num_tokens, hidden, mlp_quants, from_hidden(layer.mlp_norm));
    widened_.values.resize(static_cast<size_t>(num_tokens) * wide);
    threads_.expect({layer.down.memory()});
    const Epilogue epilogue = shape_.is_gated ? Epilogue::Gate : Epilogue::Store;
    multiply({{&layer.up, {widened_.values.data(), wide, wide, nullptr, epilogue, shape_.activation}}},
             view(mlp_normed_, num_tokens, hidden));
    if (index + 1 < shape_.num_layers) {
        const Layer& next = layers_[index + 1];
        threads_.expect({next.query.memory(), next.key.memory(), next.value.memory()});
    } else {
        threads_.expect({(shape_.is_tied ? embedding_ : output_head_).memory()});
    }
    make_rows(widened_, num_tokens, wide, is_quantized(layer.down.matrix.kind), kept);
    project_into_hidden(layer.down, widened_, layer.post_mlp_norm, num_tokens);
}

// hidden += post_norm(linear(input)), without the norm where the model has none.
void Model::project_into_hidden(const Linear& linear, const Rows& input, const Norm& post_norm, int num_tokens) {
    const int hidden = shape_.hidden_size;
    const Activations x = view(input, num_tokens, linear.matrix.columns);
    if (!shape_.has_post_norm) {
        return multiply({{&linear, {hidden_.data(), hidden, hidden, nullptr, Epilogue::Add, Activation::None}}}, x);
    }
    projected_.resize(static_cast<size_t>(num_tokens) * hidden);
    multiply({{&linear, {projected_.data(), hidden, hidden, nullptr, Epilogue::Store, Activation::None}}}, x);
    threads_.run(num_tokens, [&](int first, int last) {
        Vector normed(hidden);
        for (int row = first; row < last; ++row) {
            float* to = hidden_.data() + static_cast<size_t>(row) * hidden;
            normalize(post_norm, projected_.data() + static_cast<size_t>(row) * hidden, hidden, normed.data());
            for (int d = 0; d < hidden; ++d) to[d] += normed[d];
        }
    });
}

void Model::find_logits(const std::vector<int>& rows, float* logits) {
    const int count = static_cast<int>(rows.size()), hidden = shape_.hidden_size, vocab_size = shape_.vocab_size;
    if (count == 0) return;
    const Linear& head = shape_.is_tied ? embedding_ : output_head_;
    make_rows(normed_, count, hidden, is_quantized(head.matrix.kind), [&](int row, float* out) {
        normalize(final_norm_, hidden_.data() + static_cast<size_t>(rows[row]) * hidden, hidden, out);
    });
    multiply({{&head, {logits, vocab_size, vocab_size, nullptr, Epilogue::Store, Activation::None}}},
             view(normed_, count, hidden));
    if (shape_.logit_soft_cap > 0.0f) {
        threads_.run(
            count,
            [&](int first, int last) {
                for (int row = first; row < last; ++row) {
                    kernels_.soft_cap(logits + static_cast<size_t>(row) * vocab_size, vocab_size,
                                      shape_.logit_soft_cap);
                }
            },
            0);
    }
}

// ---- attention ----

void Model::attend(int index, const std::vector<Piece>& pieces, int num_tokens) {
    const Layer& layer = layers_[index];
    const int queries = shape_.num_heads * shape_.head_dim, keys = shape_.num_kv_heads * shape_.head_dim;
    queries_.resize(static_cast<size_t>(num_tokens) * queries);
    keys_.resize(static_cast<size_t>(num_tokens) * keys);
    values_.resize(static_cast<size_t>(num_tokens) * keys);
    multiply({{&layer.query, {queries_.data(), queries, queries, nullptr, Epilogue::Store, Activation::None}},
              {&layer.key, {keys_.data(), keys, keys, nullptr, Epilogue::Store, Activation::None}},
              {&layer.value, {values_.data(), keys, keys, nullptr, Epilogue::Store, Activation::None}}},
             view(normed_, num_tokens, shape_.hidden_size));
    store_keys_and_values(index, pieces, num_tokens);

    mixed_.values.resize(static_cast<size_t>(num_tokens) * queries);
    size_t num_floats = 0;
    const std::vector<AttentionUnit> units = attention_units(index, pieces, num_floats);
    parts_.resize(num_floats);
    std::vector<size_t> first_parts;
    for (size_t unit = 0; unit < units.size(); ++unit) {
        if (units[unit].split == static_cast<int>(first_parts.size())) first_parts.push_back(unit);
    }
    const int num_splits = static_cast<int>(first_parts.size());
    if (split_queries_.size() < first_parts.size()) split_queries_.resize(first_parts.size());
    threads_.run(
        num_splits,
        [&](int first, int last) {
            for (int split = first; split < last; ++split)
                gather_queries(pieces, units[first_parts[split]], split_queries_[split]);
        },
        8);
    threads_.run(static_cast<int>(units.size()), [&](int first, int last) {
        for (int unit = first; unit < last; ++unit) {
            const bool is_last = unit + 1 == static_cast<int>(units.size());
            attend_unit(index, pieces, units[unit], is_last ? nullptr : &units[unit + 1]);
        }
    });
    threads_.run(
        num_splits,
        [&](int first, int last) {
            for (int split = first; split < last; ++split) merge_parts(pieces, units, first_parts[split]);
        },
        8);
    make_rows(mixed_, num_tokens, queries, is_quantized(layer.out.matrix.kind), kept);
}

void Model::store_keys_and_values(int index, const std::vector<Piece>& pieces, int num_tokens) {
    const Layer& layer = layers_[index];
    const int head_dim = shape_.head_dim, num_kv_heads = shape_.num_kv_heads;
    const int queries = shape_.num_heads * head_dim, keys = num_kv_heads * head_dim;
    const auto normalize_heads = [&](const Norm& norm, float* heads, int size) {
        const int width = shape_.qk_norm == QKNorm::PerHead ? head_dim : size;
        for (int at = 0; at < size; at += width)
            kernels_.rms_norm(heads + at, norm.weight.data(), shape_.norm_eps, width, heads + at);
    };
    threads_.run(
        num_tokens,
        [&](int first, int last) {
            for (int row = first; row < last; ++row) {
                float* query = queries_.data() + static_cast<size_t>(row) * queries;
                float* key = keys_.data() + static_cast<size_t>(row) * keys;
                const float* value = values_.data() + static_cast<size_t>(row) * keys;
                if (shape_.qk_norm != QKNorm::None) {
                    normalize_heads(layer.query_norm, query, queries);
                    normalize_heads(layer.key_norm, key, keys);
                }
                rotate(query, shape_.num_heads, shape_.layer_ropes[index], row);
                rotate(key, num_kv_heads, shape_.layer_ropes[index], row);
                for (int i = 0; i < queries; ++i) query[i] *= shape_.attention_scale;
                const Piece& piece = pieces[piece_of_row_[row]];
                const int position = piece.position + row - piece.row;
                const KVCache::LayerPages pages = cache_.layer(piece.cache_id, index);
                for (int head = 0; head < num_kv_heads; ++head) {
                    kernels_.store_position(cache_.page(), position % kPagePositions, key + head * head_dim,
                                            value + head * head_dim, pages.keys(head, position),
                                            pages.values(head, position));
                }
            }
        },
        4);
}

// Pairs (i, i + half of the rotated part) of each head, turned by the angle of the row's position.
void Model::rotate(float* heads, int num_heads, int rope, int row) const {
    if (rope < 0) return;
    const int half = static_cast<int>(shape_.ropes[rope].frequencies.size());
    const float* cosine = cosines_[rope].data() + static_cast<size_t>(row) * half;
    const float* sine = sines_[rope].data() + static_cast<size_t>(row) * half;
    for (int head = 0; head < num_heads; ++head) {
        float* first = heads + head * shape_.head_dim;
        float* second = first + half;
        for (int i = 0; i < half; ++i) {
            const float a = first[i], b = second[i];
            first[i] = a * cosine[i] - b * sine[i];
            second[i] = b * cosine[i] + a * sine[i];
        }
    }
}

// A unit is some queries of one key-value head with all their segments; one token's many segments are shared out.
std::vector<Model::AttentionUnit> Model::attention_units(int layer, const std::vector<Piece>& pieces,
                                                         size_t& num_floats) const {
    const int group = shape_.num_heads / shape_.num_kv_heads;
    const int tokens_at_once = std::max(1, kMaxQueryRows / group);
    const size_t part_floats = static_cast<size_t>(group) * (2 + cache_.page().value_stride());
    std::vector<AttentionUnit> units;
    num_floats = 0;
    int num_splits = 0;
    for (size_t index = 0; index < pieces.size(); ++index) {
        const Piece& piece = pieces[index];
        for (int head = 0; head < shape_.num_kv_heads; ++head) {
            for (int token = 0; token < piece.count; token += tokens_at_once) {
                const int num_tokens = std::min(tokens_at_once, piece.count - token);
                const int begin = piece.position + token, end = begin + num_tokens, window = cache_.window(layer);
                const int first = window == 0 ? 0 : std::max(0, begin - window + 1) / kSegmentPositions;
                const int last = ceil_div(end, kSegmentPositions);
                AttentionUnit unit{static_cast<int>(index), head, token, num_tokens, first, last, -1, 0};
                if (piece.count > 1 || last - first == 1) {
                    units.push_back(unit);
                    continue;
                }
                for (int segment = first; segment < last; ++segment) {
                    units.push_back({unit.piece, head, token, 1, segment, segment + 1, num_splits, num_floats});
                    num_floats += part_floats;
                }
                ++num_splits;
            }
        }
    }
    return units;
}

void Model::attend_unit(int layer, const std::vector<Piece>& pieces, const AttentionUnit& unit,
                        const AttentionUnit* next) {
    const Piece& piece = pieces[unit.piece];
    const int group = shape_.num_heads / shape_.num_kv_heads, stride = cache_.page().value_stride();
    const int num_rows = unit.num_tokens * group, window = cache_.window(layer);
    const int begin = piece.position + unit.token, end = begin + unit.num_tokens;
    thread_local Queries own_queries;
    thread_local Vector scratch;
    thread_local std::vector<int32_t> bounds;
    const size_t mixture_size = static_cast<size_t>(num_rows) * (2 + stride);
    scratch.resize(static_cast<size_t>(num_rows) * kSegmentPositions + 2 * mixture_size);
    bounds.resize(2 * num_rows);
    const auto mixture_at = [&](float* at) { return Mixture{at, at + num_rows, at + 2 * num_rows}; };
    const Mixture own = mixture_at(scratch.data() + static_cast<size_t>(num_rows) * kSegmentPositions);
    const bool is_part = unit.split >= 0;
    const Mixture total = is_part ? mixture_at(parts_.data() + unit.place) : mixture_at(own.max + mixture_size);

    AttentionSegment segment;
    segment.page = cache_.page();
    if (!is_part) gather_queries(pieces, unit, own_queries);
    const Queries& queries = is_part ? split_queries_[unit.split] : own_queries;
    segment.queries = view(queries.rows, num_rows, shape_.head_dim);
    segment.residual = view(queries.residual, num_rows, shape_.head_dim);
    segment.first = bounds.data();
    segment.last = bounds.data() + num_rows;
    segment.soft_cap = shape_.attention_soft_cap;
    segment.scores = scratch.data();
    if (!is_part) {
        std::fill_n(total.max, num_rows, -std::numeric_limits<float>::infinity());
        std::fill_n(total.sum, num_rows, 0.0f);
        std::fill_n(total.mixed, static_cast<size_t>(num_rows) * stride, 0.0f);
    }
    for (int index = unit.first_segment; index < unit.last_segment; ++index) {
        const int start = index * kSegmentPositions;
        segment.num_positions = std::min(end - start, kSegmentPositions);
        for (int row = 0; row < num_rows; ++row) {
            const int position = begin + row / group;
            bounds[num_rows + row] = std::clamp(position + 1 - start, 0, segment.num_positions);
            const int first = window == 0 ? 0 : position - window + 1 - start;
            bounds[row] = std::clamp(first, 0, bounds[num_rows + row]);
        }
        find_pages(layer, piece, unit, index, segment.keys);
        for (int page = 0; page < ceil_div(segment.num_positions, kPagePositions); ++page) {
            segment.values[page] = segment.keys[page] + segment.page.keys_bytes();
        }
        if (index + 1 < unit.last_segment) {
            find_pages(layer, piece, unit, index + 1, segment.next_pages);
        } else if (next != nullptr) {
            find_pages(layer, pieces[next->piece], *next, next->first_segment, segment.next_pages);
        } else {
            std::fill_n(segment.next_pages, kSegmentPages, nullptr);
        }
        kernels_.attend(segment, is_part ? total : own);
        if (!is_part) kernels_.merge(total, own, num_rows, stride);
    }
    if (!is_part) write_mixture(total, piece, unit);
}

// The pages of a segment that a unit meets, nullptr beyond its last position. Pages that the window has left are gone;
// another stands in for them, with weights of zero.
void Model::find_pages(int layer, const Piece& piece, const AttentionUnit& unit, int segment,
                       const uint8_t* (&found)[kSegmentPages]) const {
    const KVCache::LayerPages pages = cache_.layer(piece.cache_id, layer);
    const int begin = piece.position + unit.token, window = cache_.window(layer);
    const int first = window == 0 ? 0 : std::max(0, begin - window + 1);
    for (int page = 0; page < kSegmentPages; ++page) {
        const int position = segment * kSegmentPositions + page * kPagePositions;
        found[page] =
            position < begin + unit.num_tokens ? pages.keys(unit.kv_head, std::max(position, first)) : nullptr;
    }
}

// The queries of a unit, token by token. If the keys have 8 bits, they get 16, in two halves.
void Model::gather_queries(const std::vector<Piece>& pieces, const AttentionUnit& unit, Queries& queries) const {
    const int group = shape_.num_heads / shape_.num_kv_heads, head_dim = shape_.head_dim;
    const int num_rows = unit.num_tokens * group, num_tiles = ceil_div(num_rows, kernels_.tile_tokens);
    const bool is_quantized = cache_.page().kind == CacheKind::Q8;
    queries.rows.resize(num_rows, head_dim, is_quantized);
    for (int token = 0; token < unit.num_tokens; ++token) {
        const size_t row = pieces[unit.piece].row + unit.token + token;
        const float* from = queries_.data() + (row * shape_.num_heads + unit.kv_head * group) * head_dim;
        std::copy(from, from + group * head_dim,
                  queries.rows.values.data() + static_cast<size_t>(token) * group * head_dim);
    }
    if (!is_quantized) return;
    queries.residual.resize(num_rows, head_dim, true);
    const Activations x = view(queries.rows, num_rows, head_dim);
    for (int tile = 0; tile < num_tiles; ++tile)
        kernels_.quantize_halves(x, tile, queries.rows.quantized(), queries.residual.quantized());
}

// Merge the parts of one token and head, which follow one another from `first` on, in the order of their segments.
void Model::merge_parts(const std::vector<Piece>& pieces, const std::vector<AttentionUnit>& units, size_t first) {
    const int group = shape_.num_heads / shape_.num_kv_heads, stride = cache_.page().value_stride();
    const AttentionUnit& unit = units[first];
    Vector sums(static_cast<size_t>(group) * (2 + stride));
    const auto mixture_at = [&](float* at) { return Mixture{at, at + group, at + 2 * group}; };
    const Mixture total = mixture_at(sums.data());
    std::fill_n(total.max, group, -std::numeric_limits<float>::infinity());
    for (size_t next = first; next < units.size(); ++next) {
        if (units[next].split != unit.split) break;
        kernels_.merge(total, mixture_at(parts_.data() + units[next].place), group, stride);
    }
    write_mixture(total, pieces[unit.piece], unit);
}

void Model::write_mixture(const Mixture& mixture, const Piece& piece, const AttentionUnit& unit) {
    const int group = shape_.num_heads / shape_.num_kv_heads, head_dim = shape_.head_dim,
              stride = cache_.page().value_stride();
    for (int row = 0; row < unit.num_tokens * group; ++row) {
        const size_t token = piece.row + unit.token + row / group;
        float* out = mixed_.values.data() + (token * shape_.num_heads + unit.kv_head * group + row % group) * head_dim;
        const float* mixed = mixture.mixed + static_cast<size_t>(row) * stride;
        for (int d = 0; d < head_dim; ++d) out[d] = mixed[d] / mixture.sum[row];
    }
}

// ---- rows and products ----

void Model::normalize(const Norm& norm, const float* x, int size, float* out) const {
    if (shape_.is_layer_norm) {
        kernels_.layer_norm(x, norm.weight.data(), norm.bias.data(), shape_.norm_eps, size, out);
    } else {
        kernels_.rms_norm(x, norm.weight.data(), shape_.norm_eps, size, out);
    }
}

void Model::Rows::resize(int num_tokens, int columns, bool is_quantized) {
    const size_t num_groups = static_cast<size_t>(ceil_div(columns, kGroup)) * num_tokens;
    values.resize(static_cast<size_t>(num_tokens) * columns);
    if (!is_quantized) return;
    quants.resize(num_groups * kGroup);
    scales.resize(num_groups);
    sums.resize(num_groups);
    totals.resize(num_groups);
}

template <class Write>
void Model::make_rows(Rows& rows, int num_tokens, int columns, bool is_quantized, const Write& write) {
    rows.resize(num_tokens, columns, is_quantized);
    const Activations x = view(rows, num_tokens, columns);
    const int tile_tokens = kernels_.tile_tokens;
    threads_.run(ceil_div(num_tokens, tile_tokens), [&](int first, int last) {
        for (int tile = first; tile < last; ++tile) {
            for (int row = tile * tile_tokens; row < std::min(num_tokens, (tile + 1) * tile_tokens); ++row) {
                write(row, rows.values.data() + static_cast<size_t>(row) * columns);
            }
            if (is_quantized) kernels_.quantize(x, tile, rows.quantized());
        }
    });
}

Activations Model::view(const Rows& rows, int num_tokens, int columns) const {
    return {num_tokens,         columns,          rows.values.data(), columns, rows.quants.data(),
            rows.scales.data(), rows.sums.data(), rows.totals.data()};
}

void Model::multiply(const std::vector<Product>& products, const Activations& x) {
    int num_panels = 0;
    for (const Product& product : products) num_panels += product.linear->matrix.num_panels();
    threads_.run(num_panels, [&](int first, int last) {
        int begin = 0;
        for (const Product& product : products) {
            const Matrix& matrix = product.linear->matrix;
            const int from = std::max(first - begin, 0), to = std::min(last - begin, matrix.num_panels());
            Output out = product.out;
            out.bias = product.linear->bias.empty() ? nullptr : product.linear->bias.data();
            if (from < to) kernels_.multiply(matrix, from, to, x, out);
            begin += matrix.num_panels();
        }
    });
}

}  // namespace nextword
