// Adapters over one set of weights: what each changes in the outputs of linear layers, for the rows that it owns.

#ifndef NEXTWORD_ADAPTERS_H
#define NEXTWORD_ADAPTERS_H

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernels.h"
#include "threads.h"
#include "weights.h"

namespace nextword {

// The values of an adapter for one linear layer, which computes factor * (W (input_factor * x) + B A x) + offset
// instead of W x. Each may be absent: empty, and rank 0.
struct ChangeValues {
    int rank = 0;
    std::vector<float> down;          // A (rank, columns)
    std::vector<float> up;            // B (rows, rank), scaled
    std::vector<float> input_factor;  // (columns); only for the last layer of the MLP
    std::vector<float> factor;        // (rows)
    std::vector<float> offset;        // (rows)
};

// Every number that a change computes depends on its own row alone, in an order of its own: a sequence has the same
// bits whatever adapters run beside it.
class Adapters {
public:
    Adapters(const Kernels& kernels, ThreadPool& threads, const Weights& weights)
        : kernels_(kernels), threads_(threads), weights_(weights) {}

    // Make an adapter that changes nothing yet; returns its number, from 1 on.
    int add();
    int count() const { return static_cast<int>(changes_.size()); }
    // Add the change of one layer, named as its weight. Throws std::invalid_argument for a name that is no linear
    // layer, an adapter that is none, values of other sizes, or inputs that cannot be scaled.
    void load(int adapter, const std::string& name, const ChangeValues& values);
    size_t num_bytes() const { return num_bytes_; }

    // True if one of the rows' adapters (0 for none) changes this layer.
    bool change(const Linear& linear, const std::vector<int>& adapter_of_row) const;
    // Change the outputs (rows, width), computed from `inputs` (rows, columns).
    void apply(const Linear& linear, const std::vector<int>& adapter_of_row, const float* inputs, float* outputs,
               int width) const;
    // Scale the inputs (rows, columns) of a layer.
    void scale_inputs(const Linear& linear, const std::vector<int>& adapter_of_row, float* inputs) const;

private:
    // Vectors have a number for each row of the panels, as a bias has.
    struct Change {
        Matrix down, up;
        std::vector<float> input_factor, factor, offset;
    };
    // Low-rank factors of one adapter; two for the gate and the values side by side.
    using Changes = std::unordered_map<const Linear*, std::vector<Change>>;

    const std::vector<Change>* find(int adapter, const Linear& linear) const;
    void apply_to(const Change& change, const Activations& x, float* outputs, int width) const;

    const Kernels& kernels_;
    ThreadPool& threads_;
    const Weights& weights_;
    std::vector<Changes> changes_;
    size_t num_bytes_ = 0;
};

}  // namespace nextword

#endif
