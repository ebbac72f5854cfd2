#include "experts.h"

#include <algorithm>
#include <cmath>

namespace nextword {

std::vector<std::pair<float, int>> top_values(const float* values, int size, int count) {
    using Entry = std::pair<float, int>;
    std::vector<Entry> entries(static_cast<size_t>(size));
    for (int i = 0; i < size; ++i) entries[i] = {values[i], i};
    const auto is_before = [](const Entry& a, const Entry& b) {
        return (std::isnan(a.first) && !std::isnan(b.first)) || a.first > b.first;
    };
    const auto begin = entries.begin(), end = entries.end();
    if (count * 64 <= size) {
        std::partial_sort(begin, begin + count, end, is_before);
    } else {
        std::nth_element(begin, begin + count - 1, end, is_before);
        std::sort(begin, begin + count - 1, is_before);
    }
    entries.resize(static_cast<size_t>(count));
    return entries;
}

namespace {

// True if one of the experts has weights that are multiplied by int8.
bool widens_int8(const Mixture& mixture) {
    return std::any_of(mixture.experts.begin(), mixture.experts.end(),
                       [](const Mlp& expert) { return expert.widens_int8(); });
}

bool narrows_int8(const Mixture& mixture) {
    return std::any_of(mixture.experts.begin(), mixture.experts.end(),
                       [](const Mlp& expert) { return is_quantized(expert.down.matrix.kind); });
}

}  // namespace

void ExpertMlp::run(const Mixture& mixture, Rows& x, int num_tokens, float* out) {
    choose(mixture, x, num_tokens);
    group(num_tokens);
    gather(x, widens_int8(mixture));
    widen(mixture);
    narrow(mixture);
    add_up(num_tokens, out);
    if (shape_.experts.shared_size == 0) return;
    run_shared(mixture, x, num_tokens);
    add_shared(mixture, x, num_tokens, out);
}

// ---- the router ----

void ExpertMlp::choose(const Mixture& mixture, const Rows& x, int num_tokens) {
    const int num_experts = shape_.experts.count, per_token = shape_.experts.per_token;
    logits_.resize(static_cast<size_t>(num_tokens) * num_experts);
    choices_.resize(static_cast<size_t>(num_tokens) * per_token);
    const Output logits{logits_.data(), num_experts, num_experts};
    multiply(kernels_, threads_, {{&mixture.router, logits}}, x.view(num_tokens, shape_.hidden_size));
    threads_.run(num_tokens, [&](int first, int last) {
        for (int token = first; token < last; ++token) {
            choose_for_token(logits_.data() + static_cast<size_t>(token) * num_experts,
                             choices_.data() + static_cast<size_t>(token) * per_token);
        }
    });
}

void ExpertMlp::choose_for_token(const float* logits, Choice* choices) const {
    const int num_experts = shape_.experts.count, per_token = shape_.experts.per_token;
    std::vector<float> probabilities(static_cast<size_t>(num_experts));
    kernels_.softmax(logits, num_experts, probabilities.data());
    const auto top = top_values(probabilities.data(), num_experts, per_token);
    for (int i = 0; i < per_token; ++i) choices[i] = {top[i].second, top[i].first, 0};
    std::sort(choices, choices + per_token, [](const Choice& a, const Choice& b) { return a.expert < b.expert; });
    if (!shape_.experts.is_normalized) return;
    float sum = 0.0f;
    for (int i = 0; i < per_token; ++i) sum += choices[i].weight;
    for (int i = 0; i < per_token; ++i) choices[i].weight /= sum;
}

// ---- tokens by expert ----

void ExpertMlp::group(int num_tokens) {
    std::vector<int> next_row(static_cast<size_t>(shape_.experts.count));
    for (const Choice& choice : choices_) ++next_row[choice.expert];
    groups_.clear();
    int row = 0;
    for (int expert = 0; expert < shape_.experts.count; ++expert) {
        const int count = next_row[expert];
        if (count > 0) groups_.push_back({expert, row, count});
        next_row[expert] = row;
        row += count;
    }
    token_of_row_.resize(choices_.size());
    for (int token = 0; token < num_tokens; ++token) {
        for (int i = 0; i < shape_.experts.per_token; ++i) {
            Choice& choice = choices_[static_cast<size_t>(token) * shape_.experts.per_token + i];
            choice.row = next_row[choice.expert]++;
            token_of_row_[choice.row] = token;
        }
    }
}

void ExpertMlp::gather(const Rows& x, bool is_quantized) {
    const size_t hidden = shape_.hidden_size;
    const int num_rows = static_cast<int>(token_of_row_.size());
    gathered_.resize(num_rows, shape_.hidden_size, is_quantized);
    threads_.run(num_rows, [&](int first, int last) {
        for (int row = first; row < last; ++row) {
            const float* from = x.values.data() + token_of_row_[row] * hidden;
            std::copy(from, from + hidden, gathered_.values.data() + row * hidden);
        }
    });
    if (is_quantized) quantize_groups(gathered_, shape_.hidden_size);
}

// The int8 form of rows, in tiles of one expert's tokens.
void ExpertMlp::quantize_groups(Rows& rows, int columns) {
    threads_.run(static_cast<int>(groups_.size()), [&](int first, int last) {
        for (int index = first; index < last; ++index) {
            const Group& group = groups_[index];
            const Activations x = rows.view_from(group.first_row, group.num_rows, columns);
            for (int tile = 0; tile < ceil_div(group.num_rows, kernels_.tile_tokens); ++tile) {
                kernels_.quantize(x, tile, rows.quantized_from(group.first_row, columns));
            }
        }
    });
}

// ---- the experts ----

void ExpertMlp::widen(const Mixture& mixture) {
    const int wide = shape_.experts.intermediate_size;
    const int num_rows = static_cast<int>(token_of_row_.size());
    const bool is_read_as_int8 = narrows_int8(mixture);
    widened_.resize(num_rows, wide, is_read_as_int8);
    for (const size_t step : {0, 1}) {
        std::vector<Product> products;
        for (const Group& group : groups_) {
            const std::vector<WideningStep> steps = widening_steps(mixture.experts[group.expert], shape_);
            if (step >= steps.size()) continue;
            const auto [linear, epilogue, activation] = steps[step];
            const Output out{widened_.values.data(), wide, wide, nullptr, epilogue, activation};
            products.push_back(product_of(group, *linear, gathered_, shape_.hidden_size, out));
        }
        multiply(kernels_, threads_, products);
    }
    if (is_read_as_int8) quantize_groups(widened_, wide);
}

void ExpertMlp::narrow(const Mixture& mixture) {
    const int hidden = shape_.hidden_size;
    narrowed_.resize(token_of_row_.size() * hidden);
    std::vector<Product> products;
    for (const Group& group : groups_) {
        products.push_back(product_of(group, mixture.experts[group.expert].down, widened_,
                                      shape_.experts.intermediate_size, {narrowed_.data(), hidden, hidden}));
    }
    multiply(kernels_, threads_, products);
}

// A matrix of a group's expert times the rows of its tokens, into the same rows of `out`.
Product ExpertMlp::product_of(const Group& group, const Linear& linear, const Rows& rows, int columns,
                              const Output& out) const {
    Output part = out;
    part.rows += static_cast<size_t>(group.first_row) * out.row_stride;
    return {&linear, part, rows.view_from(group.first_row, group.num_rows, columns)};
}

void ExpertMlp::add_up(int num_tokens, float* out) {
    const size_t hidden = shape_.hidden_size;
    const int per_token = shape_.experts.per_token;
    threads_.run(num_tokens, [&](int first, int last) {
        for (int token = first; token < last; ++token) {
            float* sum = out + token * hidden;
            std::fill(sum, sum + hidden, 0.0f);
            for (int i = 0; i < per_token; ++i) {
                const Choice& choice = choices_[static_cast<size_t>(token) * per_token + i];
                const float* narrowed = narrowed_.data() + choice.row * hidden;
                for (size_t d = 0; d < hidden; ++d) sum[d] += choice.weight * narrowed[d];
            }
        }
    });
}

// ---- the shared expert ----

void ExpertMlp::run_shared(const Mixture& mixture, Rows& x, int num_tokens) {
    const int hidden = shape_.hidden_size, wide = shape_.experts.shared_size;
    const Linear& down = mixture.shared.down;
    if (mixture.shared.widens_int8()) quantize_rows(kernels_, threads_, x, num_tokens, hidden);
    widened_.resize(num_tokens, wide, false);
    for (const auto& [linear, epilogue, activation] : widening_steps(mixture.shared, shape_)) {
        const Output out{widened_.values.data(), wide, wide, nullptr, epilogue, activation};
        multiply(kernels_, threads_, {{linear, out}}, x.view(num_tokens, hidden));
    }
    if (is_quantized(down.matrix.kind)) quantize_rows(kernels_, threads_, widened_, num_tokens, wide);
    narrowed_.resize(static_cast<size_t>(num_tokens) * hidden);
    multiply(kernels_, threads_, {{&down, {narrowed_.data(), hidden, hidden}}}, widened_.view(num_tokens, wide));
}

void ExpertMlp::add_shared(const Mixture& mixture, const Rows& x, int num_tokens, float* out) {
    const size_t hidden = shape_.hidden_size;
    const bool has_gate = shape_.experts.has_shared_gate;
    logits_.assign(static_cast<size_t>(num_tokens), 0.0f);
    if (has_gate) {
        multiply(kernels_, threads_, {{&mixture.shared_gate, {logits_.data(), 1, 1}}},
                 x.view(num_tokens, shape_.hidden_size));
    }
    threads_.run(num_tokens, [&](int first, int last) {
        for (int token = first; token < last; ++token) {
            const float pair[2] = {logits_[token], 0.0f};
            float gate[2] = {1.0f, 0.0f};
            if (has_gate) kernels_.softmax(pair, 2, gate);  // of a logit and 0: its sigmoid
            for (size_t d = 0; d < hidden; ++d) out[token * hidden + d] += gate[0] * narrowed_[token * hidden + d];
        }
    });
}

}  // namespace nextword
