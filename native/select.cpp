#include "select.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "half.h"

namespace nextword {

namespace {

constexpr int kBlock = 64;           // keys that are scanned or skipped together
constexpr int kVisited = 448;        // positions that are collected before they are processed
constexpr int kBlocksPerWanted = 4;  // for each of the k largest: few of them then share a block
constexpr int kSample = 256;         // keys from which the last of the set is guessed
constexpr double kMargin =
    0.8;  // how near to the guess, in weight below, the search begins and ends: nearer is faster and wrong more often
constexpr size_t kFew = 256;  // keys that are sorted rather than counted
constexpr int kBinBits = 10;  // of a histogram, so that it stays in the first cache
constexpr int kSummed = 512;  // weights per partial sum of the search

// Keys as whole numbers that order alike, the lowest and the highest of some (inclusive).
struct Ranks {
    uint32_t lowest, highest;
};

// Without a branch on the sign, which would cost more than all else where signs are mixed. -0 has the rank of 0.
uint32_t rank_of(float key) {
    const uint32_t bits = bits_of(key), sign = bits >> 31, magnitude = bits & 0x7fffffffu;
    return 0x80000000u + ((magnitude ^ (0u - sign)) + sign);
}

float key_of(uint32_t rank) { return float_of(rank >> 31 ? rank - 0x80000000u : 0u - rank); }

// A row of keys with the largest of each block, which says which blocks can be skipped.
class Row {
public:
    Row(const Kernels& kernels, const float* keys, int size)
        : kernels(kernels), keys(keys), size(size), maxima_(static_cast<size_t>(ceil_div(size, kBlock))) {
        const int whole = size / kBlock;
        kernels.maxima(keys, whole, kBlock, maxima_.data());
        if (whole * kBlock < size) maxima_.back() = *std::max_element(keys + whole * kBlock, keys + size);
        ranks = {rank_of(-HUGE_VALF), rank_of(*std::max_element(maxima_.begin(), maxima_.end()))};
    }

    float highest() const { return key_of(ranks.highest); }
    // True if logits may be keys: no NaN, no +inf, and not all -inf.
    bool is_distribution() const { return std::isfinite(highest()) && !kernels.has_nan(keys, size); }

    const Kernels& kernels;
    const float* const keys;
    const int size;
    Ranks ranks;  // of all keys

    const std::vector<float>& maxima() const { return maxima_; }

    // Calls `visit` with the positions from `first` to `last` (exclusive) of keys of these ranks, ascending, many at a
    // time.
    template <class Visit>
    void find(int first, int last, Ranks ranks, const Visit& visit) const {
        const float low = key_of(ranks.lowest), high = key_of(ranks.highest);
        int32_t found[kVisited + kBlock + kLanes];
        int count = 0;
        for (int block = first / kBlock; block < ceil_div(last, kBlock); ++block) {
            if (maxima_[static_cast<size_t>(block)] < low) continue;
            const int begin = std::max(first, block * kBlock), end = std::min(last, (block + 1) * kBlock);
            count += kernels.collect(keys, begin, end, low, high, found + count);
            if (count < kVisited) continue;
            visit(found, found + count);
            count = 0;
        }
        visit(found, found + count);
    }
    template <class Visit>
    void find(Ranks ranks, const Visit& visit) const {
        find(0, size, ranks, visit);
    }

private:
    std::vector<float> maxima_;
};

// The weights of the keys: those given, or one each.
struct GivenWeights {
    const Row& row;
    const float* weights;

    int64_t at(int position) const { return static_cast<int64_t>(weights[position]); }
    int64_t from(uint32_t rank) const {
        return static_cast<int64_t>(row.kernels.sum_from(row.keys, key_of(rank), weights, row.size));
    }
};

struct Counts {
    const Row& row;

