// The extension module nextword._native.

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <cstring>
#include <string>

#include "arrays.h"
#include "errors.h"
#include "gil.h"
#include "kernels.h"
#include "kv_cache.h"
#include "system.h"

namespace nextword {

void bind_merges(nb::module_& m);     // in bind_merges.cpp
void bind_model(nb::module_& m);      // in bind_model.cpp
void bind_selection(nb::module_& m);  // in bind_select.cpp
void bind_training(nb::module_& m);   // in bind_training.cpp

namespace {

nb::object decode(const char* text, size_t length) {
    PyObject* const decoded = PyUnicode_DecodeUTF8(text, static_cast<Py_ssize_t>(length), nullptr);
    if (decoded == nullptr) throw nb::python_error();
    return nb::steal(decoded);
}

// Read `count` strings of a GGUF file, each after its length in eight bytes, from `position` on; and the position
// behind them. Throws ValueError for strings that go past the end, and UnicodeDecodeError for what is not UTF-8.
nb::tuple read_strings(const Bytes& data, size_t position, size_t count) {
    nb::list strings;
    for (size_t i = 0; i < count; ++i) {
        uint64_t length = 0;
        if (position > data.size() || data.size() - position < sizeof length) {
            throw nb::value_error("a length is cut off");
        }
        std::memcpy(&length, data.data() + position, sizeof length);
        position += sizeof length;
        if (data.size() - position < length) throw nb::value_error("a string is cut off");
        const char* const text = reinterpret_cast<const char*>(data.data() + position);
        strings.append(decode(text, length));
        position += length;
    }
    return nb::make_tuple(strings, position);
}

// Translate errors that users can act on to the package's own exceptions.
void raise_backend_error(const std::exception_ptr& thrown, void*) {
    try {
        std::rethrow_exception(thrown);
    } catch (const ForkedInAStep& error) {
        PyErr_SetString(nb::module_::import_("nextword.errors").attr("BackendError").ptr(), error.what());
    }
}

}  // namespace

NB_MODULE(_native, m) {
    nb::set_leak_warnings(false);  // at the interpreter's end, about what a thread still uses
    wait_at_exit();
    nb::register_exception_translator(&raise_backend_error);
    nb::exception<CacheFull>(m, "CacheFullError", PyExc_MemoryError);
    bind_merges(m);
    bind_model(m);
    bind_selection(m);
    bind_training(m);
    m.def("trim_heap", &trim_heap);
    nb::class_<MappingGuard>(m, "MappingGuard")
        .def("__init__",
             [](MappingGuard* self, const Bytes& mapped) { new (self) MappingGuard(mapped.data(), mapped.size()); })
        .def_prop_ro("has_lost_bytes", &MappingGuard::has_lost_bytes);
    m.def("choose_isa", [](const std::string& isa) { return choose_kernels(isa.c_str()).name; });
    m.def("read_strings", &read_strings, nb::arg("data").noconvert(), nb::arg("position"), nb::arg("count"));
}

}  // namespace nextword
