// State across fork(): a child inherits the memory of its parent, but none of the other threads.

#ifndef NEXTWORD_FORK_H
#define NEXTWORD_FORK_H

#include <atomic>
#include <cstdint>
#include <memory>

#include "system.h"

namespace nextword {

// State that a forked child can neither use nor destroy: threads that do not exist there, locks that stay locked. The
// child abandons the inherited one instead of destroying it, and can create a new one.
template <class T>
class ProcessOwned {
public:
    ProcessOwned() : value_(std::make_unique<T>()), process_(process_id()) {}
    ~ProcessOwned() { abandon_if_inherited(); }
    ProcessOwned(const ProcessOwned&) = delete;
    ProcessOwned& operator=(const ProcessOwned&) = delete;

    bool is_inherited() const { return process_id() != process_; }
    void renew() {
        abandon_if_inherited();
        value_ = std::make_unique<T>();
        process_ = process_id();
    }
    T* operator->() const { return value_.get(); }

private:
    void abandon_if_inherited() {
        if (is_inherited()) static_cast<void>(value_.release());
    }

    std::unique_ptr<T> value_;
    int process_;
};

// Count of this process's threads inside a section. A child inherits the count without the threads.
class ProcessCount {
public:
    void add();
    void subtract() { --state_; }
    int here() const;
    // True if threads of the parent were inside the section when it was forked.
    bool is_inherited() const;

private:
    std::atomic<uint64_t> state_{0};  // the process in the upper half, the count in the lower one
};

}  // namespace nextword

#endif