    int64_t at(int) const { return 1; }
    int64_t from(uint32_t rank) const {
        int64_t count = 0;
        row.find({rank, row.ranks.highest}, [&](const int32_t* begin, const int32_t* end) { count += end - begin; });
        return count;
    }
};

// ---- the last of the set ----

struct Candidate {
    uint32_t rank;
    int position;
};

// Keys of some ranks: how many, the ranks that occur, and all of them if they are few.
struct Survey {
    size_t count = 0;
    Ranks ranks{UINT32_MAX, 0};
    std::vector<Candidate> few;
};

Survey survey(const Row& row, Ranks ranks) {
    Survey result;
    row.find(ranks, [&](const int32_t* begin, const int32_t* end) {
        result.count += static_cast<size_t>(end - begin);
        for (; begin < end; ++begin) {
            const uint32_t rank = rank_of(row.keys[*begin]);
            result.ranks = {std::min(result.ranks.lowest, rank), std::max(result.ranks.highest, rank)};
            if (result.count <= kFew) result.few.push_back({rank, *begin});
        }
    });
    return result;
}

// Narrow the ranks to a bin of a histogram of weight over rank, that in which `wanted` is reached from above, and take
// off `wanted` what lies above it. False, and nothing is changed, if it is not reached.
template <class Weights>
bool narrow(const Row& row, const Weights& weights, Ranks& ranks, int64_t& wanted) {
    const uint32_t span = ranks.highest - ranks.lowest;
    int shift = 0;
    while (span >> shift >> kBinBits) ++shift;

    int64_t bins[1 << kBinBits][2] = {};  // two of each, so that neighbours of equal rank do not wait for one another
    row.find(ranks, [&](const int32_t* begin, const int32_t* end) {
        for (; begin < end; ++begin) {
            bins[(rank_of(row.keys[*begin]) - ranks.lowest) >> shift][*begin & 1] += weights.at(*begin);
        }
    });

    int64_t left = wanted;
    for (uint32_t bin = span >> shift;; --bin) {
        const int64_t weight = bins[bin][0] + bins[bin][1];
        if (weight >= left) {
            wanted = left;
            ranks.lowest += bin << shift;
            ranks.highest = std::min(ranks.highest, ranks.lowest + ((1u << shift) - 1));
            return true;
        }
        if (bin == 0) return false;
        left -= weight;
    }
}

// The position among keys of these ranks at which, in order, their weights reach `wanted`; -1 if they never do.
template <class Weights>
int reaching(const Row& row, const Weights& weights, Ranks ranks, int64_t wanted) {
    int last = -1;
    const auto take = [&](int position) {
        if (wanted <= 0) return;
        wanted -= weights.at(position);
        last = position;
    };
    while (ranks.lowest < ranks.highest) {
        if (!narrow(row, weights, ranks, wanted)) return -1;
        Survey found = survey(row, ranks);
        if (found.count <= kFew) {
            std::sort(found.few.begin(), found.few.end(), [](const Candidate& a, const Candidate& b) {
                return a.rank != b.rank ? a.rank > b.rank : a.position < b.position;
            });
            for (const Candidate& candidate : found.few) take(candidate.position);
            return last;
        }
        ranks = found.ranks;
    }
    row.find(ranks, [&](const int32_t* begin, const int32_t* end) { std::for_each(begin, end, take); });
    return wanted <= 0 ? last : -1;
}

// The last position, in order, of the smallest set with weight `wanted`; the likely ranks are searched first.
template <class Weights>
int last_of_set(const Row& row, const Weights& weights, int64_t wanted, Ranks likely) {
    Ranks ranks = row.ranks;
    if (likely.highest < ranks.highest) {
        const int64_t above = weights.from(likely.highest + 1);
        if (above >= wanted) return reaching(row, weights, {likely.highest + 1, ranks.highest}, wanted);
        wanted -= above;
        ranks.highest = likely.highest;
    }
    int last = reaching(row, weights, {likely.lowest, ranks.highest}, wanted);
    if (last < 0) last = reaching(row, weights, ranks, wanted);
    if (last < 0) throw std::invalid_argument("the keys weigh less than is wanted");
    return last;
}

// The keys that come before that at `last`, and that one.
std::vector<int64_t> set_to(const Row& row, int last) {
    const uint32_t rank = rank_of(row.keys[last]), highest = row.ranks.highest;
    const auto find = [&](const auto& visit) {
        row.find(0, last + 1, {rank, highest}, visit);
        if (rank < highest) row.find(last + 1, row.size, {rank + 1, highest}, visit);
    };
    size_t count = 0;
    find([&](const int32_t* begin, const int32_t* end) { count += static_cast<size_t>(end - begin); });
    std::vector<int64_t> positions;
    positions.reserve(count);
    find([&](const int32_t* begin, const int32_t* end) { positions.insert(positions.end(), begin, end); });
    return positions;
}

// ---- the search range ----

// That of the k-th largest of the blocks' maxima: at least `k` keys reach it, and few more unless they are equal.
Ranks reached_by(const Row& row, int64_t k) {
    std::vector<float> maxima = row.maxima();
    const auto kth = maxima.begin() + (k - 1);
    std::nth_element(maxima.begin(), kth, maxima.end(), std::greater<float>());
    return {rank_of(*kth), rank_of(*kth)};
}

// In a sample, a little less than `spare` lies beneath the lowest, and a little more beneath the highest.
template <class Weights>
Ranks guess(const Row& row, const Weights& weights, double spare) {
    if (row.size <= kSample) return row.ranks;
    const int stride = row.size / kSample;
    std::vector<std::pair<float, float>> sample;
    sample.reserve(2 * kSample);
    for (int i = 0; i < row.size; i += stride) sample.emplace_back(row.keys[i], static_cast<float>(weights.at(i)));
    std::sort(sample.begin(), sample.end());
    Ranks result = row.ranks;
    double beneath = 0.0;
    for (const auto& [key, weight] : sample) {
        if (beneath * kMargin > spare) return {result.lowest, rank_of(key)};
        if (beneath <= kMargin * spare) result.lowest = rank_of(key);
        beneath += static_cast<double>(weight) * stride;
    }
    if (beneath <= kMargin * spare) result.lowest = std::min(result.highest, rank_of(sample.back().first) + 1);
    return result;
}

std::vector<int64_t> largest_of(const Row& row, int64_t k) {
    const Counts counts{row};
    const bool is_bounded = static_cast<int64_t>(row.maxima().size()) >= kBlocksPerWanted * k;
    return set_to(row,
                  last_of_set(row, counts, k,
                              is_bounded ? reached_by(row, k) : guess(row, counts, static_cast<double>(row.size - k))));
}

int last_of_smallest_set(const Row& row, const float* weights, double wanted, double total) {
    const GivenWeights given{row, weights};
    return last_of_set(row, given, static_cast<int64_t>(std::ceil(wanted)), guess(row, given, total - wanted));
}

// ---- sampling ----

// number / 2^53 of a whole number, rounded down.
int64_t share_of(double total, uint64_t number) {
    return static_cast<int64_t>(static_cast<unsigned __int128>(number) * static_cast<uint64_t>(total) >> 53);
}

// The weights of a row's keys up to the one at `last`, inclusive, in the order of selection.
struct WeightsOfSet {
    const Row& row;
    const float* weights;
    int last;

