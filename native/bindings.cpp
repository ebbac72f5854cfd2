// What of Python is known here: `Model` and what it is made of, as nextword._native.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <tuple>

#include "away.h"
#include "model.h"
#include "philox.h"
#include "select.h"

namespace nb = nanobind;

namespace nextword {

void bind_training(nb::module_& m);  // in bind_training.cpp

namespace {

using Bytes = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Floats = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Logits = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Row = nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Doubles = nb::ndarray<double, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Ints = nb::ndarray<int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Positions = nb::ndarray<nb::numpy, int64_t, nb::ndim<1>>;
using Ids = std::vector<int32_t>;
// Name of the matrix, first row, how many, and what they hold.
using EncodedRows = std::tuple<std::string, int, int, Encoding, Bytes>;

struct ForkedInAStep : std::runtime_error {
    ForkedInAStep() : std::runtime_error("the model was computing when this process was forked: load it again here") {}
};

// A model behind a lock: one step at a time, without Python's lock. A forked process can go on with its copy, unless a
// thread of the other process, which it does not have, was at work on it.
class LockedModel {
public:
    LockedModel(Shape shape, CacheKind cache_kind, size_t max_cache_bytes, int num_threads, const std::string& isa)
        : model_(std::move(shape), cache_kind, max_cache_bytes, num_threads, isa) {}

    template <class Work>
    auto with(const Work& work) {
        const AwayFromPython away;
        return with_gil(work);
    }

    // For work so short that giving Python's lock away and waiting for it would take longer.
    template <class Work>
    auto with_gil(const Work& work) {
        if (users_.is_inherited()) throw ForkedInAStep();
        const User user(users_);
        const std::lock_guard<std::mutex> lock(mutex_);
        model_.restart_threads_if_forked();
        return work(model_);
    }

    Model& unlocked() { return model_; }

private:
    // Counted before it has the lock and until it has given it back: a lock that was inherited locked is never asked
    // for.
    struct User {
        ProcessCount& users;
        explicit User(ProcessCount& users) : users(users) { users.add(); }
        ~User() { users.subtract(); }
    };

