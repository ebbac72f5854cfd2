#include "shape.h"

#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>

namespace nextword {

namespace {

bool is_rope(const Rope& rope, int head_dim) {
    const size_t num_pairs = rope.frequencies.size(), num_long = rope.long_frequencies.size();
    return num_pairs <= static_cast<size_t>(head_dim) / 2 && (num_long == 0 || num_long == num_pairs);
}

void require(bool holds, const char* problem) {
    if (!holds) throw std::invalid_argument(std::string("not the shape of a model: ") + problem);
}

void check_experts(const Experts& experts, int num_layers) {
    for (const int layer : experts.layers) {
        require(layer >= 0 && layer < num_layers, "a layer with experts is not there");
        require(experts.count > 0 && experts.intermediate_size > 0, "a size of the experts is not above 0");
        require(experts.shared_size >= 0, "a size of the experts is below 0");
        require(experts.per_token > 0 && experts.per_token <= experts.count, "a token has more experts than there are");
    }
}

}  // namespace

Shape checked(Shape shape) {
    for (const int size : {shape.vocab_size, shape.hidden_size, shape.intermediate_size, shape.num_layers,
                           shape.num_heads, shape.num_kv_heads, shape.head_dim, shape.max_seq_len}) {
        require(size > 0, "a size is not above 0");
    }
    require(shape.position_offset >= 0, "position_offset is below 0");
    constexpr int64_t largest = std::numeric_limits<int>::max();
    require(int64_t{shape.max_seq_len} + shape.position_offset <= largest, "max_seq_len is too large");
    require(int64_t{shape.num_heads} * shape.head_dim <= largest, "heads have too many dimensions in all");
    require(shape.num_heads % shape.num_kv_heads == 0, "num_heads is no multiple of num_kv_heads");
    const size_t num_layers = static_cast<size_t>(shape.num_layers);
    require(shape.layer_ropes.size() == num_layers, "layer_ropes needs one entry for each layer");
    require(shape.layer_windows.size() == num_layers, "layer_windows needs one entry for each layer");
    for (const Rope& rope : shape.ropes) {
        require(is_rope(rope, shape.head_dim), "a rope rotates more dimensions than a head has");
    }
    for (const int rope : shape.layer_ropes) {
        require(rope >= -1 && rope < static_cast<int>(shape.ropes.size()), "a layer names a rope that is not there");
    }
    check_experts(shape.experts, shape.num_layers);
    for (const int window : shape.layer_windows) require(window >= 0, "a window is below 0");
    return shape;
}

}  // namespace nextword
