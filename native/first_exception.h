// The exception of work that several threads share.

#ifndef NEXTWORD_FIRST_EXCEPTION_H
#define NEXTWORD_FIRST_EXCEPTION_H

#include <exception>
#include <mutex>

namespace nextword {

// Threads call `keep` with their parts of the work; then one of them throws again what came first.
class FirstException {
public:
    template <class Work>
    void keep(const Work& work) noexcept {
        try {
            work();
        } catch (...) {
            const std::lock_guard<std::mutex> lock(mutex_);
            if (first_ == nullptr) first_ = std::current_exception();
        }
    }

    void rethrow() const {
        if (first_ != nullptr) std::rethrow_exception(first_);
    }

private:
    std::mutex mutex_;
    std::exception_ptr first_;
};

}  // namespace nextword

#endif
