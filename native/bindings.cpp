// The extension module nextword._native.

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

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
void bind_strings(nb::module_& m);    // in bind_strings.cpp

namespace {

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
    bind_strings(m);
    m.def("trim_heap", &trim_heap);
    nb::class_<MappingGuard>(m, "MappingGuard")
        .def("__init__",
             [](MappingGuard* self, const Bytes& mapped) { new (self) MappingGuard(mapped.data(), mapped.size()); })
        .def_prop_ro("has_lost_bytes", &MappingGuard::has_lost_bytes);
    m.def("choose_isa", [](const std::string& isa) { return choose_kernels(isa.c_str()).name; });
}

}  // namespace nextword
