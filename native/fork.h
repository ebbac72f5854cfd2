// State across fork(): a child inherits the memory of its parent, but none of the other threads.

#ifndef NEXTWORD_FORK_H
#define NEXTWORD_FORK_H

#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <memory>

namespace nextword {

// Something that a child can neither use nor destroy: threads that are not there, locks that stay locked. In a child it
// is inherited, is abandoned rather than destroyed, and can be made anew.
template <class T>
class ProcessOwned {
public:
    ProcessOwned() : value_(std::make_unique<T>()), process_(getpid()) {}
    ~ProcessOwned() { abandon_if_inherited(); }
    ProcessOwned(const ProcessOwned&) = delete;
    ProcessOwned& operator=(const ProcessOwned&) = delete;

    bool is_inherited() const { return getpid() != process_; }
    void renew() {
        abandon_if_inherited();
        value_ = std::make_unique<T>();
        process_ = getpid();
    }
    T* operator->() const { return value_.get(); }

private:
    void abandon_if_inherited() {
        if (is_inherited()) static_cast<void>(value_.release());
    }

    std::unique_ptr<T> value_;
    int process_;
};

// Threads of this process that are at some work. A child inherits the count without the threads.
class ProcessCount {
public:
    void add();
    void subtract() { --state_; }
    int here() const;
    // True if threads of the parent were at the work when it was forked.
    bool is_inherited() const;

private:
    std::atomic<uint64_t> state_{0};  // the process in the upper half, the count in the lower one
};

}  // namespace nextword

#endif
