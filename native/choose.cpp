#include "choose.h"

#include <new>

#include "philox.h"

namespace nextword {

namespace {

int64_t choose_one(const Kernels& kernels, const Choice& choice) {
    if (choice.truncation.divisor == 0.0f) return argmax(kernels, choice.logits, choice.size);
    return draw(kernels, choice.logits, choice.size, choice.truncation, random_number(choice.draw));
}

}  // namespace

// numpy's generator counts up before it draws.
uint64_t random_number(const Draw& draw) {
    return philox({draw.position + 1, 0, 0, 0}, {draw.seed, draw.sample_index})[0] >> (64 - 53);
}

std::vector<int64_t> choose(const Kernels& kernels, ThreadPool& threads, const std::vector<Choice>& choices) {
    std::vector<int64_t> tokens(choices.size());
    threads.run(static_cast<int>(choices.size()), [&](int first, int last) {
        for (int row = first; row < last; ++row) {
            try {
                tokens[row] = choose_one(kernels, choices[row]);
            } catch (const std::bad_alloc&) {
                tokens[row] = -1;
            }
        }
    });
    return tokens;
}

}  // namespace nextword
