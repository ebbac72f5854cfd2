// What the tests are written with: checks that say where they failed, numbers that are random but always the same.

#ifndef NEXTWORD_TESTS_CHECK_H
#define NEXTWORD_TESTS_CHECK_H

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

namespace nextword {

inline int& failures() {
    static int count = 0;
    return count;
}

// Count a failure, and print it with its line, unless `holds`.
inline void check(bool holds, const std::string& what, const char* file = __builtin_FILE(),
                  int line = __builtin_LINE()) {
    if (holds) return;
    // One broken kernel fails everywhere: the first few say enough.
    if (++failures() <= 20) std::fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what.c_str());
}

template <class Error, class Work>
void check_throws(const Work& work, const std::string& what, const char* file = __builtin_FILE(),
                  int line = __builtin_LINE()) {
    try {
        work();
    } catch (const Error&) {
        return;
    }
    check(false, what, file, line);
}

inline bool is_close(double a, double b, double tolerance) { return std::fabs(a - b) <= tolerance; }

// The same bits, so that -0 is not 0 and a NaN is itself.
inline bool is_same(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

// FNV-1a hash of the bits of all values, in order.
inline uint64_t checksum(const std::vector<float>& values) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (const float value : values) {
        uint32_t bits;
        std::memcpy(&bits, &value, sizeof bits);
        hash = (hash ^ bits) * 0x100000001b3u;
    }
    return hash;
}

inline std::string hexadecimal(uint64_t value) {
    char text[32];
    std::snprintf(text, sizeof text, "0x%016llx", static_cast<unsigned long long>(value));
    return text;
}

// Equal on every machine: whole numbers and products of powers of two only (xorshift64*).
class Random {
public:
    explicit Random(uint64_t seed) : state_(seed * 2 + 1) {}

    uint32_t next() {
        state_ ^= state_ >> 12, state_ ^= state_ << 25, state_ ^= state_ >> 27;
        return static_cast<uint32_t>((state_ * 0x2545f4914f6cdd1du) >> 32);
    }
    int below(int limit) { return static_cast<int>(next() % static_cast<uint32_t>(limit)); }
    int between(int lowest, int highest) { return lowest + below(highest - lowest + 1); }
    // From -1 to 1.
    float number() { return static_cast<float>(static_cast<int>(next() >> 8) - (1 << 23)) * 0x1p-23f; }

    std::vector<float> numbers(size_t count) {
        std::vector<float> result(count);
        for (float& value : result) value = number();
        return result;
    }

private:
    uint64_t state_;
};

// The exit status of a test.
inline int report(const char* name) {
    std::printf("%s: %s\n", name, failures() == 0 ? "all holds" : (std::to_string(failures()) + " failures").c_str());
    return failures() == 0 ? 0 : 1;
}

}  // namespace nextword

#endif
