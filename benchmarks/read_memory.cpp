// How fast threads can read a buffer over and over, each its own part of it, as a decode step reads weights.
// Usage: read_memory BYTES THREADS PASSES; writes the median of the seconds that a pass takes.

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

constexpr size_t huge_page = size_t{1} << 21;
constexpr size_t words_at_once = 64;

// Enough independent sums that the loads, not the additions, take the time.
uint64_t sum(const uint64_t* words, size_t count) {
  uint64_t sums[words_at_once] = {};
  for (size_t i = 0; i < count; i += words_at_once) {
    for (size_t j = 0; j < words_at_once; ++j) sums[j] += words[i + j];
  }
  uint64_t total = 0;
  for (uint64_t part : sums) total += part;
  return total;
}

int main(int, char** arguments) {
  const size_t threads = std::strtoull(arguments[2], nullptr, 10);
  const size_t passes = std::strtoull(arguments[3], nullptr, 10);
  const size_t part = std::strtoull(arguments[1], nullptr, 10) / threads / 8 / words_at_once * words_at_once;
  const size_t bytes = (part * threads * 8 / huge_page + 1) * huge_page;
  auto* words = static_cast<uint64_t*>(std::aligned_alloc(huge_page, bytes));
  madvise(words, bytes, MADV_HUGEPAGE);
  std::memset(words, 1, bytes);

  std::atomic<size_t> arrived{0};
  std::atomic<uint64_t> result{0};
  std::vector<double> seconds;
  const auto read = [&](size_t thread) {
    for (size_t pass = 0; pass <= passes; ++pass) {
      const auto start = std::chrono::steady_clock::now();
      result += sum(words + thread * part, part);
      ++arrived;
      while (arrived < (pass + 1) * threads) {
      }
      const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
      if (thread == 0 && pass > 0) seconds.push_back(taken.count());
    }
  };
  std::vector<std::thread> others;
  for (size_t thread = 1; thread < threads; ++thread) others.emplace_back(read, thread);
  read(0);
  for (auto& other : others) other.join();
  std::nth_element(seconds.begin(), seconds.begin() + passes / 2, seconds.end());
  std::printf("%.9f\n", result == 0 ? 0.0 : seconds[passes / 2]);
}
