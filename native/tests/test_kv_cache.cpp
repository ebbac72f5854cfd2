// KVCache: sequences share what they have in common and nothing else, whatever is opened, forked, closed and evicted.

#include "kv_cache.h"

#include <algorithm>
#include <map>
#include <new>

#include "check.h"
#include "kernels.h"
#include "read_page.h"

using namespace nextword;

namespace {

constexpr size_t kPlenty = size_t{1} << 40;

CacheShape shape_of(std::vector<int> windows, size_t max_bytes = kPlenty, CacheKind kind = CacheKind::F32) {
    return {{kind, 4}, 2, std::move(windows), max_bytes};
}

std::vector<int32_t> tokens(int count, int first = 0) {
    std::vector<int32_t> ids(count);
    for (int i = 0; i < count; ++i) ids[i] = first + i;
    return ids;
}

// Bytes of a page in all layers together.
size_t page_bytes(const CacheShape& shape) {
    KVCache cache(shape);
    cache.grow(cache.open({}), {1});
    return cache.bytes_held();
}

// A cache whose every position holds numbers that follow from all tokens up to it, as a model's would.
class FilledCache {
public:
    explicit FilledCache(CacheShape shape) : shape_(shape), cache_(std::move(shape)) {}

    KVCache& cache() { return cache_; }
    std::vector<int64_t> ids() const {
        std::vector<int64_t> found;
        for (const auto& [id, sequence] : sequences_) found.push_back(id);
        return found;
    }

    int64_t open(const std::vector<int32_t>& prompt) {
        const int64_t id = cache_.open(prompt);
        sequences_[id] = {};
        for (int i = 0; i < cache_.length(id); ++i) sequences_[id].push_back(hash_of(sequences_[id], prompt[i]));
        return id;
    }
    int64_t fork(int64_t id) {
        const int64_t copy = cache_.fork(id);
        sequences_[copy] = sequences_.at(id);
        return copy;
    }
    void close(int64_t id) {
        cache_.close(id);
        sequences_.erase(id);
    }
    void append(int64_t id, const std::vector<int32_t>& token_ids, int num_tentative = 0) {
        cache_.grow(id, token_ids);
        for (const int32_t token : token_ids) {
            sequences_[id].push_back(hash_of(sequences_[id], token));
            const int position = static_cast<int>(sequences_[id].size()) - 1;
            for (int layer = 0; layer < static_cast<int>(shape_.windows.size()); ++layer) {
                for (int head = 0; head < shape_.num_kv_heads; ++head) {
                    const std::vector<float> numbers = expected(id, layer, head, position);
                    const KVCache::LayerPages pages = cache_.layer(id, layer);
                    portable_kernels().store_position(shape_.page, position % kPagePositions, numbers.data(),
                                                      numbers.data() + shape_.page.head_dim, pages.keys(head, position),
                                                      pages.values(head, position));
                }
            }
        }
        cache_.settle(id, num_tentative);
    }
    void truncate(int64_t id, int length) {
        cache_.truncate(id, length);
        sequences_[id].resize(length);
    }

    // True if every position that the sequence's next token attends to holds what was written for it.
    bool is_whole(int64_t id) const {
        const int length = cache_.length(id);
        if (length != static_cast<int>(sequences_.at(id).size())) return false;
        for (int layer = 0; layer < static_cast<int>(shape_.windows.size()); ++layer) {
            const int window = shape_.windows[layer];
            for (int position = window == 0 ? 0 : std::max(0, length - window + 1); position < length; ++position) {
                for (int head = 0; head < shape_.num_kv_heads; ++head) {
                    if (stored(id, layer, head, position) != expected(id, layer, head, position)) return false;
                }
            }
        }
        return true;
    }

private:
    // Of a token and all before it.
    static uint64_t hash_of(const std::vector<uint64_t>& before, int32_t token) {
        return ((before.empty() ? 0 : before.back()) + static_cast<uint64_t>(token) + 1) * 0x9e3779b97f4a7c15u;
    }
    std::vector<float> expected(int64_t id, int layer, int head, int position) const {
        Random random(sequences_.at(id)[position] + static_cast<uint64_t>(layer * 8 + head));
        std::vector<float> numbers = random.numbers(2 * static_cast<size_t>(shape_.page.head_dim));
        if (shape_.page.kind == CacheKind::BF16) {
            for (float& number : numbers) number = from_bf16(to_bf16(number));
        }
        return numbers;
    }
    // Key and value of a position, one after the other.
    std::vector<float> stored(int64_t id, int layer, int head, int position) const {
        const KVCache::LayerPages pages = cache_.layer(id, layer);
        const int slot = position % kPagePositions;
        std::vector<float> numbers;
        for (int d = 0; d < shape_.page.head_dim; ++d)
            numbers.push_back(key_at(shape_.page, pages.keys(head, position), slot, d));
        for (int d = 0; d < shape_.page.head_dim; ++d)
            numbers.push_back(value_at(shape_.page, pages.values(head, position), slot, d));
        return numbers;
    }

