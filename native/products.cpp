#include "products.h"

namespace nextword {

namespace {

template <class Numbers>
void grow(Numbers& numbers, size_t size) {
    if (numbers.size() < size) numbers.resize(size);
}

}  // namespace

void Rows::resize(int num_tokens, int columns, bool is_quantized) {
    const size_t num_groups = static_cast<size_t>(ceil_div(columns, kGroup)) * num_tokens;
    grow(values, static_cast<size_t>(num_tokens) * columns);
    if (!is_quantized) return;
    grow(quants, num_groups * kGroup + kQuantsSlack);
    grow(scales, num_groups), grow(totals, num_groups);
    grow(sums, num_groups), grow(first_sums, num_groups);
}

Activations Rows::view_from(int first_row, int num_tokens, int columns) const {
    const size_t group = static_cast<size_t>(ceil_div(columns, kGroup)) * first_row;
    return {num_tokens,
            columns,
            values.data() + static_cast<size_t>(first_row) * columns,
            columns,
            quants.data() + group * kGroup,
            scales.data() + group,
            sums.data() + group,
            totals.data() + group,
            first_sums.data() + group};
}

QuantizedRows Rows::quantized_from(int first_row, int columns) {
    const size_t group = static_cast<size_t>(ceil_div(columns, kGroup)) * first_row;
    return {quants.data() + group * kGroup, scales.data() + group, sums.data() + group, totals.data() + group,
            first_sums.data() + group};
}

std::vector<WideningStep> widening_steps(const Mlp& mlp, const Shape& shape) {
    if (!mlp.has_gate()) return {{&mlp.up, shape.is_gated ? Epilogue::Gate : Epilogue::Store, shape.activation}};
    return {{&mlp.gate, Epilogue::Store, shape.activation}, {&mlp.up, Epilogue::Multiply, Activation::None}};
}

void multiply(const Kernels& kernels, ThreadPool& threads, const std::vector<Product>& products) {
    int num_panels = 0;
    for (const Product& product : products) num_panels += product.linear->matrix.num_panels();
    threads.run(num_panels, [&](int first, int last) {
        int begin = 0;
        for (const Product& product : products) {
            const Matrix& matrix = product.linear->matrix;
            const int from = std::max(first - begin, 0), to = std::min(last - begin, matrix.num_panels());
            Output out = product.out;
            out.bias = product.linear->bias.empty() ? nullptr : product.linear->bias.data();
            if (from < to) kernels.multiply(matrix, from, to, product.x, out);
            begin += matrix.num_panels();
        }
    });
}

void multiply(const Kernels& kernels, ThreadPool& threads, std::vector<Product> products, const Activations& x) {
    for (Product& product : products) product.x = x;
    multiply(kernels, threads, products);
}

void quantize_rows(const Kernels& kernels, ThreadPool& threads, Rows& rows, int num_tokens, int columns) {
    rows.resize(num_tokens, columns, true);
    const Activations x = rows.view(num_tokens, columns);
    threads.run(ceil_div(num_tokens, kernels.tile_tokens), [&](int first, int last) {
        for (int tile = first; tile < last; ++tile) kernels.quantize(x, tile, rows.quantized());
    });
}

}  // namespace nextword
