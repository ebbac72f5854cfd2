// Each kernel of each instruction set: close to a plain loop in double, and bitwise what the portable one gives.

#include <algorithm>
#include <functional>

#include "all_kernels.h"
#include "check.h"
#include "half.h"
#include "random_blocks.h"
#include "read_page.h"
#include "kernels.h"
#include "pack.h"
// The functions of one number, which no table of kernels lists, from the portable vectors.
#include "simd_portable.h"
#include "math_impl.h"

using namespace nextword;

namespace {

// Kinds that are packed from numbers.
constexpr WeightKind kKinds[] = {WeightKind::F32, WeightKind::F16, WeightKind::BF16, WeightKind::Q8, WeightKind::Q4Min};
constexpr Activation kActivations[] = {Activation::None,     Activation::Silu, Activation::Gelu,
                                       Activation::GeluTanh, Activation::Relu, Activation::Relu2};

// ---- functions of one number ----

double worst_error(float from, float to, F (*ours)(F), double (*theirs)(double), bool is_relative) {
    double worst = 0;
    constexpr int steps = 200000;
    for (int i = 0; i < steps; i += kLanes) {
        float x[kLanes], y[kLanes];
        for (int lane = 0; lane < kLanes; ++lane) x[lane] = from + (to - from) * static_cast<float>(i + lane) / steps;
        Simd::store(y, ours(Simd::load(x)));
        for (int lane = 0; lane < kLanes; ++lane) {
            const double expected = theirs(x[lane]);
            worst = std::max(worst, std::fabs(y[lane] - expected) / (is_relative ? expected : 1.0));
        }
    }
    return worst;
}

float at_one(F (*function)(F), float x) {
    float lanes[kLanes];
    Simd::store(lanes, function(Simd::set(x)));
    return lanes[3];
}

void test_functions_are_as_accurate_as_they_say() {
    check(worst_error(-87.0f, 88.0f, nextword::exp, std::exp, true) < 2.5e-7, "exp to a bit or two");
    check(worst_error(-30.0f, 30.0f, nextword::tanh, std::tanh, false) < 2.5e-7, "tanh");
    check(worst_error(-6.0f, 6.0f, nextword::erf, std::erf, false) < 5e-7, "erf");
    check(at_one(nextword::exp, 0.0f) == 1.0f, "exp(0) is 1");
    check(at_one(nextword::exp, -87.5f) == 0.0f && at_one(nextword::exp, -HUGE_VALF) == 0.0f,
          "exp of very little is 0");
    check(std::isfinite(at_one(nextword::exp, 1e30f)), "exp of very much stays finite");
    check(at_one(nextword::tanh, 1e30f) == 1.0f && at_one(nextword::tanh, -1e30f) == -1.0f, "tanh ends at 1");
    check(at_one(nextword::tanh, 0.0f) == 0.0f && at_one(nextword::erf, 0.0f) < 1e-7f, "zero stays zero");
}

double activated(double x, Activation activation) {
    switch (activation) {
        case Activation::None: return x;
        case Activation::Silu: return x / (1 + std::exp(-x));
        case Activation::Gelu: return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
        case Activation::GeluTanh:
            return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
        case Activation::Relu: return std::max(x, 0.0);
        case Activation::Relu2: return std::max(x, 0.0) * std::max(x, 0.0);
    }
    return x;
}

// ---- matrices ----

Matrix random_matrix(Random& random, WeightKind kind, int rows, int columns) {
    Matrix matrix(kind, rows, columns);
    const std::vector<float> values = random.numbers(static_cast<size_t>(rows) * columns);
    pack_rows(matrix, PanelPart::Whole, 0, rows, Encoding::F32, reinterpret_cast<const uint8_t*>(values.data()));
    return matrix;
}

Matrix random_matrix_of_blocks(Random& random, Encoding encoding, int rows, int columns) {
    Matrix matrix(kind_of(encoding), rows, columns);
    const std::vector<uint8_t> blocks = random_blocks(random, encoding, rows, columns, 0.1f);
    pack_rows(matrix, PanelPart::Whole, 0, rows, encoding, blocks.data());
    return matrix;
}

// Rows of floats with the int8 form that these kernels make of them.
struct Input {
    int num_tokens, columns, stride;
    std::vector<float> rows;
    std::vector<int8_t> quants;
    std::vector<float> scales;
    std::vector<int32_t> sums;
    std::vector<float> totals;
    std::vector<int32_t> first_sums;