    Model model_;
    std::mutex mutex_;
    ProcessCount users_;
};

void step(LockedModel& self, const std::vector<Chunk>& chunks, const Logits& logits) {
    size_t num_rows = 0;
    for (const Chunk& chunk : chunks) num_rows += static_cast<size_t>(chunk.num_logits);
    const size_t width = static_cast<size_t>(self.unlocked().shape().vocab_size);
    if (logits.shape(0) != num_rows || logits.shape(1) != width)
        throw nb::value_error("the array for the logits has another shape");
    self.with([&](Model& model) { model.step(chunks, logits.data(), Pause()); });
}

// The scores as columns: nats, entropies, ranks, and the most probable tokens.
void score(LockedModel& self, const std::vector<Chunk>& chunks, const Ids& targets, const Doubles& nats,
           const Doubles& entropies, const Ints& ranks, const Ints& largest) {
    size_t num_rows = 0;
    for (const Chunk& chunk : chunks) num_rows += static_cast<size_t>(chunk.num_logits);
    const int32_t width = self.unlocked().shape().vocab_size;
    for (const int32_t target : targets) {
        if (target < 0 || target >= width) throw nb::value_error("a target is not in the vocabulary");
    }
    const std::array<size_t, 5> sizes{targets.size(), nats.size(), entropies.size(), ranks.size(), largest.size()};
    if (std::count(sizes.begin(), sizes.end(), num_rows) != 5)
        throw nb::value_error("one target and score a row are needed");
    self.with([&](Model& model) {
        std::vector<TokenScore> scores(num_rows);
        model.score(chunks, targets.data(), scores.data(), Pause());
        for (size_t i = 0; i < num_rows; ++i) {
            nats.data()[i] = scores[i].nats, entropies.data()[i] = scores[i].entropy;
            ranks.data()[i] = scores[i].rank, largest.data()[i] = scores[i].largest;
        }
    });
}

// ---- choosing a token ----

// All instruction sets select alike: there is nothing to choose by hand.
const Kernels& best_kernels() {
    static const Kernels& kernels = choose_kernels("");
    return kernels;
}

int size_of(const Floats& row) { return static_cast<int>(row.size()); }

template <class Select>
Positions without_gil(const Select& select) {
    auto positions = [&] {
        const AwayFromPython away;
        return std::make_unique<std::vector<int64_t>>(select());
    }();
    int64_t* const first = positions->data();
    const size_t count = positions->size();
    const nb::capsule owner(positions.release(),
                            [](void* held) noexcept { delete static_cast<std::vector<int64_t>*>(held); });
    return Positions(first, {count}, owner);
}

double masses(const Floats& logits, float highest, float divisor, int bits, const Row& out) {
    if (out.size() != logits.size()) throw nb::value_error("the array for the masses has another length");
    const AwayFromPython away;
    best_kernels().masses(logits.data(), size_of(logits), highest, divisor, bits, out.data());
    return best_kernels().sum_from(out.data(), 0.0f, out.data(), size_of(logits));
}

Positions bound_largest(const Floats& keys, int64_t k) {
    return without_gil([&] { return largest(best_kernels(), keys.data(), size_of(keys), k); });
}

Positions bound_smallest_set(const Floats& keys, const Floats& masses, double wanted, double total) {
    if (masses.size() != keys.size() || keys.size() == 0)
        throw nb::value_error("as many masses as keys are needed, at least one");
    return without_gil(
        [&] { return smallest_set(best_kernels(), keys.data(), masses.data(), size_of(keys), wanted, total); });
}

int64_t bound_position_at(const Floats& masses, int64_t target) {
    const AwayFromPython away;
    return position_at(best_kernels(), masses.data(), size_of(masses), target);
}

int64_t bound_argmax(const Floats& logits) {
    if (logits.size() == 0) return -1;
    const AwayFromPython away;
    return argmax(best_kernels(), logits.data(), size_of(logits));
}

// The draw of decoding/sampler.py, with the random number of decoding/random_stream.py (where numpy's generator counts
// up before it draws).
int64_t bound_draw(const Floats& logits, float divisor, int64_t top_k, double top_p, uint64_t seed,
                   uint64_t sample_index, uint64_t position) {
    if (logits.size() == 0) return -1;
    const AwayFromPython away;
    const uint64_t number = philox({position + 1, 0, 0, 0}, {seed, sample_index})[0] >> (64 - 53);
    return draw(best_kernels(), logits.data(), size_of(logits), {divisor, top_k, top_p}, number);
}

void bind_selection(nb::module_& m) {
    m.def("masses", &masses, nb::arg("logits").noconvert(), nb::arg("highest"), nb::arg("divisor"), nb::arg("bits"),
          nb::arg("out").noconvert());
    m.def("largest", &bound_largest, nb::arg("keys").noconvert(), nb::arg("k"));
    m.def("smallest_set", &bound_smallest_set, nb::arg("keys").noconvert(), nb::arg("masses").noconvert(),
          nb::arg("wanted"), nb::arg("total"));
    m.def("argmax", &bound_argmax, nb::arg("logits").noconvert());
    m.def("draw", &bound_draw, nb::arg("logits").noconvert(), nb::arg("divisor"), nb::arg("top_k"), nb::arg("top_p"),
          nb::arg("seed"), nb::arg("sample_index"), nb::arg("position"));
    m.def("position_at", &bound_position_at, nb::arg("masses").noconvert(), nb::arg("target"));
}

// ---- reading files ----

nb::object decode(const char* text, size_t length) {
    PyObject* const decoded = PyUnicode_DecodeUTF8(text, static_cast<Py_ssize_t>(length), nullptr);
    if (decoded == nullptr) throw nb::python_error();
    return nb::steal(decoded);
}

// So many strings, each after its length in eight bytes, from a position on; and the position behind them. Throws
// ValueError for strings that go past the end and, as UnicodeDecodeError, for what is not UTF-8.
nb::tuple read_strings(const Bytes& data, size_t position, size_t count) {
    nb::list strings;
    for (size_t i = 0; i < count; ++i) {
        uint64_t length = 0;
        if (position > data.size() || data.size() - position < sizeof length)
            throw nb::value_error("a length is cut off");
        std::memcpy(&length, data.data() + position, sizeof length);
        position += sizeof length;
        if (data.size() - position < length) throw nb::value_error("a string is cut off");
        const char* const text = reinterpret_cast<const char*>(data.data() + position);
        strings.append(decode(text, length));
        position += length;
    }
    return nb::make_tuple(strings, position);
}

void bind_shape(nb::module_& m) {
    nb::class_<Rope>(m, "Rope")
        .def(nb::init<>())
        .def_rw("frequencies", &Rope::frequencies)
        .def_rw("long_frequencies", &Rope::long_frequencies)
        .def_rw("factor", &Rope::factor);
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
        .def_rw("has_pre_norm", &Shape::has_pre_norm)
        .def_rw("has_post_norm", &Shape::has_post_norm)
        .def_rw("qk_norm", &Shape::qk_norm)
        .def_rw("activation", &Shape::activation)
        .def_rw("is_gated", &Shape::is_gated)
        .def_rw("is_parallel", &Shape::is_parallel)
        .def_rw("is_tied", &Shape::is_tied)
        .def_rw("has_position_embedding", &Shape::has_position_embedding)
        .def_rw("attention_scale", &Shape::attention_scale)
        .def_rw("attention_soft_cap", &Shape::attention_soft_cap)
        .def_rw("logit_soft_cap", &Shape::logit_soft_cap)
        .def_rw("embedding_scale", &Shape::embedding_scale)
        .def_rw("ropes", &Shape::ropes)
        .def_rw("layer_ropes", &Shape::layer_ropes)
        .def_rw("layer_windows", &Shape::layer_windows);
}

// What people can do something about is an error of the package's own.
void raise_backend_error(const std::exception_ptr& thrown, void*) {
    try {
        std::rethrow_exception(thrown);
    } catch (const ForkedInAStep& error) {
        PyErr_SetString(nb::module_::import_("nextword.errors").attr("BackendError").ptr(), error.what());
    }
}

void bind_enums(nb::module_& m) {
    nb::enum_<WeightKind>(m, "WeightKind")
        .value("F32", WeightKind::F32)
        .value("BF16", WeightKind::BF16)
        .value("Q8", WeightKind::Q8)
        .value("Q4", WeightKind::Q4)
        .value("Q4_MIN", WeightKind::Q4Min);
    nb::enum_<Encoding>(m, "Encoding")
        .value("F32", Encoding::F32)
        .value("F16", Encoding::F16)
        .value("BF16", Encoding::BF16)
        .value("Q8_0", Encoding::Q8_0)
        .value("Q4_0", Encoding::Q4_0)
        .value("Q4_1", Encoding::Q4_1);
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
        .value("RELU", Activation::Relu);
}

}  // namespace

NB_MODULE(_native, m) {
    nb::set_leak_warnings(false);  // at the interpreter's end, about what a thread still uses
    wait_at_exit();
    nb::register_exception_translator(&raise_backend_error);
    bind_enums(m);
    bind_shape(m);
    bind_selection(m);
    m.def("trim_heap", &trim_heap);
    m.def("choose_isa", [](const std::string& isa) { return choose_kernels(isa.c_str()).name; });
    bind_training(m);
    m.def("read_strings", &read_strings, nb::arg("data").noconvert(), nb::arg("position"), nb::arg("count"));
    nb::class_<Chunk>(m, "Chunk")
        .def(
            "__init__",
            [](Chunk* self, int64_t cache_id, Ids token_ids, int num_logits) {
                new (self) Chunk{cache_id, std::move(token_ids), num_logits};
            },
            nb::arg("cache_id"), nb::arg("token_ids"), nb::arg("num_logits"));
    nb::class_<LockedModel>(m, "Model")
        .def(nb::init<Shape, CacheKind, size_t, int, const std::string&>(), nb::arg("shape"), nb::arg("cache_kind"),
             nb::arg("max_cache_bytes"), nb::arg("num_threads"), nb::arg("isa"))
        .def("make_matrix",
             [](LockedModel& self, const std::string& name, WeightKind kind) {
                 self.with_gil([&](Model& model) { model.make_matrix(name, kind); });
             })
        .def("load_rows",
             [](LockedModel& self, const std::vector<EncodedRows>& parts) {
                 self.with([&](Model& model) {
                     for (const auto& [name, first_row, num_rows, encoding, rows] : parts) {
                         model.load_rows(name, first_row, num_rows, encoding, rows.data(), rows.size());
                     }
                 });
             })
        .def("load_vector",
             [](LockedModel& self, const std::string& name, const Floats& values) {
                 self.with_gil([&](Model& model) { model.load_vector(name, values.data(), values.size()); });
             })
        .def("step", &step, nb::arg("chunks"), nb::arg("logits").noconvert())
        .def("score", &score, nb::arg("chunks"), nb::arg("targets"), nb::arg("nats").noconvert(),
             nb::arg("entropies").noconvert(), nb::arg("ranks").noconvert(), nb::arg("largest").noconvert())
        .def(
            "open_cache",
            [](LockedModel& self, const Ids& prompt, bool is_long) {
                return self.with([&](Model& model) { return model.cache().open(prompt, is_long); });
            },
            nb::arg("prompt"), nb::arg("is_long"))
        .def("fork_cache", [](LockedModel& self,
                              int64_t id) { return self.with([&](Model& model) { return model.cache().fork(id); }); })
        .def("close_cache",
             [](LockedModel& self, int64_t id) { self.with([&](Model& model) { model.cache().close(id); }); })
        .def("cache_length",
             [](LockedModel& self, int64_t id) {
                 return self.with([&](Model& model) { return model.cache().length(id); });
             })
        .def_prop_ro("max_positions", [](LockedModel& self) { return self.unlocked().cache().max_positions(); })
        .def_prop_ro(
            "cache_bytes_held",
            [](LockedModel& self) { return self.with([](Model& model) { return model.cache().bytes_held(); }); })
        .def_prop_ro(
            "cache_bytes_taken",
            [](LockedModel& self) { return self.with([](Model& model) { return model.cache().bytes_taken(); }); })
        .def_prop_ro("weight_bytes", [](LockedModel& self) { return self.unlocked().weight_bytes(); })
        .def_prop_ro("num_threads", [](LockedModel& self) { return self.unlocked().num_threads(); })
        .def_prop_ro("isa", [](LockedModel& self) { return self.unlocked().isa(); });
}

}  // namespace nextword
