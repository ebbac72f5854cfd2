// Shared by the bindings of the training kernels: checked tensors of Python, and threads without the GIL.

#ifndef NEXTWORD_BIND_TRAINING_H
#define NEXTWORD_BIND_TRAINING_H

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <type_traits>

#include "gil.h"
#include "parallel.h"
#include "training.h"

namespace nextword {

namespace nb = nanobind;

using AnyArray = nb::ndarray<nb::device::cpu>;

// An array of any type with its name, for messages.
class Tensor {
public:
    Tensor(const AnyArray& array, const char* name) : array_(array), name_(name) {
        int64_t stride = 1;
        for (size_t axis = array.ndim(); axis-- > 0; stride *= static_cast<int64_t>(array.shape(axis))) {
            if (array.shape(axis) > 1 && array.size() > 0 && array.stride(axis) != stride) refuse("is not contiguous");
        }
    }

    int64_t size() const { return static_cast<int64_t>(array_.size()); }
    int64_t last_size() const { return array_.ndim() == 0 ? 1 : static_cast<int64_t>(array_.shape(array_.ndim() - 1)); }
    int64_t num_rows() const { return last_size() == 0 ? 0 : size() / last_size(); }
    bool is_bf16() const { return array_.dtype() == nb::dtype<uint16_t>(); }

    void require_size(int64_t wanted) const {
        if (size() != wanted)
            refuse("has " + std::to_string(size()) + " elements instead of " + std::to_string(wanted));
    }

    template <class Element>
    Element* data() const {
        if (array_.dtype() != nb::dtype<std::remove_const_t<Element>>()) {
            throw nb::type_error((std::string(name_) + " has another dtype than " + name_of<Element>()).c_str());
        }
        return static_cast<Element*>(array_.data());
    }

    [[noreturn]] void refuse(const std::string& problem) const {
        throw nb::value_error((std::string(name_) + " " + problem).c_str());
    }

private:
    template <class Element>
    static const char* name_of() {
        using Plain = std::remove_const_t<Element>;
        if (std::is_same_v<Plain, float>) return "float32";
        if (std::is_same_v<Plain, uint16_t>) return "uint16, which stands for bfloat16";
        return std::is_same_v<Plain, int32_t> ? "int32" : "int64";
    }

    const AnyArray& array_;
    const char* name_;
};

constexpr int64_t kMinElements = 1 << 14;  // for another thread to be worth its start

inline int64_t min_rows(int64_t size) { return std::max<int64_t>(1, kMinElements / std::max<int64_t>(size, 1)); }

// Call with the kernels for the type of the elements, and a number of that type.
template <class Call>
void for_type(const Tensor& tensor, const Call& call) {
    const TrainingKernelSet& kernels = choose_training_kernels();
    if (tensor.is_bf16()) {
        call(kernels.bf16, uint16_t{});
    } else {
        call(kernels.f32, float{});
    }
}

template <class Work>
void share_out_without_gil(int64_t num_units, int64_t min_units, const Work& work) {
    const GilRelease release;
    share_out(num_units, min_units, work);
}

void bind_training_attention(nb::module_& m);

}  // namespace nextword

#endif
