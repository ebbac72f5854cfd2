// A mixture of experts against loops that follow its definition, one token after the other.

#include "experts.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "all_kernels.h"
#include "check.h"

using namespace nextword;

namespace {

Shape shape_of(int num_experts, int per_token, bool is_normalized) {
    Shape shape;
    shape.hidden_size = 40;
    shape.experts = {num_experts, per_token, 24, is_normalized, 0, false, {0}};
    return shape;
}

struct PlainMatrix {
    int rows, columns;
    std::vector<float> values;

    float times(int row, const float* x) const {
        return std::inner_product(x, x + columns, values.begin() + static_cast<size_t>(row) * columns, 0.0f);
    }
};

PlainMatrix random_matrix(Random& random, int rows, int columns) {
    return {rows, columns, random.numbers(static_cast<size_t>(rows) * columns)};
}

void pack(Linear& linear, PanelPart part, const PlainMatrix& matrix) {
    const int panels = ceil_div(matrix.rows, part == PanelPart::Whole ? kPanelRows : kLanes);
    if (linear.matrix.rows == 0) {
        const int rows = part == PanelPart::Whole ? matrix.rows : panels * kPanelRows;
        linear.matrix = Matrix(WeightKind::F32, rows, matrix.columns);
    }
    pack_rows(linear.matrix, part, 0, matrix.rows, Encoding::F32,
              reinterpret_cast<const uint8_t*>(matrix.values.data()));
}

// The same weights in the form that the engine reads, and plain.
struct TwoForms {
    Mixture packed;
    PlainMatrix router;
    struct PlainExpert {
        PlainMatrix gate, up, down;
    };
    std::vector<PlainExpert> experts;

    TwoForms(const Shape& shape, Random& random) {
        const int hidden = shape.hidden_size, wide = shape.experts.intermediate_size;
        router = random_matrix(random, shape.experts.count, hidden);
        pack(packed.router, PanelPart::Whole, router);
        packed.experts.resize(shape.experts.count);
        for (Mlp& expert : packed.experts) {
            experts.push_back({random_matrix(random, wide, hidden), random_matrix(random, wide, hidden),
                               random_matrix(random, hidden, wide)});
            pack(expert.up, PanelPart::First, experts.back().gate);
            pack(expert.up, PanelPart::Second, experts.back().up);
            pack(expert.down, PanelPart::Whole, experts.back().down);
        }
    }
};

std::vector<float> softmax(const PlainMatrix& router, const float* x) {
    std::vector<float> probabilities(router.rows);
    for (int i = 0; i < router.rows; ++i) probabilities[i] = router.times(i, x);
    const float highest = *std::max_element(probabilities.begin(), probabilities.end());
    for (float& value : probabilities) value = std::exp(value - highest);
    const float sum = std::accumulate(probabilities.begin(), probabilities.end(), 0.0f);
    for (float& value : probabilities) value /= sum;
    return probabilities;
}

std::vector<float> expected_for(const Shape& shape, const TwoForms& weights, const float* x) {
    const std::vector<float> probabilities = softmax(weights.router, x);
    std::vector<int> order(probabilities.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int a, int b) { return probabilities[a] > probabilities[b]; });
    order.resize(shape.experts.per_token);
    float sum = 0.0f;
    for (const int expert : order) sum += probabilities[expert];
    std::vector<float> out(shape.hidden_size), wide(shape.experts.intermediate_size);
    for (const int expert : order) {
        const TwoForms::PlainExpert& plain = weights.experts[expert];
        for (size_t i = 0; i < wide.size(); ++i) {
            const float gate = plain.gate.times(static_cast<int>(i), x);
            wide[i] = gate / (1.0f + std::exp(-gate)) * plain.up.times(static_cast<int>(i), x);
        }
        const float weight = probabilities[expert] / (shape.experts.is_normalized ? sum : 1.0f);
        for (size_t d = 0; d < out.size(); ++d) out[d] += weight * plain.down.times(static_cast<int>(d), wide.data());
    }
    return out;
}

void test_tokens_get_the_weighted_sum_of_their_experts(int num_experts, int per_token, bool is_normalized) {
    const Shape shape = shape_of(num_experts, per_token, is_normalized);
    Random random(3);
    const TwoForms weights(shape, random);
    const int num_tokens = 37;
    Rows x;
    const std::vector<float> values = random.numbers(static_cast<size_t>(num_tokens) * shape.hidden_size);
    x.values.assign(values.begin(), values.end());
    ThreadPool threads(2);
    for (const Kernels* kernels : all_kernels()) {
        ExpertMlp mlp(shape, *kernels, threads);
        std::vector<float> out(x.values.size(), 5.0f);
        mlp.run(weights.packed, x, num_tokens, out.data());
        for (int token = 0; token < num_tokens; ++token) {
            const size_t at = static_cast<size_t>(token) * shape.hidden_size;
            const std::vector<float> expected = expected_for(shape, weights, x.values.data() + at);
            for (size_t d = 0; d < expected.size(); ++d) {
                check(is_close(out[at + d], expected[d], 2e-3), "the sum over a token's experts");
            }
        }
    }
}

void test_top_values_are_the_largest() {
    Random random(5);
    for (const int size : {1, 2, 8, 60, 128, 300}) {
        for (int count = 1; count <= std::min(size, 9); ++count) {
            std::vector<float> values = random.numbers(size);
            for (float& value : values) value = std::round(value * 8);  // with many equal ones
            const auto top = top_values(values.data(), size, count);
            std::vector<float> expected = values;
            std::sort(expected.begin(), expected.end(), std::greater<float>());
            std::vector<int> positions;
            for (int i = 0; i < count; ++i) {
                check(top[i].first == expected[i] && values[top[i].second] == expected[i], "the largest, in order");
                positions.push_back(top[i].second);
            }
            std::sort(positions.begin(), positions.end());
            check(std::adjacent_find(positions.begin(), positions.end()) == positions.end(), "each position once");
        }
    }
}

void test_values_that_are_no_numbers_do_no_harm() {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const std::vector<float> values = {1.0f, nan, 3.0f, nan, 2.0f};
    check(std::isnan(top_values(values.data(), 5, 2)[1].first), "NaN counts as largest");
    const std::vector<float> all(200, nan);
    check(top_values(all.data(), 200, 3).size() == 3, "nothing but NaN");
}

}  // namespace

int main() {
    test_tokens_get_the_weighted_sum_of_their_experts(8, 2, true);
    test_tokens_get_the_weighted_sum_of_their_experts(5, 5, false);
    test_tokens_get_the_weighted_sum_of_their_experts(130, 2, false);
    test_tokens_get_the_weighted_sum_of_their_experts(3, 1, true);
    test_top_values_are_the_largest();
    test_values_that_are_no_numbers_do_no_harm();
    return report("experts");
}
