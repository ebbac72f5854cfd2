// A sequence's logits have the same bits in every batch, chunking, number of threads and instruction set.
//   test_schedules floats|integers

#include <algorithm>
#include <memory>
#include <string>

#include "all_kernels.h"
#include "check.h"
#include "random_model.h"

using namespace nextword;

namespace {

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
    const Kernels* best = runnable_kernels().back();
    std::vector<std::pair<const Kernels*, int>> settings = {{best, 1}, {best, 2}, {best, 3}, {best, 5}};
    for (const Kernels* kernels : all_kernels()) {
        if (kernels != best) settings.emplace_back(kernels, 3);
    }
    uint64_t seed = 1;
    for (const auto& [kernels, num_threads] : settings) {
        const auto model = with_adapters(random_model(shape, {weights, cache, num_threads, kernels}));
        check_random_schedule(*model, *reference, seed++);
    }
}

}  // namespace

int main(int argc, char** argv) {
    const std::string which = argc == 2 ? argv[1] : "";
    if (which == "floats") {
        for (const WeightKind weights : {WeightKind::F32, WeightKind::F16, WeightKind::BF16}) {
            test_no_schedule_changes_a_bit(odd_shape(), weights, cache_for(weights));
            test_no_schedule_changes_a_bit(mixture_shape(), weights, cache_for(weights));
        }
    } else if (which == "integers") {
        for (const WeightKind weights : {WeightKind::Q8, WeightKind::Q4Min}) {
            test_no_schedule_changes_a_bit(odd_shape(), weights, CacheKind::Q8);
            test_no_schedule_changes_a_bit(mixture_shape(), weights, CacheKind::Q8);
        }
        test_no_schedule_changes_a_bit(plain_shape(), WeightKind::Q8, CacheKind::Q8);
        test_no_schedule_changes_a_bit(plain_shape(), WeightKind::Q8, CacheKind::F32);
    } else {
        check(false, "one argument: floats or integers, the models' weights");
    }
    return report(("schedules of " + which).c_str());
}
