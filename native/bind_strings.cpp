// Python bindings for the lists of strings in GGUF files: a vocabulary has a hundred thousand.

#include <nanobind/nanobind.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <vector>

#include "arrays.h"
#include "bind_text.h"
#include "token_numbers.h"
#include "utf8.h"

namespace nextword {
namespace {

// Go from string to string, each after its length in eight bytes; the position behind them. Throws ValueError for those
// that go past the end.
template <class Work>
size_t for_each_string(const Bytes& data, size_t position, size_t count, const Work& work) {
    for (size_t i = 0; i < count; ++i) {
        uint64_t length = 0;
        if (position > data.size() || data.size() - position < sizeof length) {
            throw nb::value_error("a length is cut off");
        }
        std::memcpy(&length, data.data() + position, sizeof length);
        position += sizeof length;
        if (data.size() - position < length) throw nb::value_error("a string is cut off");
        work(std::string_view(reinterpret_cast<const char*>(data.data()) + position, length));
        position += length;
    }
    return position;
}

// A new reference, checked.
PyObject* made(PyObject* object) {
    if (object == nullptr) throw nb::python_error();
    return object;
}

nb::object decode(std::string_view text) {
    return nb::steal(made(PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), nullptr)));
}

// The strings, and the position behind them. Throws UnicodeDecodeError, too, for what is not UTF-8.
nb::tuple read_strings(const Bytes& data, size_t position, size_t count) {
    nb::list strings;
    const size_t end =
        for_each_string(data, position, count, [&](std::string_view text) { strings.append(decode(text)); });
    return nb::make_tuple(strings, end);
}

// The position behind the strings, which `read_strings` reads without an error from there. Throws ValueError.
size_t skip_strings(const Bytes& data, size_t position, size_t count) {
    return for_each_string(data, position, count, [](std::string_view text) {
        if (!is_utf8(text)) throw nb::value_error("a string is not UTF-8");
    });
}

// Cut each string at its first space, as str.partition does: the left parts and the right ones, objects of `tokens`
// where these have them; and whether no pair is longer than all tokens, in bytes. Not as tuples: they would take more
// memory than both lists, and Python keeps some thousand that were freed, spread over memory that could otherwise be
// returned.
nb::tuple split_strings(const Bytes& data, size_t position, size_t count, const nb::list& tokens) {
    const std::vector<std::string_view> texts = utf8_of(tokens);
    size_t longest = 0;
    for (const std::string_view text : texts) longest = std::max(longest, text.size());
    const TokenNumbers numbers(texts);
    const auto token_of = [&](std::string_view text) {
        const int number = numbers.find(text);
        return number < 0 ? decode(text) : nb::borrow(tokens[static_cast<size_t>(number)]);
    };
    nb::list lefts, rights;
    bool are_short = true;
    for_each_string(data, position, count, [&](std::string_view text) {
        const std::string_view left = text.substr(0, text.find(' ')),
                               right = text.substr(std::min(left.size() + 1, text.size()));
        are_short &= left.size() + right.size() <= longest;
        lefts.append(token_of(left)), rights.append(token_of(right));
    });
    return nb::make_tuple(lefts, rights, are_short);
}

}  // namespace

void bind_strings(nb::module_& m) {
    m.def("read_strings", &read_strings, nb::arg("data").noconvert(), nb::arg("position"), nb::arg("count"));
    m.def("skip_strings", &skip_strings, nb::arg("data").noconvert(), nb::arg("position"), nb::arg("count"));
    m.def("split_strings", &split_strings, nb::arg("data").noconvert(), nb::arg("position"), nb::arg("count"),
          nb::arg("tokens"));
}

}  // namespace nextword
