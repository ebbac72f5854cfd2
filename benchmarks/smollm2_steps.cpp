// Steps of a model of SmolLM2-135M's shape, one thread, between calls of sched_yield: its prompt, then one token.
//   smollm2_steps ISA KIND TOKENS      KIND: f32, f16, bf16, q8, q4, q4min, q4k or q6k; the last two 768 wide, not 576,
//                                      since their blocks are of 256 columns

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "half.h"
#include "model.h"

using namespace nextword;

namespace {

Shape smollm2_shape(int num_kv_heads) {
    Shape shape;
    shape.vocab_size = 49152, shape.hidden_size = 192 * num_kv_heads, shape.intermediate_size = 1536;
    shape.num_layers = 30, shape.num_heads = 3 * num_kv_heads, shape.num_kv_heads = num_kv_heads, shape.head_dim = 64;
    shape.max_seq_len = 2048, shape.norm_eps = 1e-5f, shape.attention_scale = 0.125f, shape.is_tied = true;
    Rope rope;
    for (int pair = 0; pair < 32; ++pair) {
        rope.frequencies.push_back(std::pow(100000.0f, -static_cast<float>(pair) / 32.0f));
    }
    shape.ropes = {rope};
    shape.layer_ropes.assign(30, 0), shape.layer_windows.assign(30, 0);
    return shape;
}

struct Kind {
    const char* name;
    WeightKind weights;
    Encoding encoding;
    CacheKind cache;
    int num_kv_heads = 3;
};

constexpr Kind kKinds[] = {{"f32", WeightKind::F32, Encoding::F32, CacheKind::F32},
                           {"f16", WeightKind::F16, Encoding::F16, CacheKind::F32},
                           {"bf16", WeightKind::BF16, Encoding::BF16, CacheKind::BF16},
                           {"q8", WeightKind::Q8, Encoding::Q8_0, CacheKind::Q8},
                           {"q4", WeightKind::Q4, Encoding::Q4_0, CacheKind::Q8},
                           {"q4min", WeightKind::Q4Min, Encoding::Q4_1, CacheKind::Q8},
                           {"q4k", WeightKind::Q4K, Encoding::Q4_K, CacheKind::Q8, 4},
                           {"q6k", WeightKind::Q6K, Encoding::Q6_K, CacheKind::Q8, 4}};

// Any weights do: the values decide nothing.
void load_matrix(Model& model, const Kind& kind, const std::string& name, int rows, int columns) {
    std::vector<uint8_t> bytes(row_bytes(kind.encoding, columns) * rows);
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 7 % 16);
    model.make_matrix(name, kind.weights);
    model.load_rows({{name, 0, rows, kind.encoding, bytes.data(), bytes.size()}});
}

void load_norm(Model& model, const std::string& name) {
    const std::vector<float> ones(model.shape().hidden_size, 1.0f);
    model.load_vector(name, ones.data(), ones.size());
}

void load(Model& model, const Kind& kind) {
    const int hidden = model.shape().hidden_size, keys = hidden / 3;
    load_matrix(model, kind, "embedding.weight", 49152, hidden);
    for (int layer = 0; layer < 30; ++layer) {
        const std::string name = "layers." + std::to_string(layer) + ".";
        load_norm(model, name + "attention_norm.weight"), load_norm(model, name + "mlp_norm.weight");
        load_matrix(model, kind, name + "attention.q_proj.weight", hidden, hidden);
        load_matrix(model, kind, name + "attention.k_proj.weight", keys, hidden);
        load_matrix(model, kind, name + "attention.v_proj.weight", keys, hidden);
        load_matrix(model, kind, name + "attention.o_proj.weight", hidden, hidden);
        load_matrix(model, kind, name + "mlp.gate_proj.weight", 1536, hidden);
        load_matrix(model, kind, name + "mlp.up_proj.weight", 1536, hidden);
        load_matrix(model, kind, name + "mlp.down_proj.weight", hidden, 1536);
    }
    load_norm(model, "final_norm.weight");
}

void run(const char* isa, const Kind& kind, int num_tokens) {
    Model model(smollm2_shape(kind.num_kv_heads), kind.cache, size_t{1} << 30, 1, choose_kernels(isa));
    load(model, kind);
    std::vector<float> logits(49152);
    const int64_t id = model.cache().open({});
    const auto step = [&](int count) {
        std::this_thread::yield();
        model.step({{id, std::vector<int32_t>(count, 1), 1}}, logits.data());
        std::this_thread::yield();
    };
    step(num_tokens), step(1);
}

}  // namespace

int main(int argc, char** argv) {
    for (const Kind& kind : kKinds) {
        if (argc == 4 && kind.name == std::string(argv[2])) return run(argv[1], kind, std::atoi(argv[3])), 0;
    }
    std::fprintf(stderr, "smollm2_steps ISA KIND TOKENS\n");
    return 2;
}
