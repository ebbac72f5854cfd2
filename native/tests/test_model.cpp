// The whole step on small random models: the same logits on every machine, and what is refused.

#include "model.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>

#include "all_kernels.h"
#include "check.h"
#include "half.h"
#include "random_model.h"

using namespace nextword;

namespace {

void test_a_gate_beside_its_values_or_apart_gives_the_same_bits(const Shape& shape, WeightKind weights) {
    const auto beside = random_model(shape, {weights, cache_for(weights), 2});
    const auto apart = random_model(shape, {weights, cache_for(weights), 2, runnable_kernels().back(), kPlenty, true});
    Random random(10);
    for (const bool has_adapter : {false, true}) {
        if (has_adapter) add_adapter(*beside, 5, 3), add_adapter(*apart, 5, 3);
        const std::vector<int32_t> sequence = random_text(random, shape, 40);
        check(is_same(alone(*beside, sequence, has_adapter), alone(*apart, sequence, has_adapter)), "a gate apart");
    }
}

// Sequences of more tokens than run through the layers at once, cut and joined elsewhere by company.
void test_long_texts_are_the_same_in_pieces() {
    const auto model = random_model(odd_shape(), {WeightKind::Q8, CacheKind::Q8, 2});
    Random random(4);
    const std::vector<int32_t> sequence = random_text(random, model->shape(), 650),
                               other = random_text(random, model->shape(), 400);
    const std::vector<float> whole = alone(*model, sequence), other_whole = alone(*model, other);
    const int64_t first = model->cache().open({}), second = model->cache().open({});
    std::vector<float> joined = step(*model, {{second, {other.begin(), other.begin() + 399}, 0},
                                              {first, {sequence.begin(), sequence.begin() + 300}, 300}});
    const std::vector<float> rest =
        step(*model, {{first, {sequence.begin() + 300, sequence.end()}, 350}, {second, {other.back()}, 1}});
    joined.insert(joined.end(), rest.begin(), rest.end());
    std::vector<float> expected = whole;
    expected.insert(expected.end(), other_whole.end() - 77, other_whole.end());
    check(is_same(joined, expected), "long sequences in pieces");
}

void test_scores_are_those_of_the_logits() {
    const auto model = random_model(odd_shape(), {WeightKind::Q8, CacheKind::BF16, 2});
    Random random(5);
    const std::vector<int32_t> sequence = random_text(random, model->shape(), 600),
                               targets = random_text(random, model->shape(), 550);
    const std::vector<float> logits = alone(*model, sequence);
    const int width = model->shape().vocab_size, first = 600 - 530;
    std::vector<TokenScore> scores(550);
    const int64_t one = model->cache().open({}), other = model->cache().open({});
    model->score({{one, sequence, 530}, {other, {sequence.begin(), sequence.begin() + 20}, 20}}, targets.data(),
                 scores.data());
    std::vector<float> weights(width);
    for (int i = 0; i < 550; ++i) {
        const float* row = logits.data() + static_cast<size_t>(i < 530 ? first + i : i - 530) * width;
        const TokenScore expected = score_token(*runnable_kernels().back(), row, width, targets[i], weights.data());
        check(scores[i].nats == expected.nats && scores[i].entropy == expected.entropy, "the score of a row of logits");
        check(scores[i].rank == expected.rank && scores[i].largest == expected.largest, "the rank in a row of logits");
    }
}

// The bits of these logits are the same on x86-64 and aarch64, with every compiler. A change of what is computed, or of
// its order, changes them: then put the new numbers here, and say so in the commit, since old seeds give other
// sequences.
void test_logits_are_the_same_on_every_machine() {
    struct Case {
        const char* name;
        Shape shape;
        WeightKind weights;
        uint64_t expected;
    };
    const Case cases[] = {
        {"odd f32", odd_shape(), WeightKind::F32, 0x4a4b53623324534f},
        {"odd f16", odd_shape(), WeightKind::F16, 0x7d83a3751662942d},
        {"odd bf16", odd_shape(), WeightKind::BF16, 0xa1d0e6141a333cd9},
        {"odd q8", odd_shape(), WeightKind::Q8, 0xc31c4b6831ff2ac6},
        {"odd q4", odd_shape(), WeightKind::Q4Min, 0xa6f9f70667ba4bf7},
        {"mixture f32", mixture_shape(), WeightKind::F32, 0xa327fe5c4b690e92},
        {"mixture q8", mixture_shape(), WeightKind::Q8, 0xd0666e19b29840f0},
        {"plain f32", plain_shape(), WeightKind::F32, 0x7b9e40f219a7f3d0},
        {"plain q8", plain_shape(), WeightKind::Q8, 0x849749f7c24ad9d3},
    };
    for (const Case& one : cases) {
        const auto model = random_model(one.shape, {one.weights, cache_for(one.weights), 2});
        Random random(9);
        const std::vector<float> logits = alone(*model, random_text(random, one.shape, 200));
        check(std::all_of(logits.begin(), logits.end(), [](float value) { return std::isfinite(value); }),
              "logits are numbers");
        const uint64_t seen = checksum(logits);
        check(seen == one.expected, std::string("the checksum of ") + one.name + ", which is " + hexadecimal(seen));
    }
}

bool are_nan(const float* values, size_t count) {
    return std::all_of(values, values + count, [](float value) { return std::isnan(value); });
}

// Pages have 32 positions, and attention takes them in segments of 128.
void test_what_attends_to_a_broken_position_is_broken_and_nothing_else(WeightKind weights, const Kernels* kernels,
                                                                       int broken, float value) {
    const Shape shape = plain_shape();
    constexpr int length = 150;
    const auto model = random_model(shape, {weights, cache_for(weights), 2, kernels});
    Random random(14);
    const std::vector<int32_t> sequence = random_text(random, shape, length);
    const size_t width = static_cast<size_t>(shape.hidden_size),
                 before = static_cast<size_t>(broken) * shape.vocab_size;
    std::vector<float> positions = random.numbers(shape.max_seq_len * width);
    const auto load_positions = [&] {
        model->load_rows({{"position_embedding.weight", 0, shape.max_seq_len, Encoding::F32,
                           reinterpret_cast<const uint8_t*>(positions.data()), positions.size() * sizeof(float)}});
    };
    load_positions();
    const std::vector<float> expected = alone(*model, sequence);
    positions[broken * width + 7] = value;
    load_positions();
    for (const int chunk : {length, 33, 3}) {
        const int64_t id = model->cache().open({});
        std::vector<float> found;
        for (int first = 0; first < length; first += chunk) {
            const int last = std::min(first + chunk, length);
            const std::vector<float> rows =
                step(*model, {{id, {sequence.begin() + first, sequence.begin() + last}, last - first}});
            found.insert(found.end(), rows.begin(), rows.end());
        }
        model->cache().close(id);
        check(is_same({found.begin(), found.begin() + before}, {expected.begin(), expected.begin() + before}),
              std::string("rows before a broken position, by ") + kernels->name);
        check(are_nan(found.data() + before, found.size() - before),
              std::string("rows that attend to it, by ") + kernels->name);
    }
}

void test_a_broken_norm_breaks_all_logits(const Shape& shape, WeightKind weights, const Kernels* kernels) {
    const std::vector<int32_t> sequence{1, 2, 3, 4, 5, 6, 7, 8, 9};
    const auto model = random_model(shape, {weights, cache_for(weights), 2, kernels});
    for (const char* name : {"final_norm.weight", "layers.1.mlp_norm.weight"}) {
        std::vector<float> norm(shape.hidden_size, 1.0f);
        for (int lane = 0; lane < shape.hidden_size; lane += 13) {
            norm[lane] = NAN;
            model->load_vector(name, norm.data(), norm.size());
            const std::vector<float> logits = alone(*model, sequence);
            check(are_nan(logits.data(), logits.size()), std::string(name) + " with NaN, by " + kernels->name);
            norm[lane] = 1.0f;
        }
        model->load_vector(name, norm.data(), norm.size());
    }
}

void test_a_refused_step_changes_nothing() {
    const Shape shape = odd_shape();
    const auto model = random_model(shape, {WeightKind::F32, CacheKind::F32, 2, runnable_kernels().back(), 60'000});
    Random random(6);
    const std::vector<int32_t> sequence = random_text(random, shape, 40);
    const std::vector<float> expected = alone(*model, sequence);
    const int64_t first = model->cache().open({}), second = model->cache().open({});
    step(*model, {{first, {sequence.begin(), sequence.begin() + 30}, 0}});
    const size_t held = model->cache().bytes_held();
    const std::vector<int32_t> long_text = random_text(random, shape, 600);
    check_throws<CacheFull>([&] { step(*model, {{first, {1}, 1}, {second, long_text, 1}}); },
                            "no room for 600 positions");
    check_throws<std::invalid_argument>([&] { step(*model, {{second, {77}, 1}}); }, "a token beyond the vocabulary");
    check_throws<std::invalid_argument>([&] { step(*model, {{second, {-1}, 1}}); }, "a negative token");
    check_throws<std::invalid_argument>([&] { step(*model, {{second, {1}, 2}}); }, "more logits than tokens");
    check_throws<std::invalid_argument>([&] { step(*model, {{first, {1}, 1}, {first, {2}, 1}}); }, "a sequence twice");
    check_throws<std::invalid_argument>([&] { step(*model, {{second, std::vector<int32_t>(701, 1), 1}}); },
                                        "beyond the context");
    check_throws<std::out_of_range>([&] { step(*model, {{first, {1}, 1}, {99, {1}, 1}}); }, "an unknown sequence");
    check(
        model->cache().bytes_held() == held && model->cache().length(first) == 30 && model->cache().length(second) == 0,
        "all is as it was");
    const std::vector<float> rest = step(*model, {{first, {sequence.begin() + 30, sequence.end()}, 10}});
    check(is_same(rest, {expected.end() - 10 * 77, expected.end()}), "and goes on as it would have");
}

// Sequences that share pages, and a chunk of several blocks: it ends before the first layer is done, between the
// first 512 tokens and the rest, in the last layer.
void test_a_step_that_is_ended_early_changes_nothing() {
    struct Ended {};
    const Shape shape = odd_shape();
    const auto model = random_model(shape, {WeightKind::Q8, CacheKind::Q8, 2});
    Random random(8);
    const std::vector<int32_t> sequence = random_text(random, shape, 660);
    const std::vector<float> expected = alone(*model, sequence);
    const int64_t first = model->cache().open({});
    step(*model, {{first, {sequence.begin(), sequence.begin() + 40}, 0}});
    const int64_t second = model->cache().fork(first);
    const size_t held = model->cache().bytes_held();
    const std::vector<Chunk> chunks = {{second, {5, 6}, 1}, {first, {sequence.begin() + 40, sequence.end()}, 620}};
    std::vector<float> logits(size_t{621} * 77);
    for (const int calls : {1, 3, 4, 6}) {
        int left = calls;
        const auto pause = [&] {
            if (--left == 0) throw Ended();
        };
        check_throws<Ended>([&] { model->step(chunks, logits.data(), pause); }, "ended");
        check(model->cache().length(first) == 40 && model->cache().length(second) == 40,
              "both sequences are as long as before");
        check(model->cache().bytes_held() <= held + held / 2, "no more than a page of its own is held");
    }
    model->step(chunks, logits.data());
    check(is_same({logits.begin() + 77, logits.end()}, {expected.begin() + 40 * 77, expected.end()}),
          "and the step gives what it would have");
}

void test_texts_of_the_long_kind_turn_by_other_angles_and_share_nothing() {
    Shape shape = odd_shape(), slow = shape;
    for (const float frequency : shape.ropes[0].frequencies) shape.ropes[0].long_frequencies.push_back(frequency / 3);
    slow.ropes[0].frequencies = shape.ropes[0].long_frequencies;
    const auto both = random_model(shape, {}), only_long = random_model(slow, {});
    Random random(12);
    const std::vector<int32_t> sequence = random_text(random, shape, 150);
    const std::vector<float> expected_short = alone(*both, sequence), expected_long = alone(*only_long, sequence);
    check(!is_same(expected_short, expected_long), "the angles matter");
    for (int again = 0; again < 2; ++again) {
        for (const bool is_long : {true, false}) {
            const int64_t id = both->cache().open(sequence, {is_long, 0});
            const int reused = both->cache().length(id);
            check(reused == (again == 0 && is_long ? 0 : 128), "only sequences of the same kind share pages");
            const std::vector<float> rest =
                step(*both, {{id, {sequence.begin() + reused, sequence.end()}, 150 - reused}});
            const std::vector<float>& expected = is_long ? expected_long : expected_short;
            check(is_same(rest, {expected.begin() + reused * 77, expected.end()}), "the logits of its kind");
            both->cache().close(id);
        }
    }
}

void test_adapters_share_the_weights_and_no_pages() {
    const auto model = random_model(odd_shape(), {}), plain = random_model(odd_shape(), {});
    const size_t weight_bytes = model->weight_bytes();
    add_adapter(*model, 5, 3), add_adapter(*model, 6, 8);
    check(model->weight_bytes() == weight_bytes && model->adapter_bytes() > 0, "weights are there once");
    Random random(13);
    const std::vector<int32_t> sequence = random_text(random, model->shape(), 150);
    check(is_same(alone(*model, sequence), alone(*plain, sequence)), "without an adapter nothing changes");
    check(!is_same(alone(*model, sequence, 1), alone(*model, sequence)), "an adapter changes the logits");
    check(!is_same(alone(*model, sequence, 1), alone(*model, sequence, 2)), "each by itself");
    for (int again = 0; again < 2; ++again) {
        for (const int adapter : {0, 1, 2}) {
            const int64_t id = model->open_cache(sequence, {false, adapter});
            const int reused = model->cache().length(id);
            check(reused == 128, "the pages of its own text");
            model->cache().close(id);
        }
    }
    const std::vector<int32_t> other = random_text(random, model->shape(), 150);
    alone(*model, other, 1);
    for (const auto& [adapter, expected] : {std::pair{0, 0}, {2, 0}, {1, 128}}) {
        check(model->cache().length(model->open_cache(other, {false, adapter})) == expected, "pages of one adapter");
    }
}

void test_adapters_that_do_not_fit_are_refused() {
    const auto refuses = [](Model& model, int adapter, const char* name, const ChangeValues& values) {
        check_throws<std::invalid_argument>([&] { model.load_adapter(adapter, name, values); }, name);
    };
    const auto model = random_model(odd_shape(), {}), tied = random_model(plain_shape(), {});
    check(model->add_adapter() == 1 && tied->add_adapter() == 1, "the first adapter has the number 1");
    ChangeValues offset, scaled, low_rank;
    offset.offset.resize(40), scaled.input_factor.resize(40);
    low_rank.rank = 2, low_rank.down.resize(80), low_rank.up.resize(79);
    refuses(*model, 0, "layers.0.attention.o_proj.weight", offset);
    refuses(*model, 2, "layers.0.attention.o_proj.weight", offset);
    refuses(*model, 1, "layers.3.attention.o_proj.weight", offset);
    refuses(*model, 1, "layers.0.attention.q_proj.weight", offset);
    refuses(*model, 1, "layers.0.attention.q_proj.weight", scaled);
    refuses(*model, 1, "layers.0.attention.q_proj.weight", low_rank);
    refuses(*model, 1, "embedding.weight", {});
    refuses(*tied, 1, "embedding.weight", {});
    refuses(*tied, 1, "position_embedding.weight", {});
    const auto mixture = random_model(mixture_shape(), {});
    mixture->add_adapter();
    for (int layer = 0; layer < mixture->shape().num_layers; ++layer) {
        if (!mixture->shape().has_experts(layer)) continue;
        const std::string mlp = "layers." + std::to_string(layer) + ".mlp.";
        refuses(*mixture, 1, (mlp + "router.weight").c_str(), {});
        refuses(*mixture, 1, (mlp + "experts.0.up_proj.weight").c_str(), {});
    }
    tied->load_adapter(1, "output_head.weight", {});
    check_throws<std::invalid_argument>([&] { model->open_cache({}, {false, 2}); }, "an adapter that is none");
}

void test_a_shape_that_is_none_is_refused() {
    const auto refuses = [](void (*change)(Shape&), const char* what) {
        Shape shape = odd_shape();
        change(shape);
        check_throws<std::invalid_argument>([&] { random_model(shape, {}); }, what);
    };
    refuses([](Shape& shape) { shape.num_kv_heads = 0; }, "no key-value heads");
    refuses([](Shape& shape) { shape.num_kv_heads = 4; }, "heads that cannot be shared out");
    refuses([](Shape& shape) { shape.num_heads = shape.num_kv_heads = shape.head_dim = 1 << 16; }, "too wide heads");
    refuses([](Shape& shape) { shape.position_offset = 0x7fffffff; }, "positions beyond all numbers");
    refuses([](Shape& shape) { shape.num_layers = -1; }, "fewer than no layers");
    refuses([](Shape& shape) { shape.layer_windows.pop_back(); }, "a layer without a window");
    refuses([](Shape& shape) { shape.layer_windows[0] = -1; }, "a window below 0");
    refuses([](Shape& shape) { shape.layer_ropes[2] = 1; }, "an unknown rope");
    refuses([](Shape& shape) { shape.ropes[0].frequencies.resize(7); }, "a rope wider than a head");
    refuses([](Shape& shape) { shape.ropes[0].long_frequencies.resize(4); }, "two kinds of different widths");
    refuses([](Shape& shape) { shape.experts.layers = {1}; }, "no experts in a layer that has them");
    refuses([](Shape& shape) { shape.experts = {4, 5, 8, false, 0, false, {1}}; },
            "more experts for a token than there are");
    refuses([](Shape& shape) { shape.experts = {4, 2, 8, false, 0, false, {3}}; },
            "experts in a layer that is not there");
}

void test_a_model_without_all_its_weights_does_not_run() {
    Model model(odd_shape(), CacheKind::F32, kPlenty, 1, *runnable_kernels().back());
    const int64_t id = model.cache().open({});
    check_throws<std::invalid_argument>([&] { step(model, {{id, {1}, 1}}); }, "no weights");
    check(model.cache().length(id) == 0, "nothing has grown");
}

void test_weights_that_the_shape_does_not_have_are_refused() {
    const auto model = random_model(plain_shape(), {});
    const std::vector<float> values(64 * 64);
    const uint8_t* bytes = reinterpret_cast<const uint8_t*>(values.data());
    check_throws<std::invalid_argument>([&] { model->make_matrix("layers.0.mlp.gate_proj.weight", WeightKind::F32); },
                                        "no gate");
    check_throws<std::invalid_argument>(
        [&] { model->make_matrix("layers.0.mlp.experts.0.up_proj.weight", WeightKind::F32); }, "no experts");
    check_throws<std::invalid_argument>([&] { model->load_vector("layers.2.mlp_norm.weight", values.data(), 64); },
                                        "no third layer");
    check_throws<std::invalid_argument>([&] { model->load_vector("final_norm.weight", values.data(), 63); },
                                        "a vector of another size");
    for (const int first : {-1, 1, 64}) {
        check_throws<std::invalid_argument>(
            [&] { model->load_rows({{"embedding.weight", first, 64, Encoding::F32, bytes, 64 * 64 * 4}}); },
            "rows beyond the matrix");
    }
    check_throws<std::invalid_argument>(
        [&] { model->load_rows({{"embedding.weight", 0, 64, Encoding::F32, bytes, 64 * 64 * 4 - 4}}); },
        "too few bytes");
    check_throws<std::invalid_argument>([&] { choose_kernels("mmx"); }, "an unknown instruction set");
}

}  // namespace

int main() {
    test_logits_are_the_same_on_every_machine();
    for (const WeightKind weights : {WeightKind::F32, WeightKind::Q8}) {
        test_a_gate_beside_its_values_or_apart_gives_the_same_bits(odd_shape(), weights);
        test_a_gate_beside_its_values_or_apart_gives_the_same_bits(mixture_shape(), weights);
    }
    test_long_texts_are_the_same_in_pieces();
    test_scores_are_those_of_the_logits();
    for (const Kernels* kernels : all_kernels()) {
        for (const WeightKind weights : {WeightKind::F32, WeightKind::BF16, WeightKind::Q8}) {
            test_what_attends_to_a_broken_position_is_broken_and_nothing_else(weights, kernels, 41, NAN);
            test_what_attends_to_a_broken_position_is_broken_and_nothing_else(weights, kernels, 128, HUGE_VALF);
            test_a_broken_norm_breaks_all_logits(odd_shape(), weights, kernels);
            test_a_broken_norm_breaks_all_logits(mixture_shape(), weights, kernels);
            if (weights != WeightKind::Q8) continue;
            for (const Activation activation :
                 {Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Relu2, Activation::Silu}) {
                Shape shape = odd_shape();
                shape.activation = activation, shape.is_gated = false;
                test_a_broken_norm_breaks_all_logits(shape, weights, kernels);
            }
        }
    }
    test_a_refused_step_changes_nothing();
    test_a_step_that_is_ended_early_changes_nothing();
    test_texts_of_the_long_kind_turn_by_other_angles_and_share_nothing();
    test_adapters_share_the_weights_and_no_pages();
    test_adapters_that_do_not_fit_are_refused();
    test_a_shape_that_is_none_is_refused();
    test_a_model_without_all_its_weights_does_not_run();
    test_weights_that_the_shape_does_not_have_are_refused();
    return report("model");
}