    Input(Random& random, int num_tokens, int columns)
        : num_tokens(num_tokens),
          columns(columns),
          stride(columns + 3),
          rows(random.numbers(static_cast<size_t>(num_tokens) * stride)) {}

    Activations view() const {
        return {num_tokens,    columns,     rows.data(),   stride,           quants.data(),
                scales.data(), sums.data(), totals.data(), first_sums.data()};
    }
    QuantizedRows make_quantized() {
        const size_t num_groups = static_cast<size_t>(ceil_div(columns, kGroup)) * num_tokens;
        quants.assign(num_groups * kGroup + kQuantsSlack, 0), scales.assign(num_groups, 0.0f),
            sums.assign(num_groups, 0), totals.assign(num_groups, 0.0f), first_sums.assign(num_groups, 0);
        return {quants.data(), scales.data(), sums.data(), totals.data(), first_sums.data()};
    }
    void quantize(const Kernels& kernels) {
        const QuantizedRows out = make_quantized();
        for (int tile = 0; tile < ceil_div(num_tokens, kernels.tile_tokens); ++tile)
            kernels.quantize(view(), tile, out);
    }
    const float* row(int token) const { return rows.data() + static_cast<size_t>(token) * stride; }
};

// A token's numbers as its int8 form has them.
std::vector<float> dequantized(const Kernels& kernels, const Input& x, int token) {
    const int num_groups = ceil_div(x.columns, kGroup);
    const int first = token / kernels.tile_tokens * kernels.tile_tokens;
    const int tokens = std::min(kernels.tile_tokens, x.num_tokens - first), t = token - first;
    std::vector<float> values(static_cast<size_t>(num_groups) * kGroup);
    for (int group = 0; group < num_groups; ++group) {
        const size_t at = static_cast<size_t>(first) * num_groups + static_cast<size_t>(group) * tokens;
        int32_t sum = 0, first_sum = 0;
        for (int i = 0; i < kGroup; ++i) {
            const int8_t quant = x.quants[(at + t) * kGroup + i];
            sum += quant;
            if (i < kGroup / 2) first_sum += quant;
            values[group * kGroup + i] = static_cast<float>(quant) * x.scales[at + t];
        }
        check(sum == x.sums[at + t], "the sum of a group's int8 values");
        check(first_sum == x.first_sums[at + t], "the sum of the first half of them");
    }
    return values;
}

void test_quantize_is_within_half_a_step(const Kernels& kernels) {
    Random random(11);
    for (const int columns : {1, 31, 32, 33, 80, 576}) {
        for (const int num_tokens : {1, 2, 3, 4, 5, 7, 8, 9, 17}) {
            Input x(random, num_tokens, columns);
            for (int i = 0; i < columns; ++i) x.rows[i] *= static_cast<float>(1 << (i % 20));
            std::fill_n(x.rows.begin() + (num_tokens - 1) * x.stride, std::min(columns, kGroup), 0.0f);
            x.quantize(kernels);
            for (int token = 0; token < num_tokens; ++token) {
                const std::vector<float> values = dequantized(kernels, x, token);
                for (int group = 0; group < ceil_div(columns, kGroup); ++group) {
                    const int begin = group * kGroup, end = std::min(columns, begin + kGroup);
                    float largest = 0;
                    for (int i = begin; i < end; ++i) largest = std::max(largest, std::fabs(x.row(token)[i]));
                    for (int i = begin; i < end; ++i) {
                        check(is_close(values[i], x.row(token)[i], largest * 1.001 / 254), "a quantised activation");
                    }
                    for (int i = end; i < begin + kGroup; ++i) check(values[i] == 0, "padding of activations is zero");
                }
            }
        }
    }
}

// Rows of numbers of all sizes, of one number, and of zeros.
void test_weights_are_rounded_alike(const std::vector<const Kernels*>& all) {
    Random random(41);
    for (int trial = 0; trial < 100; ++trial) {
        alignas(64) float columns[kGroup][kLanes];
        for (auto& column : columns) {
            for (int row = 0; row < kLanes; ++row) {
                const float number = random.number() * static_cast<float>(1 << row);
                column[row] = row == 3 ? 0.0f : row == 4 ? 7.25f : row == 5 ? number * 1e-12f : number;
            }
        }
        for (const WeightKind kind : {WeightKind::Q8, WeightKind::Q4Min}) {
            for (const int first_row : {0, kLanes}) {
                std::vector<uint8_t> expected;
                for (const Kernels* kernels : all) {
                    std::vector<uint8_t> unit(unit_bytes(kind));
                    kernels->quantize_weights(kind, columns, first_row, unit.data());
                    if (expected.empty()) expected = unit;
                    check(unit == expected, std::string("the rounded weights of ") + kernels->name);
                }
            }
        }
    }
}

// Queries as integers of 16 bits; returns their second parts.
std::vector<int8_t> quantize_words(const Kernels& kernels, Input& queries) {
    const QuantizedRows out = queries.make_quantized();
    std::vector<int8_t> second_quants(queries.quants.size());
    for (int tile = 0; tile < ceil_div(queries.num_tokens, kernels.tile_query_rows); ++tile) {
        kernels.quantize_words(queries.view(), tile, out, second_quants.data());
    }
    return second_quants;
}

void test_numbers_next_to_nothing_quantise_alike(const std::vector<const Kernels*>& all) {
    Random random(12);
    for (const float tiny : {1e-30f, 5e-36f, 1e-37f, 1e-39f, 1e-45f}) {
        std::vector<float> first;
        std::vector<int32_t> first_sums;
        for (const Kernels* kernels : all) {
            Random same(13);
            Input x(same, 1, kGroup);
            for (float& value : x.rows) value = value > 0 ? tiny : -tiny;
            x.quantize(*kernels);
            const std::vector<float> values = dequantized(*kernels, x, 0);
            for (const float value : values)
                check(std::fabs(value) <= tiny * 1.01f, "almost nothing stays almost nothing");
            if (first.empty()) first = values;
            check(is_same(first, values), std::string("tiny activations of ") + kernels->name);
            quantize_words(*kernels, x);
            check(std::abs(x.sums[0]) <= kGroup * 32512, "tiny queries stay in 16 bits");
            if (first_sums.empty()) first_sums = x.sums;
            check(first_sums == x.sums, std::string("tiny queries of ") + kernels->name);
        }
    }
}

std::vector<float> product(const Kernels& kernels, const Matrix& matrix, const Input& x, const Output& how, int width) {
    std::vector<float> out(static_cast<size_t>(x.num_tokens) * (width + 1), 0.5f);
    Output to = how;
    to.rows = out.data(), to.row_stride = width + 1, to.width = width;
    // In two pieces, as two threads would.
    const int half = matrix.num_panels() / 2;
    kernels.multiply(matrix, half, matrix.num_panels(), x.view(), to);
    kernels.multiply(matrix, 0, half, x.view(), to);
    return out;
}

double expected_sum(const Matrix& matrix, int row, const std::vector<float>& x, const float* bias, double& scale) {
    std::vector<float> weights(matrix.columns);
    unpack_row(matrix, row, weights.data());
    double sum = bias == nullptr ? 0.0 : bias[row];
    scale = 1;
    for (int column = 0; column < matrix.columns; ++column) {
        sum += static_cast<double>(weights[column]) * x[column];
        scale += std::fabs(static_cast<double>(weights[column]) * x[column]);
    }
    return sum;
}

void check_product(const std::vector<const Kernels*>& all, Random& random, const Matrix& matrix, int num_tokens,
                   const Output& how) {
    const bool is_gate = how.epilogue == Epilogue::Gate;
    const int width = is_gate ? matrix.rows / 2 - 5 : matrix.rows;
    Input x(random, num_tokens, matrix.columns);
    std::vector<float> first;
    for (const Kernels* kernels : all) {
        x.quantize(*kernels);
        const std::vector<float> out = product(*kernels, matrix, x, how, width);
        const std::string name = std::string(kernels->name) + ", kind " +
                                 std::to_string(static_cast<int>(matrix.kind)) + ", " + std::to_string(num_tokens) +
                                 " tokens, " + std::to_string(matrix.rows) + " x " + std::to_string(matrix.columns);
        if (!first.empty()) {
            check(is_same(first, out), "bitwise the portable product: " + name);
            continue;
        }
        first = out;
        for (int token = 0; token < num_tokens; ++token) {
            const std::vector<float> values = is_quantized(matrix.kind)
                                                  ? dequantized(*kernels, x, token)
                                                  : std::vector<float>(x.row(token), x.row(token) + matrix.columns);
            const float* row = out.data() + static_cast<size_t>(token) * (width + 1);
            check(row[width] == 0.5f, "nothing is written beyond the width: " + name);
            for (int i = 0; i < width; ++i) {
                double scale, other_scale;
                const int at = is_gate ? i / kLanes * kPanelRows + i % kLanes : i;
                double expected = activated(expected_sum(matrix, at, values, how.bias, scale), how.activation);
                if (is_gate)
                    expected *= expected_sum(matrix, at + kLanes, values, how.bias, other_scale), scale *= other_scale;
                if (how.epilogue == Epilogue::Add) expected += 0.5;
                check(is_close(row[i], expected, 3e-6 * scale), "a product: " + name);
            }
        }
    }
}

void check_products_of_all_counts(const std::vector<const Kernels*>& all, Random& random, const Matrix& matrix) {
    const std::vector<float> bias = random.numbers(static_cast<size_t>(matrix.num_panels()) * kPanelRows);
    for (int num_tokens = 1; num_tokens <= 20; ++num_tokens) {
        Output how;
        how.epilogue = num_tokens % 2 ? Epilogue::Store : Epilogue::Add;
        how.bias = num_tokens % 3 ? nullptr : bias.data();
        check_product(all, random, matrix, num_tokens, how);
    }
}

void test_products_of_all_kinds_and_counts(const std::vector<const Kernels*>& all) {
    Random random(14);
    const int shapes[][2] = {{1, 1}, {32, 32}, {33, 31}, {70, 80}, {128, 192}, {45, 577}};
    for (const WeightKind kind : kKinds) {
        for (const auto& [rows, columns] : shapes) {
            check_products_of_all_counts(all, random, random_matrix(random, kind, rows, columns));
        }
    }
    for (const Encoding encoding : kBlockEncodings) {
        const int values = block_size(encoding).values;
        for (const auto& [rows, blocks] : {std::pair{1, 1}, {33, 3}, {70, 2}}) {
            const Matrix matrix = random_matrix_of_blocks(random, encoding, rows, blocks * values);
            check_products_of_all_counts(all, random, matrix);
        }
    }
}

// More than the kernels take at once of tokens, groups and tokens of a tile.
void test_products_of_a_prompt(const std::vector<const Kernels*>& all) {
    Random random(20);
    for (const auto& [encoding, columns] :
         {std::pair{Encoding::Q8_0, 544}, {Encoding::Q4_1, 544}, {Encoding::Q6_K, 768}}) {
        const Matrix matrix = random_matrix_of_blocks(random, encoding, 33, columns);
        for (const int num_tokens : {64, 141}) check_product(all, random, matrix, num_tokens, {});
    }
}

void test_activations_and_gates_after_a_product(const std::vector<const Kernels*>& all) {
    Random random(15);
    for (const WeightKind kind : kKinds) {
        const Matrix matrix = random_matrix(random, kind, 96, 64);
        const std::vector<float> bias = random.numbers(96);
        for (const Activation activation : kActivations) {
            for (const Epilogue epilogue : {Epilogue::Store, Epilogue::Gate}) {
                Output how;
                how.epilogue = epilogue, how.activation = activation, how.bias = bias.data();
                for (const int num_tokens : {1, 6, 11}) check_product(all, random, matrix, num_tokens, how);
            }
        }
    }
}

// 8-bit weights and activations at their limits: sums that 16 bits cannot hold.
void test_the_largest_bytes_do_not_saturate(const std::vector<const Kernels*>& all) {
    std::vector<uint8_t> block(34);
    const uint16_t one = to_fp16(1.0f);
    std::memcpy(block.data(), &one, 2);
    for (const int8_t weight : {int8_t{-128}, int8_t{127}}) {
        std::fill(block.begin() + 2, block.end(), static_cast<uint8_t>(weight));
        Matrix matrix(WeightKind::Q8, 1, kGroup);
        pack_rows(matrix, PanelPart::Whole, 0, 1, Encoding::Q8_0, block.data());
        for (const float value : {-127.0f, 127.0f}) {
            for (const Kernels* kernels : all) {
                Random random(1);
                Input x(random, 1, kGroup);
                std::fill(x.rows.begin(), x.rows.end(), value);
                x.quantize(*kernels);
                check(product(*kernels, matrix, x, {}, 1)[0] == value * weight * kGroup,
                      std::string("the largest bytes of ") + kernels->name);
            }
        }
    }
}

// ---- norms ----

void test_norms(const std::vector<const Kernels*>& all) {
    Random random(16);
    for (const int size : {1, 12, 15, 16, 17, 80, 575, 576, 1000}) {
        const std::vector<float> x = random.numbers(size), weight = random.numbers(size), bias = random.numbers(size);
        double mean = 0, squares = 0, spread = 0;
        for (const float value : x)
            mean += value / static_cast<double>(size), squares += static_cast<double>(value) * value;
        for (const float value : x) spread += (value - mean) * (value - mean);
        std::vector<float> first_rms, first_layer;
        for (const Kernels* kernels : all) {
            std::vector<float> rms = x, layer(size);  // the former in place, as queries and keys are normed
            kernels->rms_norm(rms.data(), weight.data(), 1e-5f, size, rms.data());
            kernels->layer_norm(x.data(), weight.data(), bias.data(), 1e-5f, size, layer.data());
            for (int i = 0; i < size; ++i) {
                check(is_close(rms[i], x[i] / std::sqrt(squares / size + 1e-5f) * weight[i], 3e-6), "RMS norm");
                check(is_close(layer[i], (x[i] - mean) / std::sqrt(spread / size + 1e-5f) * weight[i] + bias[i], 3e-5),
                      "layer norm");
            }
            if (first_rms.empty()) first_rms = rms, first_layer = layer;
            check(is_same(first_rms, rms), std::string("bitwise the portable RMS norm: ") + kernels->name);
            check(is_same(first_layer, layer), std::string("bitwise the portable layer norm: ") + kernels->name);
        }
    }
}

void test_soft_cap(const std::vector<const Kernels*>& all) {
    Random random(17);
    for (const int size : {1, 15, 16, 17, 99}) {
        for (const float cap : {0.5f, 30.0f}) {
            std::vector<float> x = random.numbers(size + 1), first;
            for (float& value : x) value *= 100.0f;
            for (const Kernels* kernels : all) {
                std::vector<float> capped = x;
                kernels->soft_cap(capped.data(), size, cap);
                for (int i = 0; i < size; ++i)
                    check(is_close(capped[i], cap * std::tanh(x[i] / cap), 5e-7 * cap), "soft cap");
                check(capped[size] == x[size], "nothing is capped beyond the size");
                if (first.empty()) first = capped;
                check(is_same(first, capped), std::string("bitwise the portable soft cap: ") + kernels->name);
            }
        }
    }
}

// ---- attention ----

struct Page {
    std::vector<uint8_t> keys, values;

