// Rows of files become the matrices of a model, in threads of their own while the caller does other work.

#ifndef NEXTWORD_PACKING_H
#define NEXTWORD_PACKING_H

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "fork.h"
#include "weights.h"

namespace nextword {

class Packing {
public:
    using Duration = std::chrono::steady_clock::duration;

    // Starts at once, with the threads beside the caller's, if the system has them. Rows stay readable, and the weights
    // unused, until `run` returns true or this ends. Throws as Weights::require_fit.
    Packing(Weights& weights, std::vector<EncodedRows> parts, const Kernels& kernels, int num_threads);
    ~Packing();
    Packing(const Packing&) = delete;
    Packing& operator=(const Packing&) = delete;

    // Take part, and return after about this time or at the end; true at the end. Throws std::overflow_error for finite
    // numbers beyond the range of a matrix's kind, and for others where integers are to stand for them or scale blocks.
    bool run(Duration duration);

    // End early: what is not packed by now never is.
    void stop();

    size_t num_packed() const { return num_packed_; }  // parts

private:
    struct Workers {
        std::mutex mutex;
        std::condition_variable is_done;
        std::vector<std::thread> threads;
    };

    void start(int num_workers);
    bool pack_next();
    std::string problem_of(const EncodedRows& part) const;
    bool is_done() const { return num_packed_ == parts_.size() || beyond_range_ != nullptr; }

    Weights& weights_;
    const std::vector<EncodedRows> parts_;
    const Kernels& kernels_;
    std::atomic<size_t> num_claimed_{0}, num_packed_{0};
    std::atomic<bool> is_stopped_{false};
    std::atomic<const EncodedRows*> beyond_range_{nullptr};
    ProcessOwned<Workers> workers_;
};

}  // namespace nextword

#endif
