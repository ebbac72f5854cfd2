// Python bindings for the merges of a SentencePiece vocabulary.

#include <nanobind/nanobind.h>
#include <nanobind/stl/vector.h>

#include "arrays.h"
#include "merges.h"

namespace nextword {
namespace {

// Pairs of the strings given, which are not copied. Throws ValueError if there are not as many scores. None is NaN.
nb::list merges_from_scores(const nb::list& tokens, const std::vector<double>& scores) {
    if (tokens.size() != scores.size()) throw nb::value_error("each token has one score");
    std::vector<std::string_view> texts;
    texts.reserve(scores.size());
    for (const nb::handle token : tokens) {
        Py_ssize_t size = 0;
        const char* const text = PyUnicode_AsUTF8AndSize(token.ptr(), &size);
        if (text == nullptr) throw nb::python_error();
        texts.emplace_back(text, static_cast<size_t>(size));
    }
    nb::list merges;
    for (const Merge& merge : merges_of(texts, scores)) {
        merges.append(
            nb::make_tuple(tokens[static_cast<size_t>(merge.left)], tokens[static_cast<size_t>(merge.right)]));
    }
    return merges;
}

}  // namespace

void bind_merges(nb::module_& m) {
    m.def("merges_from_scores", &merges_from_scores, nb::arg("tokens"), nb::arg("scores"));
}

}  // namespace nextword