    explicit Page(const PageShape& shape) : keys(shape.keys_bytes()), values(shape.values_bytes()) {}
    void store(const Kernels& kernels, const PageShape& shape, int slot, const float* key, const float* value) {
        kernels.store_position(shape, slot, key, value, keys.data(), values.data());
    }
};

void test_pages_hold_what_is_stored(const std::vector<const Kernels*>& all) {
    Random random(20);
    for (const CacheKind kind : {CacheKind::F32, CacheKind::BF16, CacheKind::Q8}) {
        for (const int head_dim : {4, 12, 16, 33, 64, 80, 100}) {
            const PageShape shape{kind, head_dim};
            std::vector<Page> pages(all.size(), Page(shape));
            for (int slot = 0; slot < kPagePositions; ++slot) {
                std::vector<float> key = random.numbers(head_dim), value = random.numbers(head_dim);
                if (slot == 7) std::fill(key.begin(), key.end(), 0.0f), std::fill(value.begin(), value.end(), 1e-38f);
                for (size_t i = 0; i < all.size(); ++i) pages[i].store(*all[i], shape, slot, key.data(), value.data());
                const double step = kind == CacheKind::F32    ? 0.0
                                    : kind == CacheKind::BF16 ? 1.0 / 256
                                                              : 0.51 / 127 + 1.0 / 2048;
                for (int d = 0; d < head_dim; ++d) {
                    check(is_close(key_at(shape, pages[0].keys.data(), slot, d), key[d], step), "a stored key");
                    check(is_close(value_at(shape, pages[0].values.data(), slot, d), value[d], step), "a stored value");
                }
            }
            for (size_t i = 1; i < all.size(); ++i) {
                check(pages[i].keys == pages[0].keys && pages[i].values == pages[0].values,
                      std::string("the portable page: ") + all[i]->name);
            }
        }
    }
}

// A segment of random keys and values, its pages as the cache lays them out.
struct Segment {
    AttentionSegment view;
    Input queries;
    std::vector<int8_t> second_quants;
    std::vector<float> scores;
    std::vector<Page> pages;
    std::vector<int32_t> first, last;

