// Rows packed in threads of their own: the same bytes as by one thread, also where the caller takes part, and an early
// end.

#include "packing.h"

#include <chrono>
#include <memory>

#include "check.h"

using namespace nextword;

namespace {

constexpr int kVocabulary = 4096, kHidden = 64;
const char* const kName = "embedding.weight";

Shape shape() {
    Shape shape;
    shape.vocab_size = kVocabulary, shape.hidden_size = kHidden, shape.intermediate_size = 32;
    shape.num_layers = 0, shape.num_heads = 1, shape.num_kv_heads = 1, shape.head_dim = 64;
    shape.max_seq_len = 8, shape.is_tied = true;
    return shape;
}

// The embedding in parts of 32 rows.
std::vector<EncodedRows> parts_of(const std::vector<float>& values) {
    std::vector<EncodedRows> parts;
    constexpr size_t size = kPanelRows * kHidden * sizeof(float);
    for (int row = 0; row < kVocabulary; row += kPanelRows) {
        const float* rows = values.data() + static_cast<size_t>(row) * kHidden;
        parts.push_back({kName, row, kPanelRows, Encoding::F32, reinterpret_cast<const uint8_t*>(rows), size});
    }
    return parts;
}

struct Packed {
    explicit Packed(WeightKind kind) : weights(shape()) { weights.make_matrix(kName, kind); }
    bool has_same_bytes(const Packed& other) const {
        const Matrix &one = weights.embedding.matrix, &two = other.weights.embedding.matrix;
        return one.bytes.size() == two.bytes.size() &&
               std::memcmp(one.bytes.data(), two.bytes.data(), one.bytes.size()) == 0;
    }
    Weights weights;
};

void test_any_threads_pack_the_same_bytes() {
    const std::vector<float> values = Random(1).numbers(static_cast<size_t>(kVocabulary) * kHidden);
    Packed expected(WeightKind::Q8);
    for (const EncodedRows& part : parts_of(values)) expected.weights.pack(part, portable_kernels());
    for (const int num_threads : {1, 2, 3, 8}) {
        Packed packed(WeightKind::Q8);
        Packing packing(packed.weights, parts_of(values), portable_kernels(), num_threads);
        while (!packing.run(std::chrono::microseconds(50))) {
        }
        check(packing.num_packed() == kVocabulary / kPanelRows, "all parts are counted");
        check(packed.has_same_bytes(expected), std::to_string(num_threads) + " threads");
        check(packing.run({}), "it is at the end, also when asked again");
    }
}

void test_a_number_beyond_the_range_is_thrown_to_the_caller() {
    std::vector<float> values(static_cast<size_t>(kVocabulary) * kHidden);
    values[kHidden * 1000] = 1e30f;
    for (const int num_threads : {1, 3}) {
        Packed packed(WeightKind::F16);
        Packing packing(packed.weights, parts_of(values), portable_kernels(), num_threads);
        check_throws<std::overflow_error>(
            [&] {
                while (!packing.run(std::chrono::seconds(1))) {
                }
            },
            "a number that float16 does not have");
    }
}

void test_it_can_end_early() {
    const std::vector<float> values = Random(2).numbers(static_cast<size_t>(kVocabulary) * kHidden);
    for (const int num_threads : {1, 3}) {
        Packed packed(WeightKind::Q4Min);
        Packing packing(packed.weights, parts_of(values), portable_kernels(), num_threads);
        packing.stop();
        const size_t num_packed = packing.num_packed();
        check(num_packed == kVocabulary / kPanelRows || !packing.run(std::chrono::milliseconds(1)), "no end");
        check(packing.num_packed() == num_packed, "nothing is packed after it");
        packing.stop();  // once more
    }
    Packed packed(WeightKind::Q4Min);
    Packing unfinished(packed.weights, parts_of(values), portable_kernels(), 3);
}

void test_rows_that_do_not_fit_are_refused() {
    const std::vector<float> values(static_cast<size_t>(kVocabulary) * kHidden);
    Packed packed(WeightKind::F32);
    std::vector<EncodedRows> parts = parts_of(values);
    parts.back().first_row += kPanelRows;
    check_throws<std::invalid_argument>([&] { Packing(packed.weights, parts, portable_kernels(), 2); }, "past the end");
    check(Packing(packed.weights, {}, portable_kernels(), 2).run({}), "nothing is packed at once");
}

}  // namespace

int main() {
    test_any_threads_pack_the_same_bytes();
    test_a_number_beyond_the_range_is_thrown_to_the_caller();
    test_it_can_end_early();
    test_rows_that_do_not_fit_are_refused();
    return report("packing");
}
