#include "packing.h"

#include <algorithm>
#include <exception>
#include <stdexcept>

#include "errors.h"
#include "system.h"

namespace nextword {

Packing::Packing(Weights& weights, std::vector<EncodedRows> parts, const Kernels& kernels, int num_threads)
    : weights_(weights), parts_(std::move(parts)), kernels_(kernels) {
    for (const EncodedRows& part : parts_) weights_.require_fit(part);
    start(std::min(num_threads - 1, static_cast<int>(parts_.size())));
}

Packing::~Packing() { stop(); }

void Packing::start(int num_workers) {
    const auto work = [this] {
        while (pack_next()) {
        }
    };
    try {
        for (int i = 0; i < num_workers; ++i) workers_->threads.emplace_back(work);
    } catch (const std::exception&) {  // those that have started do it, and the caller
    }
}

void Packing::stop() {
    is_stopped_ = true;
    if (workers_.is_inherited()) return;
    for (std::thread& thread : workers_->threads) thread.join();
    workers_->threads.clear();
}

bool Packing::run(Duration duration) {
    if (workers_.is_inherited()) throw ForkedInAStep();
    const auto end = std::chrono::steady_clock::now() + duration;
    while (std::chrono::steady_clock::now() < end && pack_next()) {
    }
    std::unique_lock<std::mutex> lock(workers_->mutex);
    workers_->is_done.wait_until(lock, end, [&] { return is_done(); });
    if (beyond_range_ != nullptr) {
        throw std::overflow_error(problem_of(*beyond_range_.load()));
    }
    return is_done();
}

std::string Packing::problem_of(const EncodedRows& part) const {
    const WeightKind kind = weights_.slot_of(part.name).linear->matrix.kind;
    if (!is_quantized(kind)) return part.name + " has numbers beyond the range of 16 bits";
    if (kind == kind_of(part.encoding)) return part.name + " has blocks whose scales are infinite or NaN";
    return part.name + " has numbers that are infinite, NaN or beyond the range of 16 bits";
}

// False if there is nothing left to claim.
bool Packing::pack_next() {
    if (is_stopped_ || beyond_range_ != nullptr) return false;
    const size_t index = num_claimed_++;
    if (index >= parts_.size()) return false;
    const EncodedRows& part = parts_[index];
    if (!weights_.pack(part, kernels_)) beyond_range_ = &part;
    if (part.is_mapped) release_mapped_pages(part.rows, part.size);
    ++num_packed_;
    if (is_done()) {
        const std::lock_guard<std::mutex> lock(workers_->mutex);
        workers_->is_done.notify_all();
    }
    return true;
}

}  // namespace nextword