    double sum(int first, int end) const {
        const uint32_t rank = rank_of(row.keys[last]);
        const int middle = std::clamp(last + 1, first, end);
        return sum_from(rank, first, middle) + sum_from(rank + 1, middle, end);
    }
    double sum_from(uint32_t rank, int first, int end) const {
        return first == end ? 0.0 : row.kernels.sum_from(row.keys + first, key_of(rank), weights + first, end - first);
    }
};

// The position on which `number` falls when the weights of the set are added from the first on.
int64_t falls_on(const WeightsOfSet& set, uint64_t number) {
    const Row& row = set.row;
    std::vector<double> sums(row.maxima().size());
    for (size_t block = 0; block < sums.size(); ++block) {
        if (row.maxima()[block] < row.keys[set.last]) continue;
        const int first = static_cast<int>(block) * kBlock;
        sums[block] = set.sum(first, std::min(first + kBlock, row.size));
    }
    const double total = std::accumulate(sums.begin(), sums.end(), 0.0);
    double target = static_cast<double>(share_of(total, number));
    size_t block = 0;
    while (sums[block] <= target) target -= sums[block++];
    int position = static_cast<int>(block) * kBlock;
    while ((target -= set.sum(position, position + 1)) >= 0.0) ++position;
    return position;
}

int64_t draw_from(const Row& row, Truncation truncation, int bits, uint64_t number) {
    const Kernels& kernels = row.kernels;
    const std::unique_ptr<float[]> weights(new float[static_cast<size_t>(row.size)]);  // not zeroed first
    kernels.softmax_weights(row.keys, row.size, row.highest(), truncation.divisor, bits, weights.get());
    const double total = kernels.sum_from(weights.get(), 0.0f, weights.get(), row.size);
    if (truncation.top_p == 1.0) return position_at(kernels, weights.get(), row.size, share_of(total, number));
    return falls_on({row, weights.get(), last_of_smallest_set(row, weights.get(), truncation.top_p * total, total)},
                    number);
}

}  // namespace

std::vector<int64_t> largest(const Kernels& kernels, const float* keys, int size, int64_t k) {
    if (k == 0 || size == 0) return {};
    return largest_of(Row(kernels, keys, size), std::min<int64_t>(k, size));
}

std::vector<int64_t> smallest_set(const Kernels& kernels, const float* keys, const float* weights, int size,
                                  double wanted, double total) {
    const Row row(kernels, keys, size);
    return set_to(row, last_of_smallest_set(row, weights, wanted, total));
}

int64_t position_at(const Kernels& kernels, const float* weights, int size, int64_t target) {
    int position = 0;
    for (; position + kSummed < size; position += kSummed) {
        const int64_t weight =
            static_cast<int64_t>(kernels.sum_from(weights + position, 0.0f, weights + position, kSummed));
        if (weight > target) break;
        target -= weight;
    }
    for (; position < size - 1; ++position) {
        target -= static_cast<int64_t>(weights[position]);
        if (target < 0) break;
    }
    return position;
}

int64_t argmax(const Kernels& kernels, const float* logits, int size) {
    const Row row(kernels, logits, size);
    if (!row.is_distribution()) return -1;
    int64_t first = -1;
    row.find({row.ranks.highest, row.ranks.highest}, [&](const int32_t* begin, const int32_t* end) {
        if (first < 0 && begin < end) first = *begin;
    });
    return first;
}

int unit_bits(int size) {
    int bits = 53;
    for (int rest = size; rest > 0; rest /= 2) --bits;
    return bits;
}

int64_t draw(const Kernels& kernels, const float* logits, int size, Truncation truncation, uint64_t number) {
    const Row row(kernels, logits, size);
    if (!row.is_distribution()) return -1;
    const int bits = unit_bits(size);
    if (truncation.top_k == 0 || truncation.top_k >= size) return draw_from(row, truncation, bits, number);

    const std::vector<int64_t> left = largest_of(row, truncation.top_k);
    std::vector<float> keys(left.size());
    std::transform(left.begin(), left.end(), keys.begin(), [&](int64_t position) { return logits[position]; });
    return left[static_cast<size_t>(
        draw_from(Row(kernels, keys.data(), static_cast<int>(keys.size())), truncation, bits, number))];
}

}  // namespace nextword