    CacheShape shape_;
    KVCache cache_;
    std::map<int64_t, std::vector<uint64_t>> sequences_;  // for each position, the hash of the tokens up to it
};

void test_pages_are_counted_once_however_many_share_them() {
    const size_t page = page_bytes(shape_of({0, 0}));
    FilledCache filled(shape_of({0, 0}));
    const int64_t first = filled.open({});
    check(filled.cache().bytes_held() == 0, "an open sequence holds nothing yet");
    filled.append(first, tokens(70));
    check(filled.cache().bytes_held() == 3 * page, "70 positions are three pages");
    const int64_t second = filled.fork(first);
    check(filled.cache().bytes_held() == 3 * page, "a fork costs nothing");
    filled.append(second, {7});
    check(filled.cache().bytes_held() == 4 * page, "a fork that writes has its own last page");
    check(filled.cache().layer(first, 1).keys(1, 63) == filled.cache().layer(second, 1).keys(1, 63),
          "full pages stay shared");
    filled.append(first, {8});
    check(filled.cache().bytes_held() == 4 * page, "the other one is alone now and writes in place");
    check(filled.is_whole(first) && filled.is_whole(second), "both have what they wrote");
    filled.close(first);
    check(filled.cache().bytes_held() == 3 * page && filled.is_whole(second), "a close leaves the other one alone");
    filled.close(second);
    check(filled.cache().bytes_held() == 0, "nothing is held at the end");
    check(filled.cache().bytes_taken() == 2 * page, "two full pages are kept for their prefix");
    check_throws<std::out_of_range>([&] { filled.cache().length(first); }, "a closed sequence is unknown");
}

void test_a_prompt_begins_with_what_is_here_but_never_with_all() {
    FilledCache filled(shape_of({0}));
    filled.append(filled.open({}), tokens(100));
    const auto reused = [&](const std::vector<int32_t>& prompt) {
        const int64_t id = filled.open(prompt);
        check(filled.is_whole(id), "a reused prefix holds what was written");
        const int length = filled.cache().length(id);
        filled.close(id);
        return length;
    };
    check(reused(tokens(100)) == 96 && reused(tokens(97)) == 96, "three full pages");
    check(reused(tokens(96)) == 64 && reused(tokens(33)) == 32 && reused(tokens(32)) == 0, "never all of a prompt");
    check(reused({}) == 0 && reused({5}) == 0, "short prompts begin anew");
    std::vector<int32_t> other = tokens(100);
    other[40] = 7;
    check(reused(other) == 32, "up to the page that differs");
    check(reused(tokens(100, 32)) == 0, "the same tokens at other positions are not the same");
}

void test_room_is_made_by_giving_up_the_oldest_prefixes() {
    const size_t page = page_bytes(shape_of({0}));
    FilledCache filled(shape_of({0}, 4 * page));
    for (const int sequence : {1, 2}) {
        const int64_t id = filled.open({});
        filled.append(id, tokens(64, 1000 * sequence));
        filled.close(id);
    }
    check(filled.cache().bytes_taken() == 4 * page && filled.cache().bytes_held() == 0,
          "two sequences of two pages are kept");
    filled.close(filled.open(tokens(65, 1000)));  // the first is the younger one now
    const int64_t id = filled.open({});
    check(filled.cache().has_room({id}, {64}), "kept pages are room");
    filled.append(id, tokens(64, 3000));
    check(filled.is_whole(id), "written over what was given up");
    filled.close(id);
    const auto length = [&](int first) { return filled.cache().length(filled.open(tokens(65, first))); };
    check(length(2000) == 0, "the oldest is gone");
    check(length(1000) == 64 && length(3000) == 64, "the younger ones are there");
}

void test_a_full_cache_refuses_and_changes_nothing() {
    const size_t page = page_bytes(shape_of({0, 0}));
    FilledCache filled(shape_of({0, 0}, 3 * page + page / 2));
    const int64_t first = filled.open({}), second = filled.open({});
    filled.append(first, tokens(60));
    check(filled.cache().max_positions() == 96, "whole pages only");
    check(!filled.cache().has_room({first, second}, {5, 1}) && filled.cache().has_room({first, second}, {4, 1}),
          "room for both");
    check(!filled.cache().has_room({second}, {33}) && filled.cache().has_room({second}, {32}), "room for one");
    const int64_t fork = filled.fork(first);
    check(filled.cache().has_room({fork}, {4}) && !filled.cache().has_room({fork}, {5}),
          "a fork's own page is counted");
    check_throws<CacheFull>([&] { filled.cache().grow(second, tokens(33)); }, "no more pages");
    check(filled.is_whole(first) && filled.is_whole(fork), "the other sequences are whole");
}

// One page of the layer that sees everything, then none for the others: by the limit, or by the system.
void test_growth_that_fails_half_way_is_undone() {
    const size_t page = page_bytes(shape_of({0})), window_page = page_bytes(shape_of({40}));
    FilledCache filled(shape_of({0, 40}, 2 * page + window_page));
    const int64_t first = filled.open({});
    filled.append(first, tokens(20));
    const int64_t fork = filled.fork(first);
    for (const int count : {1, 13}) {
        check_throws<CacheFull>([&] { filled.cache().grow(fork, tokens(count)); }, "no page for the window");
        check(filled.cache().bytes_held() == page + window_page, "nothing is held for what failed");
        check(filled.is_whole(first) && filled.is_whole(fork), "both sequences are as before");
    }
    filled.close(first);
    filled.append(fork, tokens(5));
    check(filled.is_whole(fork), "and can go on");
}

void test_growth_is_undone_by_shrinking() {
    FilledCache filled(shape_of({0, 40}));
    const int64_t first = filled.open({});
    filled.append(first, tokens(50));
    const int64_t second = filled.fork(first);
    const size_t held = filled.cache().bytes_held();
    for (const int count : {0, 1, 14, 15, 200}) {
        filled.cache().grow(second, tokens(count, 500));
        filled.cache().shrink(second, 50);
        check(filled.is_whole(first) && filled.is_whole(second), "both hold what they held");
    }
    check(filled.cache().bytes_held() == held + page_bytes(shape_of({0, 40})), "and the second a last page of its own");
    filled.append(second, tokens(100));
    check(filled.is_whole(first) && filled.is_whole(second), "both go on");
}

void test_tentative_positions_are_taken_back() {
    FilledCache filled(shape_of({0, 40}));
    const int64_t first = filled.open({});
    filled.append(first, tokens(50));
    const int64_t second = filled.fork(first);
    int token = 500;
    for (const int kept : {0, 1, 13, 14, 15, 63, 64}) {
        const int length = filled.cache().length(second);
        filled.append(second, tokens(65, token += 100), 64);
        filled.truncate(second, length + 1 + kept);
        check(filled.is_whole(first) && filled.is_whole(second), "both hold what they keep");
        filled.append(second, tokens(1, token += 100));
        check(filled.is_whole(first) && filled.is_whole(second), "and what follows");
    }
    std::vector<int32_t> drafted = tokens(80);
    const int64_t other = filled.open(drafted);
    const int reused = filled.cache().length(other);
    filled.append(other, {drafted.begin() + reused, drafted.end()}, 79 - reused);
    check_throws<std::invalid_argument>([&] { filled.cache().truncate(other, reused); }, "settled positions stay");
    check_throws<std::invalid_argument>([&] { filled.cache().truncate(other, 81); }, "a sequence does not grow by it");
    filled.truncate(other, reused + 1);
    check(filled.cache().length(filled.open(drafted)) == reused, "no page of a draft is cached");
}

void test_samples_that_part_need_one_page_less_than_they_are() {
    const size_t page = page_bytes(shape_of({0}));
    FilledCache filled(shape_of({0}, 3 * page));
    const int64_t first = filled.open({});
    filled.append(first, tokens(20));
    const int64_t second = filled.fork(first), third = filled.fork(first);
    check(filled.cache().has_room({first, second, third}, {1, 1, 1}),
          "the last to write has the shared page for itself");
    for (const int64_t id : {first, second, third}) filled.append(id, tokens(1, static_cast<int>(id)));
    check(filled.cache().bytes_held() == 3 * page, "three pages");
    for (const int64_t id : filled.ids()) check(filled.is_whole(id), "each has its own");
    const int64_t fourth = filled.fork(first);
    check(!filled.cache().has_room({fourth}, {1}), "where one of two writes, there is one page more");
}

void test_memory_that_the_system_refuses_changes_nothing() {
    std::vector<int> windows(1 << 20, 40);  // with these heads, beyond what a processor can address
    windows[0] = 0;
    KVCache cache({{CacheKind::F32, 1 << 14}, 4, windows, size_t{1} << 62});
    const int64_t id = cache.open({});
    for (int again = 0; again < 2; ++again) {
        check_throws<std::bad_alloc>([&] { cache.grow(id, tokens(33)); }, "no memory");
        check(cache.length(id) == 0 && cache.bytes_held() == 0 && cache.bytes_taken() == 0, "as before");
    }
    cache.close(id);
}

void test_pages_go_back_when_the_window_has_left_them() {
    const size_t page = page_bytes(shape_of({40}));
    FilledCache filled(shape_of({40}));
    const int64_t id = filled.open({});
    for (int length = 1; length <= 400; ++length) {
        filled.append(id, {length});
        check(filled.cache().bytes_held() <= 3 * page, "a window of 40 positions needs three pages at most");
    }
    check(filled.is_whole(id), "the window holds what was written");
    FilledCache mixed(shape_of({0, 40, 0, 40}));
    const int64_t other = mixed.open({});
    for (int chunk = 0; chunk < 10; ++chunk) mixed.append(other, tokens(37, chunk));
    const size_t full_page = page_bytes(shape_of({0, 0}));
    check(mixed.cache().bytes_held() <= 12 * full_page + 3 * page_bytes(shape_of({40, 40})),
          "only the layers that see all keep all");
    check(mixed.is_whole(other), "both kinds of layers have what they see");
}

void test_a_prefix_is_reused_only_where_its_window_is_here() {
    FilledCache filled(shape_of({0, 40}));
    const int64_t id = filled.open({});
    for (int chunk = 0; chunk < 10; ++chunk) filled.append(id, tokens(32, 32 * chunk));
    for (const int length : {320, 300, 200, 65, 33}) {
        const int64_t again = filled.open(tokens(length));
        check(filled.cache().length(again) == (length - 1) / 32 * 32, "as long as nothing was given up, all is here");
        check(filled.is_whole(again), "what the next token sees is here");
        filled.append(again, {5, 6, 7});
        check(filled.is_whole(again), "and stays");
        filled.close(again);
    }
}

// Shared prefixes are found by their tokens alone, and a small vocabulary makes many of them.
void test_random_work(CacheKind kind, std::vector<int> windows, int num_pages, uint64_t seed) {
    CacheShape shape = shape_of(std::move(windows), kPlenty, kind);
    shape.max_bytes = static_cast<size_t>(num_pages) * page_bytes(shape);
    FilledCache filled(shape);
    Random random(seed);
    int num_reused = 0, num_refused = 0;
    for (int step = 0; step < 500; ++step) {
        const std::vector<int64_t> ids = filled.ids();
        const int64_t id = ids.empty() ? 0 : ids[random.below(static_cast<int>(ids.size()))];
        const int what = random.below(10);
        if (ids.empty() || (what < 2 && ids.size() < 8)) {
            std::vector<int32_t> prompt;
            while (static_cast<int>(prompt.size()) < 180) prompt.insert(prompt.end(), 20, random.below(2));
            const int64_t opened = filled.open(prompt);
            check(filled.is_whole(opened), "a new sequence's reused beginning");
            num_reused += filled.cache().length(opened) > 0;
            // As a scheduler does: what the prompt has beyond its reused beginning comes next.
            const std::vector<int32_t> rest(prompt.begin() + filled.cache().length(opened), prompt.end());
            if (filled.cache().has_room({opened}, {static_cast<int>(rest.size())})) filled.append(opened, rest);
        } else if (what < 4 && ids.size() < 8) {
            filled.fork(id);
        } else if (what < 6) {
            filled.close(id);
        } else {
            const std::vector<int32_t> more(random.between(1, 50), random.below(2));
            const bool has_room = filled.cache().has_room({id}, {static_cast<int>(more.size())});
            num_refused += !has_room;
            if (has_room) filled.append(id, more);
        }
        check(filled.cache().bytes_taken() <= shape.max_bytes, "the limit holds");
        if (step % 5 == 0) {
            for (const int64_t open : filled.ids())
                check(filled.is_whole(open), "every sequence holds what was written for it");
        }
        if (failures() > 0) return;
    }
    check(num_reused > 5 && num_refused > 0, "the work tried reuse and a full cache");
    for (const int64_t id : filled.ids()) filled.close(id);
    check(filled.cache().bytes_held() == 0, "nothing is held at the end");
}

}  // namespace

int main() {
    test_pages_are_counted_once_however_many_share_them();
    test_a_prompt_begins_with_what_is_here_but_never_with_all();
    test_room_is_made_by_giving_up_the_oldest_prefixes();
    test_a_full_cache_refuses_and_changes_nothing();
    test_growth_that_fails_half_way_is_undone();
    test_growth_is_undone_by_shrinking();
    test_tentative_positions_are_taken_back();
    test_samples_that_part_need_one_page_less_than_they_are();
    test_memory_that_the_system_refuses_changes_nothing();
    test_pages_go_back_when_the_window_has_left_them();
    test_a_prefix_is_reused_only_where_its_window_is_here();
    for (uint64_t seed = 1; seed <= 3; ++seed) {
        test_random_work(CacheKind::F32, {0, 0}, 14, seed);
        test_random_work(CacheKind::BF16, {0, 33}, 14, seed);
        test_random_work(CacheKind::F32, {70}, 9, seed);
    }
    return report("kv_cache");
}
