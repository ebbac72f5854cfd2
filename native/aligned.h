// `AlignedVector`: a std::vector that begins where a line of the cache does. The memory of std::vector may begin
// anywhere within one, and each read of 64 bytes then needs two lines.

#ifndef NEXTWORD_ALIGNED_H
#define NEXTWORD_ALIGNED_H

#include <cstddef>
#include <new>
#include <vector>

namespace nextword {

constexpr std::align_val_t kCacheLine{64};

template <class T>
struct LineAllocator {
    using value_type = T;

    LineAllocator() = default;
    template <class Other>
    LineAllocator(const LineAllocator<Other>&) {}

    T* allocate(size_t count) { return static_cast<T*>(::operator new(count * sizeof(T), kCacheLine)); }
    void deallocate(T* numbers, size_t) { ::operator delete(numbers, kCacheLine); }

    friend bool operator==(const LineAllocator&, const LineAllocator&) { return true; }
    friend bool operator!=(const LineAllocator&, const LineAllocator&) { return false; }
};

template <class T>
using AlignedVector = std::vector<T, LineAllocator<T>>;

}  // namespace nextword

#endif