    Segment(Random& random, CacheKind kind, int head_dim, int num_rows, int num_positions, float soft_cap)
        : queries(random, num_rows, head_dim),
          scores(static_cast<size_t>(ceil_div(num_rows, 16) * 16) * kSegmentPositions) {
        view.page = {kind, head_dim};
        pages.assign(ceil_div(num_positions, kPagePositions), Page(view.page));
        for (int position = 0; position < num_positions; ++position) {
            const std::vector<float> key = random.numbers(head_dim), value = random.numbers(head_dim);
            pages[position / kPagePositions].store(portable_kernels(), view.page, position % kPagePositions, key.data(),
                                                   value.data());
        }
        for (int row = 0; row < num_rows; ++row) {
            last.push_back(row == 0 ? num_positions : random.below(num_positions + 1));
            first.push_back(row == 0 ? 0 : random.below(last.back() + 1));
        }
        view.num_positions = num_positions;
        for (size_t page = 0; page < pages.size(); ++page) {
            view.keys[page] = pages[page].keys.data();
            view.values[page] = pages[page].values.data();
            view.next_pages[page] = pages[0].keys.data();
        }
        view.first = first.data(), view.last = last.data(), view.soft_cap = soft_cap, view.scores = scores.data();
    }
    Segment(const Segment&) = delete;
    Segment& operator=(const Segment&) = delete;

