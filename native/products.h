// Rows of activations and their products with the matrices of weights, shared out among threads.

#ifndef NEXTWORD_PRODUCTS_H
#define NEXTWORD_PRODUCTS_H

#include <algorithm>
#include <vector>

#include "aligned.h"
#include "kernels.h"
#include "threads.h"
#include "weights.h"

namespace nextword {

// (num_tokens, columns) floats with their int8 form.
struct Rows {
    AlignedVector<float> values;
    AlignedVector<int8_t> quants;
    std::vector<float> scales, totals;
    std::vector<int32_t> sums, first_sums;

    // Make room; for the int8 form only if `is_quantized`. Room once made stays: rows of one width may follow
    // another's.
    void resize(int num_tokens, int columns, bool is_quantized);
    QuantizedRows quantized() { return quantized_from(0, 0); }
    Activations view(int num_tokens, int columns) const { return view_from(0, num_tokens, columns); }

    // The same of the rows from `first_row` on, if their int8 form begins a tile.
    Activations view_from(int first_row, int num_tokens, int columns) const;
    QuantizedRows quantized_from(int first_row, int columns);
};

// One of the products that make the wide rows of an MLP, activation(gate) * up, in this order.
struct WideningStep {
    const Linear* linear;
    Epilogue epilogue;
    Activation activation;
};

// One step, or two where the gate has a matrix of its own; the bits are the same.
std::vector<WideningStep> widening_steps(const Mlp& mlp, const Shape& shape);

struct Product {
    const Linear* linear;
    Output out;
    Activations x = {};
};

// All products at once; each output gets the bias of its matrix.
void multiply(const Kernels& kernels, ThreadPool& threads, const std::vector<Product>& products);

// The same of one `x`.
void multiply(const Kernels& kernels, ThreadPool& threads, std::vector<Product> products, const Activations& x);

// Compute the int8 form of rows from their floats.
void quantize_rows(const Kernels& kernels, ThreadPool& threads, Rows& rows, int num_tokens, int columns);

// Fill `rows` for each token by write(row, values), with its int8 form if `is_quantized`.
template <class Write>
void make_rows(const Kernels& kernels, ThreadPool& threads, Rows& rows, int num_tokens, int columns, bool is_quantized,
               const Write& write) {
    rows.resize(num_tokens, columns, is_quantized);
    const Activations x = rows.view(num_tokens, columns);
    const int tile_tokens = kernels.tile_tokens;
    threads.run(ceil_div(num_tokens, tile_tokens), [&](int first, int last) {
        for (int tile = first; tile < last; ++tile) {
            for (int row = tile * tile_tokens; row < std::min(num_tokens, (tile + 1) * tile_tokens); ++row) {
                write(row, rows.values.data() + static_cast<size_t>(row) * columns);
            }
            if (is_quantized) kernels.quantize(x, tile, rows.quantized());
        }
    });
}

}  // namespace nextword

#endif
