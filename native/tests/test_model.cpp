// The whole step on small random models: a sequence's logits have the same bits in every batch, chunking, number of
// threads, instruction set and on every machine.

#include "model.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>

#include "check.h"
#include "half.h"

using namespace nextword;

namespace {

constexpr size_t kPlenty = size_t{1} << 32;

// Odd sizes everywhere: columns that fill no group, heads that fill no vector, a gate that fills no panel.
Shape odd_shape() {
    Shape shape;
    shape.vocab_size = 77, shape.hidden_size = 40, shape.intermediate_size = 84;
    shape.num_layers = 3, shape.num_heads = 6, shape.num_kv_heads = 2, shape.head_dim = 12;
    shape.max_seq_len = 700, shape.norm_eps = 1e-5f, shape.attention_scale = 0.3f;
    shape.attention_soft_cap = 4.0f, shape.logit_soft_cap = 20.0f, shape.embedding_scale = 2.0f;
    shape.qk_norm = QKNorm::PerHead, shape.has_post_norm = true;
    Rope rope;
    for (int pair = 0; pair < 5; ++pair) rope.frequencies.push_back(1.0f / static_cast<float>(1 << (2 * pair)));
    shape.ropes = {rope};
    shape.layer_ropes = {0, -1, 0};
    shape.layer_windows = {0, 50, 50};
    return shape;
}

// GPT-2's ideas: layer norms, learned positions, no gate, heads tied to the embedding.
Shape plain_shape() {
    Shape shape;
    shape.vocab_size = 64, shape.hidden_size = 64, shape.intermediate_size = 96;
    shape.num_layers = 2, shape.num_heads = 4, shape.num_kv_heads = 4, shape.head_dim = 16;
    shape.max_seq_len = 300, shape.norm_eps = 1e-5f, shape.attention_scale = 0.25f;
    shape.is_layer_norm = true, shape.is_gated = false, shape.is_tied = true, shape.is_parallel = true;
    shape.has_position_embedding = true, shape.activation = Activation::Gelu;
    shape.layer_ropes = {-1, -1}, shape.layer_windows = {0, 0};
    return shape;
}

// The odd one, with seven experts in two of its layers.
Shape mixture_shape() {
    Shape shape = odd_shape();
    shape.experts.count = 7, shape.experts.per_token = 3, shape.experts.intermediate_size = 36;
    shape.experts.layers = {0, 2}, shape.experts.shared_size = 50, shape.experts.has_shared_gate = true;
    return shape;
}

struct Setting {
    WeightKind weights = WeightKind::F32;
    CacheKind cache = CacheKind::F32;
    int num_threads = 1;
    const char* isa = "";
    size_t max_cache_bytes = kPlenty;
    bool is_parted = false;  // gates have matrices of their own
};

// What the backend chooses.
CacheKind cache_for(WeightKind weights) {
    if (weights == WeightKind::F32 || weights == WeightKind::F16) return CacheKind::F32;
    return weights == WeightKind::BF16 ? CacheKind::BF16 : CacheKind::Q8;
}

void load_matrix(Model& model, Random& random, const std::string& name, WeightKind kind, int rows, int columns) {
    const std::vector<float> values = random.numbers(static_cast<size_t>(rows) * columns);
    const uint8_t* bytes = reinterpret_cast<const uint8_t*>(values.data());
    model.make_matrix(name, name == "position_embedding.weight" ? WeightKind::F32 : kind);
    model.load_rows({{name, 0, rows, Encoding::F32, bytes, values.size() * sizeof(float)}});
}

void load_vector(Model& model, Random& random, const std::string& name, int size, float offset) {
    std::vector<float> values = random.numbers(size);
    for (float& value : values) value = offset + 0.25f * value;
    model.load_vector(name, values.data(), values.size());
}

void load_norm(Model& model, Random& random, const std::string& name, int size) {
    load_vector(model, random, name + ".weight", size, 1.0f);
    if (model.shape().is_layer_norm) load_vector(model, random, name + ".bias", size, 0.0f);
}

void load_linear(Model& model, Random& random, const std::string& name, WeightKind kind, int rows, int columns) {
    load_matrix(model, random, name + ".weight", kind, rows, columns);
    load_vector(model, random, name + ".bias", rows, 0.0f);
}

void load_mlp(Model& model, Random& random, const std::string& name, const Setting& setting, int wide) {
    const WeightKind kind = setting.weights;
    const int hidden = model.shape().hidden_size;
    if (setting.is_parted) {  // by two kinds, one after the other
        model.make_matrix(name + "gate_proj.weight", WeightKind::Q8);
        model.make_matrix(name + "up_proj.weight", WeightKind::Q4Min);
    }
    if (model.shape().is_gated) load_linear(model, random, name + "gate_proj", kind, wide, hidden);
    load_linear(model, random, name + "up_proj", kind, wide, hidden);
    load_linear(model, random, name + "down_proj", kind, hidden, wide);
}

void load_experts(Model& model, Random& random, const std::string& name, const Setting& setting) {
    const Experts& experts = model.shape().experts;
    load_linear(model, random, name + "router", WeightKind::F32, experts.count, model.shape().hidden_size);
    for (int index = 0; index < experts.count; ++index) {
        load_mlp(model, random, name + "experts." + std::to_string(index) + ".", setting, experts.intermediate_size);
    }
    if (experts.shared_size > 0) load_mlp(model, random, name + "shared_expert.", setting, experts.shared_size);
    if (experts.has_shared_gate) {
        load_linear(model, random, name + "shared_gate", WeightKind::F32, 1, model.shape().hidden_size);
    }
}

// Low-rank products, factors or offsets, each in some layers: what an adapter can change, alone and together.
void add_adapter(Model& model, uint64_t seed, int rank) {
    Random random(seed);
    const Shape& shape = model.shape();
    const int adapter = model.add_adapter(), hidden = shape.hidden_size, wide = shape.intermediate_size;
    const auto load = [&](const std::string& name, int rows, int columns, bool scales_inputs = false) {
        if (random.below(4) == 0) return;
        ChangeValues values;
        values.rank = random.below(4) == 0 ? 0 : rank;
        values.down = random.numbers(static_cast<size_t>(values.rank) * columns);
        values.up = random.numbers(static_cast<size_t>(values.rank) * rows);
        if (random.below(2) == 0) values.factor = random.numbers(rows);
        if (random.below(2) == 0) values.offset = random.numbers(rows);
        if (scales_inputs) values.input_factor = random.numbers(columns);
        model.load_adapter(adapter, name + ".weight", values);
    };
    for (int layer = 0; layer < shape.num_layers; ++layer) {
        const std::string name = "layers." + std::to_string(layer) + ".";
        load(name + "attention.q_proj", shape.query_size(), hidden);
        load(name + "attention.k_proj", shape.key_size(), hidden);
        load(name + "attention.v_proj", shape.key_size(), hidden);
        load(name + "attention.o_proj", hidden, shape.query_size());
        if (shape.has_experts(layer)) continue;
        if (shape.is_gated) load(name + "mlp.gate_proj", wide, hidden);
        load(name + "mlp.up_proj", wide, hidden);
        load(name + "mlp.down_proj", hidden, wide, random.below(2) == 0);
    }
    load("output_head", shape.vocab_size, hidden);
}

std::unique_ptr<Model> random_model(const Shape& shape, const Setting& setting) {
    auto model =
        std::make_unique<Model>(shape, setting.cache, setting.max_cache_bytes, setting.num_threads, setting.isa);
    Random random(23);
    const int hidden = shape.hidden_size;
    const int queries = shape.num_heads * shape.head_dim, keys = shape.num_kv_heads * shape.head_dim;
    load_matrix(*model, random, "embedding.weight", setting.weights, shape.vocab_size, hidden);
    if (shape.has_position_embedding)
        load_matrix(*model, random, "position_embedding.weight", WeightKind::F32, shape.max_seq_len, hidden);
    for (int layer = 0; layer < shape.num_layers; ++layer) {
        const std::string name = "layers." + std::to_string(layer) + ".";
        load_norm(*model, random, name + "attention_norm", hidden);
        load_norm(*model, random, name + "mlp_norm", hidden);
        if (shape.has_post_norm) load_norm(*model, random, name + "post_attention_norm", hidden);
        if (shape.has_post_norm) load_norm(*model, random, name + "post_mlp_norm", hidden);
        if (shape.qk_norm == QKNorm::PerHead) load_norm(*model, random, name + "attention.q_norm", shape.head_dim);
        if (shape.qk_norm == QKNorm::PerHead) load_norm(*model, random, name + "attention.k_norm", shape.head_dim);
        load_linear(*model, random, name + "attention.q_proj", setting.weights, queries, hidden);
        load_linear(*model, random, name + "attention.k_proj", setting.weights, keys, hidden);
        load_linear(*model, random, name + "attention.v_proj", setting.weights, keys, hidden);
        load_linear(*model, random, name + "attention.o_proj", setting.weights, hidden, queries);
        if (shape.has_experts(layer)) {
            load_experts(*model, random, name + "mlp.", setting);
        } else {
            load_mlp(*model, random, name + "mlp.", setting, shape.intermediate_size);
        }
    }
    load_norm(*model, random, "final_norm", hidden);
    if (!shape.is_tied) load_linear(*model, random, "output_head", setting.weights, shape.vocab_size, hidden);
    return model;
}

std::vector<int32_t> random_text(Random& random, const Shape& shape, int length) {
    std::vector<int32_t> sequence(length);
    for (int32_t& token : sequence) token = random.below(shape.vocab_size);
    return sequence;
}

std::vector<float> step(Model& model, const std::vector<Chunk>& chunks) {
    size_t num_rows = 0;
    for (const Chunk& chunk : chunks) num_rows += static_cast<size_t>(chunk.num_logits);
    std::vector<float> logits(num_rows * model.shape().vocab_size);
    model.step(chunks, logits.data());
    return logits;
}

// A whole sequence in one step, with all its logits.
std::vector<float> alone(Model& model, const std::vector<int32_t>& sequence, int adapter = 0) {
    const int64_t id = model.open_cache({}, {false, adapter});
    const std::vector<float> logits = step(model, {{id, sequence, static_cast<int>(sequence.size())}});
    model.cache().close(id);
    return logits;
}

// A sequence that is written in some step of a random schedule.
struct Writing {
    std::vector<int32_t> sequence;
    std::vector<float> expected;
    int64_t id;
    int done;
    int adapter;
};

// Sequences come, are forked, advance by chunks of all sizes in batches of all sizes, and go.
void check_random_schedule(Model& model, Model& reference, uint64_t seed) {
    Random random(seed);
    const Shape& shape = model.shape();
    const size_t vocab_size = static_cast<size_t>(shape.vocab_size);
    std::vector<Writing> open;
    for (int round = 0; round < 12; ++round) {
        while (open.empty() || (open.size() < 7 && random.below(3) == 0)) {
            std::vector<int32_t> sequence =
                random_text(random, shape, random.between(1, random.below(4) == 0 ? 290 : 60));
            // It may begin as another one does: forked from it, or opened anew and found by its tokens.
            const Writing* like =
                !open.empty() && random.below(3) != 0 ? &open[random.below(static_cast<int>(open.size()))] : nullptr;
            const bool is_fork = like != nullptr && random.below(2) == 0;
            if (like != nullptr)
                sequence.insert(sequence.begin(), like->sequence.begin(), like->sequence.begin() + like->done);
            if (static_cast<int>(sequence.size()) > shape.max_seq_len) continue;
            const int adapter = is_fork ? like->adapter : random.below(3);
            const int64_t id = is_fork ? model.cache().fork(like->id) : model.open_cache(sequence, {false, adapter});
            open.push_back({sequence, alone(reference, sequence, adapter), id, model.cache().length(id), adapter});
        }
        std::vector<Chunk> chunks;
        for (const Writing& writing : open) {
            const int left = static_cast<int>(writing.sequence.size()) - writing.done;
            if (random.below(5) == 0) continue;
            const int count = std::min(left, random.below(3) == 0 ? left : random.between(1, 9));
            const auto first = writing.sequence.begin() + writing.done;
            chunks.push_back({writing.id, {first, first + count}, random.below(count + 1)});
        }
        const std::vector<float> logits = step(model, chunks);
        size_t at = 0;
        for (const Chunk& chunk : chunks) {
            Writing& writing =
                *std::find_if(open.begin(), open.end(), [&](const Writing& one) { return one.id == chunk.cache_id; });
            writing.done += static_cast<int>(chunk.token_ids.size());
            const size_t end = static_cast<size_t>(writing.done) * vocab_size, size = chunk.num_logits * vocab_size;
            const std::vector<float> expected(writing.expected.begin() + (end - size), writing.expected.begin() + end);
            check(is_same(expected, {logits.begin() + at, logits.begin() + at + size}),
                  "a sequence in company has its own logits");
            at += size;
        }
        for (size_t i = open.size(); i-- > 0;) {
            if (open[i].done < static_cast<int>(open[i].sequence.size()) && random.below(9) != 0) continue;
            model.cache().close(open[i].id);
            open.erase(open.begin() + static_cast<std::ptrdiff_t>(i));
        }
    }
}

void test_no_schedule_changes_a_bit(const Shape& shape, WeightKind weights, CacheKind cache) {
    const auto with_adapters = [](std::unique_ptr<Model> model) {
        add_adapter(*model, 5, 3), add_adapter(*model, 6, 40);
        return model;
    };
    const auto reference = with_adapters(random_model(shape, {weights, cache}));
    std::vector<std::pair<const char*, int>> settings = {{"", 1}, {"", 2}, {"", 3}, {"", 5}};
    for (const Kernels* kernels : runnable_kernels()) {
        if (kernels != runnable_kernels().back()) settings.emplace_back(kernels->name, 3);
    }
    uint64_t seed = 1;
    for (const auto& [isa, num_threads] : settings) {
        const auto model = with_adapters(random_model(shape, {weights, cache, num_threads, isa}));
        check_random_schedule(*model, *reference, seed++);
    }
}

void test_a_gate_beside_its_values_or_apart_gives_the_same_bits(const Shape& shape, WeightKind weights) {
    const auto beside = random_model(shape, {weights, cache_for(weights), 2});
    const auto apart = random_model(shape, {weights, cache_for(weights), 2, "", kPlenty, true});
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
        const TokenScore expected = score_token(choose_kernels(""), row, width, targets[i], weights.data());
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

void test_a_refused_step_changes_nothing() {
    const Shape shape = odd_shape();
    const auto model = random_model(shape, {WeightKind::F32, CacheKind::F32, 2, "", 60'000});
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
    Model model(odd_shape(), CacheKind::F32, kPlenty, 1, "");
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
    check_throws<std::invalid_argument>(
        [&] { random_model(plain_shape(), {WeightKind::F32, CacheKind::F32, 1, "mmx"}); },
        "an unknown instruction set");
}

}  // namespace

int main() {
    test_logits_are_the_same_on_every_machine();
    for (const WeightKind weights :
         {WeightKind::F32, WeightKind::F16, WeightKind::BF16, WeightKind::Q8, WeightKind::Q4Min}) {
        test_no_schedule_changes_a_bit(odd_shape(), weights, cache_for(weights));
        test_no_schedule_changes_a_bit(mixture_shape(), weights, cache_for(weights));
    }
    test_no_schedule_changes_a_bit(plain_shape(), WeightKind::Q8, CacheKind::Q8);
    test_no_schedule_changes_a_bit(plain_shape(), WeightKind::Q8, CacheKind::F32);
    for (const WeightKind weights : {WeightKind::F32, WeightKind::Q8}) {
        test_a_gate_beside_its_values_or_apart_gives_the_same_bits(odd_shape(), weights);
        test_a_gate_beside_its_values_or_apart_gives_the_same_bits(mixture_shape(), weights);
    }
    test_long_texts_are_the_same_in_pieces();
    test_scores_are_those_of_the_logits();
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
