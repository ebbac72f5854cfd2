// The MLP of a layer with a mixture of experts: a router sends each token to a few of many MLPs.
//
// Tokens are grouped by expert, so that a prompt's products stay products of matrices. What a token gets depends on
// that token alone: its experts' outputs are added in the order of their numbers.

#ifndef NEXTWORD_EXPERTS_H
#define NEXTWORD_EXPERTS_H

#include <utility>
#include <vector>

#include "kernels.h"
#include "products.h"
#include "shape.h"
#include "threads.h"
#include "weights.h"

namespace nextword {

// The `count` largest values with their positions, in the order that torch.topk gives them on a CPU, also where values
// are equal: it calls the same functions of the standard library. NaN counts as largest.
std::vector<std::pair<float, int>> top_values(const float* values, int size, int count);

class ExpertMlp {
public:
    ExpertMlp(const Shape& shape, const Kernels& kernels, ThreadPool& threads)
        : shape_(shape), kernels_(kernels), threads_(threads) {}

    // The sum of each token's experts' outputs, weighted by the router, and the output of the shared one, into `out`,
    // (num_tokens, hidden_size). `x` gets an int8 form where that is needed.
    void run(const Mixture& mixture, Rows& x, int num_tokens, float* out);

private:
    struct Choice {
        int expert;
        float weight;
        int row;  // of the token, among those grouped by expert
    };
    // The tokens of one expert: rows of the grouped ones.
    struct Group {
        int expert, first_row, num_rows;
    };

    void choose(const Mixture& mixture, const Rows& x, int num_tokens);
    void choose_for_token(const float* logits, Choice* choices) const;
    void group(int num_tokens);
    void gather(const Rows& x, bool is_quantized);
    void quantize_groups(Rows& rows, int columns);
    Product product_of(const Group& group, const Linear& linear, const Rows& rows, int columns,
                       const Output& out) const;
    void widen(const Mixture& mixture);
    void narrow(const Mixture& mixture);
    void add_up(int num_tokens, float* out);
    void run_shared(const Mixture& mixture, Rows& x, int num_tokens);
    void add_shared(const Mixture& mixture, const Rows& x, int num_tokens, float* out);

    const Shape& shape_;
    const Kernels& kernels_;
    ThreadPool& threads_;

    std::vector<float> logits_;      // (num_tokens, experts)
    std::vector<Choice> choices_;    // (num_tokens, per_token), by expert
    std::vector<Group> groups_;      // of the experts that were chosen
    std::vector<int> token_of_row_;  // (num_tokens * per_token), by expert
    Rows gathered_, widened_;
    std::vector<float> narrowed_;
};

}  // namespace nextword

#endif
