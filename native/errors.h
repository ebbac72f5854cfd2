// C++ exceptions that Python receives as exceptions of nextword.

#ifndef NEXTWORD_ERRORS_H
#define NEXTWORD_ERRORS_H

#include <stdexcept>

namespace nextword {

// nextword.errors.BackendError in Python.
struct ForkedInAStep : std::runtime_error {
    ForkedInAStep() : std::runtime_error("the model was computing when this process was forked: load it again here") {}
};

}  // namespace nextword

#endif
