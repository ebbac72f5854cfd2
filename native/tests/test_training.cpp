// Training's kernels give the same bits with each instruction set, at sizes with and without incomplete vectors. That
// they are right, tests/models/test_passes.py holds against PyTorch.

#include "all_kernels.h"
#include "check.h"
#include "half.h"
#include "training.h"

using namespace nextword;

namespace nextword {
const TrainingKernelSet* emulated_avx512_training_kernels();
const TrainingKernelSet* emulated_avx512bf16_training_kernels();
}  // namespace nextword

namespace {

std::vector<float> elements(Random& random, size_t count, float) { return random.numbers(count); }

std::vector<uint16_t> elements(Random& random, size_t count, uint16_t) {
    std::vector<uint16_t> result(count);
    for (uint16_t& value : result) value = to_bf16(2 * random.number());
    return result;
}

template <class Element>
const TrainingKernels<Element>& of_type(const TrainingKernelSet& set) {
    if constexpr (std::is_same_v<Element, float>) {
        return set.f32;
    } else {
        return set.bf16;
    }
}

template <class Element>
void append(std::vector<uint8_t>& bytes, const std::vector<Element>& values) {
    const auto* first = reinterpret_cast<const uint8_t*>(values.data());
    bytes.insert(bytes.end(), first, first + values.size() * sizeof values[0]);
}

// Everything that the kernels of rows write, one after the other, as bytes.
template <class Element>
std::vector<uint8_t> all_results(const TrainingKernels<Element>& kernels, int64_t size) {
    constexpr int64_t rows = 6;
    const size_t count = static_cast<size_t>(rows * size);
    std::vector<uint8_t> bytes;
    const auto keep = [&](const auto& values) { append(bytes, values); };
    Random random(static_cast<uint64_t>(size));
    const auto x = elements(random, count, Element{}), y = elements(random, count, Element{}),
               grad = elements(random, count, Element{});
    std::vector<Element> out(count), other(count);
    std::vector<float> inverse(rows), weight_grad(static_cast<size_t>(size));
    kernels.rms_norm(x.data(), y.data(), 1e-5f, rows, size, out.data(), inverse.data());
    keep(out), keep(inverse);
    kernels.rms_norm_backward(x.data(), y.data(), inverse.data(), grad.data(), rows, size, out.data(),
                              weight_grad.data());
    keep(out), keep(weight_grad);
    for (Activation activation :
         {Activation::Silu, Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Relu2}) {
        for (const Element* gated : {static_cast<const Element*>(nullptr), y.data()}) {
            kernels.activate(x.data(), gated, activation, rows * size, out.data());
            keep(out);
            kernels.activate_backward(x.data(), gated, grad.data(), activation, rows * size, out.data(), other.data());
            keep(out), keep(other);
        }
    }
    const Rotated<Element> rotated{x.data(), y.data(), 2, size - size % 2, size % 3 == 0};
    kernels.rotate(grad.data(), rotated, 1, 3, 2, size, out.data());
    keep(out);
    const int32_t until = static_cast<int32_t>(size);
    const std::vector<int32_t> first = {0, until / 2, until - 1}, last = {1, until, until};
    const Attended attended{3, size, first.data(), last.data()};
    auto scores = x;
    kernels.softmax(scores.data(), attended, 0.7f, 0, rows);
    keep(scores);
    auto pulls = grad;
    kernels.softmax_backward(scores.data(), pulls.data(), attended, 0.7f, 0, rows);
    keep(pulls);
    const std::vector<int64_t> targets = {0, size - 1, size / 2, 0, size - 1, size / 3};
    auto logits = x;
    std::vector<float> sums(rows), at_targets(rows);
    kernels.cross_entropy(logits.data(), targets.data(), 0.01f, true, rows, size, sums.data(), at_targets.data());
    keep(logits), keep(sums), keep(at_targets);
    return bytes;
}

// Everything that attention writes: documents of one token, of less than a block, and of several, one of them whole.
template <class Element>
std::vector<uint8_t> attention_results(const TrainingKernels<Element>& kernels, int64_t head_dim, int64_t window) {
    const std::vector<int64_t> starts = {0, 1, 34, 98, 245};
    const int64_t num_tokens = starts.back(), num_heads = 4, num_kv_heads = 2;
    const size_t query_count = static_cast<size_t>(num_tokens * num_heads * head_dim), key_count = query_count / 2;
    Random random(static_cast<uint64_t>(head_dim));
    const auto queries = elements(random, query_count, Element{}), keys = elements(random, key_count, Element{}),
               values = elements(random, key_count, Element{}), grad = elements(random, query_count, Element{});
    std::vector<Element> mixed(query_count), query_grad(query_count), key_grad(key_count), value_grad(key_count);
    std::vector<float> log_sums(static_cast<size_t>(num_tokens * num_heads));
    const PackedHeads<Element> heads{queries.data(), keys.data(),  values.data(), starts.data(), 4,
                                     num_heads,      num_kv_heads, head_dim,      window,        0.2f};
    // In two parts, as two threads do.
    for (int64_t unit : {int64_t{0}, int64_t{3}}) {
        const int64_t last = unit == 0 ? 3 : heads.num_units();
        kernels.attend(heads, unit, last, mixed.data(), log_sums.data());
        kernels.attend_backward(heads, unit, last, mixed.data(), log_sums.data(), grad.data(), query_grad.data(),
                                key_grad.data(), value_grad.data());
    }
    std::vector<uint8_t> bytes;
    append(bytes, mixed), append(bytes, log_sums);
    append(bytes, query_grad), append(bytes, key_grad), append(bytes, value_grad);
    return bytes;
}

template <class Element>
void test_all_instruction_sets_give_the_same_bits(const TrainingKernelSet& set, const std::string& name) {
    for (int64_t size : {1, 7, 16, 33, 64, 2100}) {
        check(all_results(of_type<Element>(set), size) ==
                  all_results(of_type<Element>(portable_training_kernels()), size),
              name + " gives what portable gives, rows of " + std::to_string(size));
    }
    for (int64_t head_dim : {16, 80}) {
        for (int64_t window : {50, 245}) {
            check(attention_results(of_type<Element>(set), head_dim, window) ==
                      attention_results(of_type<Element>(portable_training_kernels()), head_dim, window),
                  name + " attends as portable does, head_dim " + std::to_string(head_dim));
        }
    }
}

void test(const TrainingKernelSet& set, const std::string& name) {
    test_all_instruction_sets_give_the_same_bits<float>(set, name);
    test_all_instruction_sets_give_the_same_bits<uint16_t>(set, name + " bf16");
}

}  // namespace

int main() {
    for (const Kernels* kernels : all_kernels()) {
        const std::string name = kernels->name;
        if (name == "portable") test(portable_training_kernels(), name);
#if defined(__x86_64__)
        if (name == "avx2") test(*avx2_training_kernels(), name);
        if (name == "avx512") test(*avx512_training_kernels(), name);
        const bool has_bf16 = name == "avx512" && runs_avx512bf16() && avx512bf16_training_kernels() != nullptr;
        if (has_bf16) test(*avx512bf16_training_kernels(), "avx512bf16");
#if defined(NEXTWORD_EMULATES_AVX512)
        if (name == "emulated avx512") test(*emulated_avx512_training_kernels(), name);
        if (name == "emulated avx512" || (name == "avx512" && !has_bf16)) {
            test(*emulated_avx512bf16_training_kernels(), "emulated avx512bf16");
        }
#endif
#elif defined(__aarch64__)
        if (name == "neon") test(*neon_training_kernels(), name);
#endif
    }
    return report("training");
}
