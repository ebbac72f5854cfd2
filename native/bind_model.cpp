// Python bindings of `Model`, its shape and its weights.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <tuple>

#include "arrays.h"
#include "errors.h"
#include "locked_model.h"

namespace nextword {
namespace {

using Ids = std::vector<int32_t>;
// Name of the matrix, first row, how many, what they hold, and whether they lie in a file that is only read.
using RowsGiven = std::tuple<std::string, int, int, Encoding, Bytes, bool>;

// `Packing`, with the arrays that hold the rows.
class PackingOfArrays {
public:
    PackingOfArrays(LockedModel& model, std::vector<RowsGiven> given) : given_(std::move(given)) {
        std::vector<EncodedRows> parts;
        for (const auto& [name, first_row, num_rows, encoding, rows, is_mapped] : given_) {
            parts.push_back({name, first_row, num_rows, encoding, rows.data(), rows.size(), is_mapped});
        }
        packing_ = model.unlocked().pack(std::move(parts));
    }

    bool run(double seconds) {
        const GilRelease release;
        return packing_->run(std::chrono::duration_cast<Packing::Duration>(std::chrono::duration<double>(seconds)));
    }

    void close() {
        packing_->stop();
        given_.clear();
    }
    size_t num_packed() const { return packing_->num_packed(); }

private:
    std::vector<RowsGiven> given_;
    std::unique_ptr<Packing> packing_;
};

size_t num_logits(const std::vector<Chunk>& chunks) {
    size_t count = 0;
    for (const Chunk& chunk : chunks) count += static_cast<size_t>(chunk.num_logits);
    return count;
}

void step(LockedModel& self, const std::vector<Chunk>& chunks, const Array<float, 2>& logits) {
    const size_t width = static_cast<size_t>(self.unlocked().shape().vocab_size);
    if (logits.shape(0) != num_logits(chunks) || logits.shape(1) != width) {
        throw nb::value_error("logits has another shape than (num_logits of all chunks, vocab_size)");
    }
    self.with([&](Model& model) { model.step(chunks, logits.data(), InterruptCheck()); });
}

// The scores as columns: negative log-likelihoods in nats, entropies, ranks, and the most probable tokens.
void score(LockedModel& self, const std::vector<Chunk>& chunks, const Ids& targets, const Array<double, 1>& nats,
           const Array<double, 1>& entropies, const Array<int32_t, 1>& ranks, const Array<int32_t, 1>& largest) {
    const size_t num_rows = num_logits(chunks);
    const int32_t width = self.unlocked().shape().vocab_size;
    for (const int32_t target : targets) {
        if (target < 0 || target >= width) throw nb::value_error("a target is not in the vocabulary");
    }
    const std::array<size_t, 5> sizes{targets.size(), nats.size(), entropies.size(), ranks.size(), largest.size()};
    if (std::count(sizes.begin(), sizes.end(), num_rows) != 5) {
        throw nb::value_error("targets and scores need one entry for each row of logits");
    }
    self.with([&](Model& model) {
        std::vector<TokenScore> scores(num_rows);
        model.score(chunks, targets.data(), scores.data(), InterruptCheck());
        for (size_t i = 0; i < num_rows; ++i) {
            nats.data()[i] = scores[i].nats, entropies.data()[i] = scores[i].entropy;
            ranks.data()[i] = scores[i].rank, largest.data()[i] = scores[i].largest;
        }
    });
}

void make_matrix(LockedModel& self, const std::string& name, WeightKind kind) {
    self.with([&](Model& model) { model.make_matrix(name, kind); });
}

void load_vector(LockedModel& self, const std::string& name, const Floats& values) {
    self.with([&](Model& model) { model.load_vector(name, values.data(), values.size()); });
}

// work(cache) without the GIL.
template <class Work>
auto with_cache(LockedModel& self, const Work& work) {
    return self.with([&](Model& model) { return work(model.cache()); });
}

// Values of one layer, row by row, and empty where there are none.
void load_adapter(LockedModel& self, int adapter, const std::string& name, int rank, const Floats& down,
                  const Floats& up, const Floats& input_factor, const Floats& factor, const Floats& offset) {
    const auto copy = [](const Floats& values) {
        return std::vector<float>(values.data(), values.data() + values.size());
    };
    self.with([&](Model& model) {
        model.load_adapter(adapter, name, {rank, copy(down), copy(up), copy(input_factor), copy(factor), copy(offset)});
    });
}

int64_t open_cache(LockedModel& self, const Ids& prompt, bool is_long, int adapter) {
    return self.with([&](Model& model) { return model.open_cache(prompt, {is_long, adapter}); });
}

int64_t fork_cache(LockedModel& self, int64_t id) {
    return with_cache(self, [&](KVCache& cache) { return cache.fork(id); });
}

void close_cache(LockedModel& self, int64_t id) {
    with_cache(self, [&](KVCache& cache) { cache.close(id); });
}

void truncate_cache(LockedModel& self, int64_t id, int length) {
    with_cache(self, [&](KVCache& cache) { cache.truncate(id, length); });
}

int cache_length(LockedModel& self, int64_t id) {
    return with_cache(self, [&](KVCache& cache) { return cache.length(id); });
}

size_t cache_bytes_held(LockedModel& self) {
    return with_cache(self, [](KVCache& cache) { return cache.bytes_held(); });
}

void bind_weight_enums(nb::module_& m) {
    nb::enum_<WeightKind>(m, "WeightKind")
        .value("F32", WeightKind::F32)
        .value("F16", WeightKind::F16)
        .value("BF16", WeightKind::BF16)
        .value("Q8", WeightKind::Q8)
        .value("Q4", WeightKind::Q4)
        .value("Q4_MIN", WeightKind::Q4Min)
        .value("Q5", WeightKind::Q5)
        .value("Q5_MIN", WeightKind::Q5Min)
        .value("IQ4", WeightKind::IQ4)
        .value("Q2_K", WeightKind::Q2K)
        .value("Q3_K", WeightKind::Q3K)
        .value("Q4_K", WeightKind::Q4K)
        .value("Q5_K", WeightKind::Q5K)
        .value("Q6_K", WeightKind::Q6K)
        .value("IQ4_XS", WeightKind::IQ4XS);
    nb::enum_<Encoding>(m, "Encoding")
        .value("F32", Encoding::F32)
        .value("F16", Encoding::F16)
        .value("BF16", Encoding::BF16)
        .value("Q8_0", Encoding::Q8_0)
        .value("Q4_0", Encoding::Q4_0)
        .value("Q4_1", Encoding::Q4_1)
        .value("Q5_0", Encoding::Q5_0)
        .value("Q5_1", Encoding::Q5_1)
        .value("IQ4_NL", Encoding::IQ4_NL)
        .value("Q2_K", Encoding::Q2_K)
        .value("Q3_K", Encoding::Q3_K)
        .value("Q4_K", Encoding::Q4_K)
        .value("Q5_K", Encoding::Q5_K)
        .value("Q6_K", Encoding::Q6_K)
        .value("IQ4_XS", Encoding::IQ4_XS);
}

void bind_enums(nb::module_& m) {
    nb::enum_<CacheKind>(m, "CacheKind")
        .value("F32", CacheKind::F32)
        .value("BF16", CacheKind::BF16)
        .value("Q8", CacheKind::Q8);
    nb::enum_<QKNorm>(m, "QKNorm")
        .value("NONE", QKNorm::None)
        .value("PER_HEAD", QKNorm::PerHead)
        .value("ALL_HEADS", QKNorm::AllHeads);
    nb::enum_<Activation>(m, "Activation")
        .value("SILU", Activation::Silu)
        .value("GELU", Activation::Gelu)
        .value("GELU_TANH", Activation::GeluTanh)
        .value("RELU", Activation::Relu)
        .value("RELU2", Activation::Relu2);
}

void bind_parts_of_shape(nb::module_& m) {
    nb::class_<Rope>(m, "Rope")
        .def(nb::init<>())
        .def_rw("frequencies", &Rope::frequencies)
        .def_rw("long_frequencies", &Rope::long_frequencies)
        .def_rw("factor", &Rope::factor);
    nb::class_<Experts>(m, "Experts")
        .def(nb::init<>())
        .def_rw("count", &Experts::count)
        .def_rw("per_token", &Experts::per_token)
        .def_rw("intermediate_size", &Experts::intermediate_size)
        .def_rw("is_normalized", &Experts::is_normalized)
        .def_rw("shared_size", &Experts::shared_size)
        .def_rw("has_shared_gate", &Experts::has_shared_gate)
        .def_rw("layers", &Experts::layers);
}

void bind_shape(nb::module_& m) {
    nb::class_<Shape>(m, "Shape")
        .def(nb::init<>())
        .def_rw("vocab_size", &Shape::vocab_size)
        .def_rw("hidden_size", &Shape::hidden_size)
        .def_rw("intermediate_size", &Shape::intermediate_size)
        .def_rw("num_layers", &Shape::num_layers)
        .def_rw("num_heads", &Shape::num_heads)
        .def_rw("num_kv_heads", &Shape::num_kv_heads)
        .def_rw("head_dim", &Shape::head_dim)
        .def_rw("max_seq_len", &Shape::max_seq_len)
        .def_rw("is_layer_norm", &Shape::is_layer_norm)
        .def_rw("norm_eps", &Shape::norm_eps)
        .def_rw("norm_weight", &Shape::norm_weight)
        .def_rw("norm_bias", &Shape::norm_bias)
        .def_rw("has_pre_norm", &Shape::has_pre_norm)
        .def_rw("has_post_norm", &Shape::has_post_norm)
        .def_rw("qk_norm", &Shape::qk_norm)
        .def_rw("activation", &Shape::activation)
        .def_rw("is_gated", &Shape::is_gated)
        .def_rw("is_parallel", &Shape::is_parallel)
        .def_rw("is_norm_shared", &Shape::is_norm_shared)
        .def_rw("is_tied", &Shape::is_tied)
        .def_rw("has_position_embedding", &Shape::has_position_embedding)
        .def_rw("position_offset", &Shape::position_offset)
        .def_rw("qkv_clip", &Shape::qkv_clip)
        .def_rw("attention_scale", &Shape::attention_scale)
        .def_rw("attention_soft_cap", &Shape::attention_soft_cap)
        .def_rw("logit_soft_cap", &Shape::logit_soft_cap)
        .def_rw("embedding_scale", &Shape::embedding_scale)
        .def_rw("residual_scale", &Shape::residual_scale)
        .def_rw("logit_scale", &Shape::logit_scale)
        .def_rw("ropes", &Shape::ropes)
        .def_rw("layer_ropes", &Shape::layer_ropes)
        .def_rw("layer_windows", &Shape::layer_windows)
        .def_rw("experts", &Shape::experts);
}

void bind_chunk(nb::module_& m) {
    const auto init = [](Chunk* self, int64_t cache_id, Ids token_ids, int num_logits, int num_drafted) {
        new (self) Chunk{cache_id, std::move(token_ids), num_logits, num_drafted};
    };
    nb::class_<Chunk>(m, "Chunk")
        .def("__init__", init, nb::arg("cache_id"), nb::arg("token_ids"), nb::arg("num_logits"),
             nb::arg("num_drafted") = 0);
}

}  // namespace

void bind_model(nb::module_& m) {
    bind_weight_enums(m);
    bind_enums(m);
    bind_parts_of_shape(m);
    bind_shape(m);
    bind_chunk(m);
    nb::class_<LockedModel>(m, "Model")
        .def(nb::init<Shape, CacheKind, size_t, int, const std::string&>(), nb::arg("shape"), nb::arg("cache_kind"),
             nb::arg("max_cache_bytes"), nb::arg("num_threads"), nb::arg("isa"))
        .def("make_matrix", &make_matrix)
        .def("load_vector", &load_vector)
        .def("step", &step, nb::arg("chunks"), nb::arg("logits").noconvert())
        .def("score", &score, nb::arg("chunks"), nb::arg("targets"), nb::arg("nats").noconvert(),
             nb::arg("entropies").noconvert(), nb::arg("ranks").noconvert(), nb::arg("largest").noconvert())
        .def("add_adapter",
             [](LockedModel& self) { return self.with([](Model& model) { return model.add_adapter(); }); })
        .def("load_adapter", &load_adapter, nb::arg("adapter"), nb::arg("name"), nb::arg("rank"), nb::arg("down"),
             nb::arg("up"), nb::arg("input_factor"), nb::arg("factor"), nb::arg("offset"))
        .def("open_cache", &open_cache, nb::arg("prompt"), nb::arg("is_long"), nb::arg("adapter") = 0)
        .def("fork_cache", &fork_cache)
        .def("close_cache", &close_cache)
        .def("truncate_cache", &truncate_cache)
        .def("cache_length", &cache_length)
        .def_prop_ro("max_positions", [](LockedModel& self) { return self.unlocked().cache().max_positions(); })
        .def_prop_ro("cache_bytes_held", &cache_bytes_held)
        .def_prop_ro("weight_bytes", [](LockedModel& self) { return self.unlocked().weight_bytes(); })
        .def_prop_ro("adapter_bytes", [](LockedModel& self) { return self.unlocked().adapter_bytes(); })
        .def_prop_ro("num_threads", [](LockedModel& self) { return self.unlocked().num_threads(); })
        .def_prop_ro("isa", [](LockedModel& self) { return self.unlocked().isa(); });
    nb::class_<PackingOfArrays>(m, "Packing")
        .def(nb::init<LockedModel&, std::vector<RowsGiven>>(), nb::keep_alive<1, 2>())
        .def("run", &PackingOfArrays::run)
        .def("close", &PackingOfArrays::close)
        .def_prop_ro("num_packed", &PackingOfArrays::num_packed);
}

}  // namespace nextword
