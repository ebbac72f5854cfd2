#include "attention.h"

#include <algorithm>
#include <limits>

#include "half.h"

namespace nextword {

namespace {

// Up to this many units, waking a thread takes longer than the work.
constexpr int kFewTokens = 4, kFewSplits = 8;  // splits of one token

// The first position that a query at `position` attends to.
int first_attended(int position, int window) { return window == 0 ? 0 : std::max(0, position - window + 1); }

void clear(const SoftmaxState& state, int num_rows, int stride) {
    std::fill_n(state.max, num_rows, -std::numeric_limits<float>::infinity());
    std::fill_n(state.sum, num_rows, 0.0f);
    std::fill_n(state.values, static_cast<size_t>(num_rows) * stride, 0.0f);
}

}  // namespace

Attention::Attention(const Shape& shape, const Kernels& kernels, KVCache& cache, ThreadPool& threads,
                     const Adapters& adapters)
    : shape_(shape), kernels_(kernels), cache_(cache), threads_(threads), adapters_(adapters), rotations_(shape) {}

void Attention::find_rotation(const Block& block, int row) {
    rotations_.fill(block.first_row + row, block.position_of(row), cache_.kind(block.piece_of(row).cache_id).is_long);
}

void Attention::attend(int layer, const Layer& weights, const Block& block, const Rows& normed, Rows& attended) {
    const int num_tokens = block.num_tokens(), size = shape_.query_size();
    project(weights, normed, block);
    store_keys_and_values(layer, weights, block);

    attended.resize(num_tokens, size, false);
    attended_ = &attended;
    plan_units(layer, block);
    const int num_units = static_cast<int>(units_.size()), num_splits = static_cast<int>(first_of_split_.size());
    const auto gather = [&](int first, int last) {
        for (int i = first; i < last; ++i) gather_queries(block, units_[first_of_split_[i]], split_queries_[i]);
    };
    const auto attend_units = [&](int first, int last) {
        for (int i = first; i < last; ++i) {
            attend_unit(layer, block, units_[i], i + 1 == num_units ? nullptr : &units_[i + 1]);
        }
    };
    const auto merge = [&](int first, int last) {
        for (int i = first; i < last; ++i) merge_split(block, first_of_split_[i]);
    };
    const int few_splits = std::max(1, kFewSplits * static_cast<int>(block.pieces.size()) / num_tokens);
    threads_.run(num_splits, gather, few_splits);
    threads_.run(num_units, attend_units);
    threads_.run(num_splits, merge, few_splits);
    if (is_quantized(weights.out.matrix.kind)) quantize_rows(kernels_, threads_, attended, num_tokens, size);
}

// ---- queries, keys and values ----

void Attention::project(const Layer& weights, const Rows& normed, const Block& block) {
    const int num_tokens = block.num_tokens();
    const int queries = shape_.query_size(), keys = shape_.key_size();
    queries_.resize(static_cast<size_t>(num_tokens) * queries);
    keys_.resize(static_cast<size_t>(num_tokens) * keys);
    values_.resize(static_cast<size_t>(num_tokens) * keys);
    const auto into = [](Vector& rows, int width) {
        return Output{rows.data(), width, width, nullptr, Epilogue::Store, Activation::None};
    };
    multiply(kernels_, threads_,
             {{&weights.query, into(queries_, queries)},
              {&weights.key, into(keys_, keys)},
              {&weights.value, into(values_, keys)}},
             normed.view(num_tokens, shape_.hidden_size));
    const float* x = normed.values.data();
    adapters_.apply(weights.query, block.adapter_of_row, x, queries_.data(), queries);
    adapters_.apply(weights.key, block.adapter_of_row, x, keys_.data(), keys);
    adapters_.apply(weights.value, block.adapter_of_row, x, values_.data(), keys);
}

namespace {

// If some number of a position is infinite or NaN, its key becomes NaN, and what attends to it with it; its value
// becomes 0, which weights of 0 keep from all that comes before.
void mark_broken(float* key, float* value, int head_dim) {
    if (are_finite(key, head_dim) && are_finite(value, head_dim)) return;
    std::fill_n(key, head_dim, std::numeric_limits<float>::quiet_NaN());
    std::fill_n(value, head_dim, 0.0f);
}

}  // namespace

void Attention::store_keys_and_values(int layer, const Layer& weights, const Block& block) {
    const int head_dim = shape_.head_dim;
    const auto store = [&](int first, int last) {
        for (int row = first; row < last; ++row) {
            float* key = keys_.data() + static_cast<size_t>(row) * shape_.key_size();
            float* value = values_.data() + static_cast<size_t>(row) * shape_.key_size();
            float* query = queries_.data() + static_cast<size_t>(row) * shape_.query_size();
            clip(query, shape_.query_size()), clip(key, shape_.key_size()), clip(value, shape_.key_size());
            prepare_heads(layer, weights, block.first_row + row, query, key);
            const int position = block.position_of(row);
            const KVCache::LayerPages pages = cache_.layer(block.piece_of(row).cache_id, layer);
            for (int head = 0; head < shape_.num_kv_heads; ++head) {
                mark_broken(key + head * head_dim, value + head * head_dim, head_dim);
                kernels_.store_position(cache_.page(), position % kPagePositions, key + head * head_dim,
                                        value + head * head_dim, pages.keys(head, position),
                                        pages.values(head, position));
            }
        }
    };
    threads_.run(block.num_tokens(), store, kFewTokens);
}

void Attention::clip(float* heads, int size) const {
    const float most = shape_.qkv_clip;
    if (most <= 0.0f) return;
    for (int i = 0; i < size; ++i) heads[i] = std::min(std::max(heads[i], -most), most);
}

// Normalise, rotate and scale a token's query heads and key heads.
void Attention::prepare_heads(int layer, const Layer& weights, int row, float* query, float* key) const {
    if (shape_.qk_norm != QKNorm::None) {
        normalize_heads(weights.query_norm, query, shape_.query_size());
        normalize_heads(weights.key_norm, key, shape_.key_size());
    }
    rotations_.rotate(query, shape_.num_heads, shape_.layer_ropes[layer], row);
    rotations_.rotate(key, shape_.num_kv_heads, shape_.layer_ropes[layer], row);
    for (int i = 0; i < shape_.query_size(); ++i) query[i] *= shape_.attention_scale;
}

void Attention::normalize_heads(const Norm& norm, float* heads, int size) const {
    const int width = shape_.qk_norm == QKNorm::PerHead ? shape_.head_dim : size;
    for (int at = 0; at < size; at += width) {
        kernels_.rms_norm(heads + at, norm.weight.data(), shape_.norm_eps, width, heads + at);
    }
}

// ---- units ----

void Attention::plan_units(int layer, const Block& block) {
    const int tokens_at_once = std::max(1, kernels_.max_query_rows / shape_.group_size());
    units_.clear();
    first_of_split_.clear();
    for (size_t index = 0; index < block.pieces.size(); ++index) {
        const Piece& piece = block.pieces[index];
        for (int head = 0; head < shape_.num_kv_heads; ++head) {
            for (int token = 0; token < piece.count; token += tokens_at_once) {
                const int num_tokens = std::min(tokens_at_once, piece.count - token);
                plan_unit(layer, piece, {static_cast<int>(index), head, token, num_tokens, 0, 0, -1, 0});
            }
        }
    }
    if (split_queries_.size() < first_of_split_.size()) split_queries_.resize(first_of_split_.size());
    size_t num_floats = 0;
    for (Unit& unit : units_) {
        if (!unit.is_split()) continue;
        unit.first_float = num_floats;
        num_floats += state_size(unit.num_tokens * shape_.group_size());
    }
    states_.resize(num_floats);
}

// Add the unit with its segments, or a unit for each of them where a piece is one unit with several.
void Attention::plan_unit(int layer, const Piece& piece, Unit unit) {
    const int begin = piece.position + unit.token, end = begin + unit.num_tokens;
    unit.first_segment = first_attended(begin, cache_.window(layer)) / kSegmentPositions;
    unit.last_segment = ceil_div(end, kSegmentPositions);
    if (unit.num_tokens < piece.count || unit.last_segment - unit.first_segment == 1) {
        units_.push_back(unit);
        return;
    }
    first_of_split_.push_back(units_.size());
    const int last = unit.last_segment;
    unit.split = static_cast<int>(first_of_split_.size()) - 1;
    for (; unit.first_segment < last; ++unit.first_segment) {
        unit.last_segment = unit.first_segment + 1;
        units_.push_back(unit);
    }
}

// The queries of a unit, token by token. If the keys have 8 bits, they get 16, in two parts.
void Attention::gather_queries(const Block& block, const Unit& unit, Queries& queries) const {
    const int group = shape_.group_size(), head_dim = shape_.head_dim, num_rows = unit.num_tokens * group;
    const bool is_quantized = cache_.page().kind == CacheKind::Q8;
    queries.rows.resize(num_rows, head_dim, is_quantized);
    for (int token = 0; token < unit.num_tokens; ++token) {
        const size_t row = block.pieces[unit.piece].row + unit.token + token;
        const float* from = queries_.data() + (row * shape_.num_heads + unit.kv_head * group) * head_dim;
        std::copy(from, from + group * head_dim,
                  queries.rows.values.data() + static_cast<size_t>(token) * group * head_dim);
    }
    if (!is_quantized) return;
    queries.second_quants.resize(queries.rows.quants.size());
    const Activations x = queries.rows.view(num_rows, head_dim);
    for (int tile = 0; tile < ceil_div(num_rows, kernels_.tile_query_rows); ++tile) {
        kernels_.quantize_words(x, tile, queries.rows.quantized(), queries.second_quants.data());
    }
}

void Attention::attend_unit(int layer, const Block& block, const Unit& unit, const Unit* next) {
    thread_local Scratch scratch;
    const int num_rows = unit.num_tokens * shape_.group_size(), stride = cache_.page().value_stride();
    if (!unit.is_split()) gather_queries(block, unit, scratch.queries);
    const Queries& queries = unit.is_split() ? split_queries_[unit.split] : scratch.queries;
    AttentionSegment segment = begin_segments(unit, queries, scratch);
    const auto set = [&](int index) {
        set_segment(layer, block, unit, index, segment, scratch.bounds.data());
        set_next_pages(layer, block, unit, next, index, segment);
    };
    if (unit.is_split()) {
        set(unit.first_segment);
        kernels_.attend(segment, state_at(states_.data() + unit.first_float, num_rows));
        return;
    }
    const SoftmaxState own = state_at(scratch.states.data(), num_rows);
    const SoftmaxState total = state_at(scratch.states.data() + state_size(num_rows), num_rows);
    clear(total, num_rows, stride);
    for (int index = unit.first_segment; index < unit.last_segment; ++index) {
        set(index);
        kernels_.attend(segment, own);
        kernels_.merge(total, own, num_rows, stride);
    }
    write_attended(total, block.pieces[unit.piece], unit);
}

// The fields that all segments of a unit have in common.
AttentionSegment Attention::begin_segments(const Unit& unit, const Queries& queries, Scratch& scratch) const {
    const int num_rows = unit.num_tokens * shape_.group_size();
    const int tiled_rows = ceil_div(num_rows, kernels_.tile_query_rows) * kernels_.tile_query_rows;
    scratch.scores.resize(static_cast<size_t>(tiled_rows) * kSegmentPositions);
    scratch.states.resize(2 * state_size(num_rows));
    scratch.bounds.resize(2 * num_rows);
    AttentionSegment segment;
    segment.page = cache_.page();
    segment.queries = queries.rows.view(num_rows, shape_.head_dim);
    segment.second_quants = queries.second_quants.data();
    segment.first = scratch.bounds.data();
    segment.last = scratch.bounds.data() + num_rows;
    segment.soft_cap = shape_.attention_soft_cap;
    segment.scores = scratch.scores.data();
    return segment;
}

// The positions and pages of segment number `index`, and for each row the positions that it attends to.
void Attention::set_segment(int layer, const Block& block, const Unit& unit, int index, AttentionSegment& segment,
                            int32_t* bounds) const {
    const Piece& piece = block.pieces[unit.piece];
    const int group = shape_.group_size(), num_rows = unit.num_tokens * group, window = cache_.window(layer);
    const int begin = piece.position + unit.token, end = begin + unit.num_tokens, start = index * kSegmentPositions;
    segment.num_positions = std::min(end - start, kSegmentPositions);
    for (int row = 0; row < num_rows; ++row) {
        const int position = begin + row / group, last = std::clamp(position + 1 - start, 0, segment.num_positions);
        bounds[num_rows + row] = last;
        bounds[row] = std::clamp(first_attended(position, window) - start, 0, last);
    }
    find_pages(layer, piece, unit, index, segment.keys);
    for (int page = 0; page < ceil_div(segment.num_positions, kPagePositions); ++page) {
        segment.values[page] = segment.keys[page] + segment.page.keys_bytes();
    }
}

// The pages that the thread reads after segment number `index`.
void Attention::set_next_pages(int layer, const Block& block, const Unit& unit, const Unit* next, int index,
                               AttentionSegment& segment) const {
    if (index + 1 < unit.last_segment) {
        find_pages(layer, block.pieces[unit.piece], unit, index + 1, segment.next_pages);
    } else if (next != nullptr) {
        find_pages(layer, block.pieces[next->piece], *next, next->first_segment, segment.next_pages);
    } else {
        std::fill_n(segment.next_pages, kSegmentPages, nullptr);
    }
}

// The pages of a segment that a unit attends to, null beyond its last position. Pages that the window has passed are
// freed; another page takes their place, with weights of zero.
void Attention::find_pages(int layer, const Piece& piece, const Unit& unit, int segment,
                           const uint8_t* (&found)[kSegmentPages]) const {
    const KVCache::LayerPages pages = cache_.layer(piece.cache_id, layer);
    const int begin = piece.position + unit.token, first = first_attended(begin, cache_.window(layer));
    for (int page = 0; page < kSegmentPages; ++page) {
        const int position = segment * kSegmentPositions + page * kPagePositions;
        const bool is_attended = position < begin + unit.num_tokens;
        found[page] = is_attended ? pages.keys(unit.kv_head, std::max(position, first)) : nullptr;
    }
}

// ---- states ----

SoftmaxState Attention::state_at(float* memory, int num_rows) const {
    return {memory, memory + num_rows, memory + 2 * num_rows};
}

// Merge the states of some tokens and a head, whose units follow one another, in the order of their segments.
void Attention::merge_split(const Block& block, size_t first_unit) {
    const Unit& unit = units_[first_unit];
    const int num_rows = unit.num_tokens * shape_.group_size(), stride = cache_.page().value_stride();
    Vector memory(state_size(num_rows));
    const SoftmaxState total = state_at(memory.data(), num_rows);
    clear(total, num_rows, stride);
    for (size_t next = first_unit; next < units_.size() && units_[next].split == unit.split; ++next) {
        kernels_.merge(total, state_at(states_.data() + units_[next].first_float, num_rows), num_rows, stride);
    }
    write_attended(total, block.pieces[unit.piece], unit);
}

void Attention::write_attended(const SoftmaxState& state, const Piece& piece, const Unit& unit) {
    const int group = shape_.group_size(), head_dim = shape_.head_dim, stride = cache_.page().value_stride();
    for (int row = 0; row < unit.num_tokens * group; ++row) {
        const size_t token = piece.row + unit.token + row / group;
        const size_t head = token * shape_.num_heads + unit.kv_head * group + row % group;
        float* out = attended_->values.data() + head * head_dim;
        const float* values = state.values + static_cast<size_t>(row) * stride;
        for (int d = 0; d < head_dim; ++d) out[d] = values[d] / state.sum[row];
    }
}

}  // namespace nextword
