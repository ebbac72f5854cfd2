// Shared by the bindings of lists of strings: Python's strings as UTF-8.

#ifndef NEXTWORD_BIND_TEXT_H
#define NEXTWORD_BIND_TEXT_H

#include <nanobind/nanobind.h>

#include <string_view>
#include <vector>

namespace nextword {

namespace nb = nanobind;

// Python keeps it beside the string.
inline std::string_view utf8(nb::handle string) {
    Py_ssize_t size = 0;
    const char* const text = PyUnicode_AsUTF8AndSize(string.ptr(), &size);
    if (text == nullptr) throw nb::python_error();
    return {text, static_cast<size_t>(size)};
}

// Valid as long as the strings are.
inline std::vector<std::string_view> utf8_of(const nb::list& strings) {
    std::vector<std::string_view> texts;
    texts.reserve(strings.size());
    for (const nb::handle string : strings) texts.push_back(utf8(string));
    return texts;
}

}  // namespace nextword

#endif
