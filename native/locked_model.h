// A model as Python holds it: behind a lock.

#ifndef NEXTWORD_LOCKED_MODEL_H
#define NEXTWORD_LOCKED_MODEL_H

#include <mutex>
#include <string>
#include <utility>

#include "errors.h"
#include "fork.h"
#include "gil.h"
#include "model.h"

namespace nextword {

// One step at a time. A forked process can use its copy, unless a thread of the parent, which it
// does not have, was using the model.
class LockedModel {
public:
    LockedModel(Shape shape, CacheKind cache_kind, size_t max_cache_bytes, int num_threads, const std::string& isa)
        : model_(std::move(shape), cache_kind, max_cache_bytes, num_threads, choose_kernels(isa.c_str())) {}

    // Call work(model) without the GIL, for which a step that holds the lock may ask.
    template <class Work>
    auto with(const Work& work) {
        const GilRelease release;
        if (users_.is_inherited()) throw ForkedInAStep();
        const User user(users_);
        const std::lock_guard<std::mutex> lock(mutex_);
        model_.restart_threads_if_forked();
        return work(model_);
    }

    Model& unlocked() { return model_; }

private:
    // Counted before it takes the lock and until it has released it: a lock that was inherited locked is never taken.
    struct User {
        ProcessCount& users;
        explicit User(ProcessCount& users) : users(users) { users.add(); }
        ~User() { users.subtract(); }
    };

    Model model_;
    std::mutex mutex_;
    ProcessCount users_;
};

}  // namespace nextword

#endif