    void attend(const Kernels& kernels, const SoftmaxState& out) {
        second_quants = quantize_words(kernels, queries);
        view.queries = queries.view(), view.second_quants = second_quants.data();
        kernels.attend(view, out);
    }
    double score(const float* query, int position) const {
        double sum = 0;
        const uint8_t* keys = pages[position / kPagePositions].keys.data();
        for (int d = 0; d < view.page.head_dim; ++d) {
            sum += static_cast<double>(query[d]) * key_at(view.page, keys, position % kPagePositions, d);
        }
        return view.soft_cap > 0 ? view.soft_cap * std::tanh(sum / view.soft_cap) : sum;
    }
    double value(int position, int d) const {
        return value_at(view.page, pages[position / kPagePositions].values.data(), position % kPagePositions, d);
    }
};

struct State {
    std::vector<float> max, sum, values;

    State(int num_rows, int stride)
        : max(num_rows, -HUGE_VALF), sum(num_rows), values(static_cast<size_t>(num_rows) * stride) {}
    SoftmaxState view() { return {max.data(), sum.data(), values.data()}; }
    bool is_same_as(const State& other) const {
        return is_same(max, other.max) && is_same(sum, other.sum) && is_same(values, other.values);
    }
};

// What a softmax over all positions that a row sees in these segments makes of their values, beside ours.
void check_state(const std::vector<const Segment*>& segments, const State& ours) {
    const PageShape& page = segments[0]->view.page;
    // Queries against 8-bit keys have 16 bits, weights of their values 14, relative to the largest.
    const double tolerance = page.kind == CacheKind::Q8 ? 3e-4 : 1e-5;
    for (int row = 0; row < segments[0]->queries.num_tokens; ++row) {
        double sum = 0;
        std::vector<double> values(page.head_dim);
        for (const Segment* segment : segments) {
            const float* query = segment->queries.row(row);
            for (int position = segment->first[row]; position < segment->last[row]; ++position) {
                const double weight = std::exp(segment->score(query, position));
                sum += weight;
                for (int d = 0; d < page.head_dim; ++d) values[d] += weight * segment->value(position, d);
            }
        }
        if (sum == 0) {
            check(ours.max[row] == -HUGE_VALF && ours.sum[row] == 0, "a row that sees nothing attends to nothing");
            continue;
        }
        check(is_close(std::log(ours.sum[row]) + ours.max[row], std::log(sum), 2 * tolerance),
              "the sum of the weights");
        for (int d = 0; d < page.head_dim; ++d) {
            const double got = ours.values[static_cast<size_t>(row) * page.value_stride() + d] / ours.sum[row];
            check(is_close(got, values[d] / sum, tolerance), "the weighted values");
        }
    }
}

void test_attention_within_a_segment_and_merged_over_two(const std::vector<const Kernels*>& all) {
    Random random(18);
    for (const CacheKind kind : {CacheKind::F32, CacheKind::BF16, CacheKind::Q8}) {
        for (const int head_dim : {4, 12, 16, 64, 80, 100}) {
            for (const int num_rows : {1, 2, 3, 5, 6, 7, 13, 32}) {
                const float soft_cap = num_rows % 3 == 0 ? 2.0f : 0.0f;
                const int width = random.between(1, kSegmentPositions);
                Segment one(random, kind, head_dim, num_rows, width, soft_cap);
                Segment two(random, kind, head_dim, num_rows, random.between(1, kSegmentPositions), soft_cap);
                const int stride = one.view.page.value_stride();
                State first_total(0, 0);
                for (const Kernels* kernels : all) {
                    State total(num_rows, stride), own(num_rows, stride);
                    one.attend(*kernels, own.view());
                    if (kernels == all[0]) check_state({&one}, own);
                    kernels->merge(total.view(), own.view(), num_rows, stride);
                    two.attend(*kernels, own.view());
                    kernels->merge(total.view(), own.view(), num_rows, stride);
                    if (kernels == all[0]) check_state({&one, &two}, total), first_total = total;
                    check(first_total.is_same_as(total),
                          std::string("bitwise the portable attention: ") + kernels->name);
                }
            }
        }
    }
}

// A row's state must not depend on the rows beside it.
void test_a_row_alone_attends_as_among_others(const std::vector<const Kernels*>& all) {
    Random random(19);
    for (const CacheKind kind : {CacheKind::BF16, CacheKind::Q8}) {
        Segment segment(random, kind, 80, 23, 101, 0.0f);
        for (const Kernels* kernels : all) {
            State together(23, 80);
            segment.attend(*kernels, together.view());
            for (int row = 0; row < 23; ++row) {
                Input query(random, 1, 80);
                query.rows.assign(segment.queries.row(row), segment.queries.row(row) + 80);
                const std::vector<int8_t> second_quants = quantize_words(*kernels, query);
                AttentionSegment one = segment.view;
                one.queries = query.view(), one.second_quants = second_quants.data(), one.first += row, one.last += row;
                State alone(1, 80);
                kernels->attend(one, alone.view());
                const std::vector<float> same(together.values.begin() + row * 80,
                                              together.values.begin() + (row + 1) * 80);
                check(is_same(alone.values, same) && alone.sum[0] == together.sum[row], "a row alone");
            }
        }
    }
}

}  // namespace

int main() {
    const std::vector<const Kernels*> all = all_kernels();
    test_functions_are_as_accurate_as_they_say();
    for (const Kernels* kernels : all) test_quantize_is_within_half_a_step(*kernels);
    test_numbers_next_to_nothing_quantise_alike(all);
    test_weights_are_rounded_alike(all);
    test_products_of_all_kinds_and_counts(all);
    test_products_of_a_prompt(all);
    test_activations_and_gates_after_a_product(all);
    test_the_largest_bytes_do_not_saturate(all);
    test_norms(all);
    test_soft_cap(all);
    test_pages_hold_what_is_stored(all);
    test_attention_within_a_segment_and_merged_over_two(all);
    test_a_row_alone_attends_as_among_others(all);
    return report("kernels");
}
